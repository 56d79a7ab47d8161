// Prodigy (Mishchenko & Defazio 2023, arXiv 2306.06101, algorithm 4): Adam that estimates its own rate d from how far the parameters have
// moved along the gradients. One d over all groups. Settings as the authors' implementation has them at first: no bias correction, no
// safeguard for warm-up, decoupled weight decay, beta3 = sqrt(beta2), d never falls.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "training/optimizers/stateful.h"

namespace lorikeet {
namespace {

constexpr double kFirstD = 1e-6;

class Prodigy : public StatefulOptimizer {
 public:
  Prodigy(std::vector<ParameterGroup> groups, const OptimizerOptions& options)
      : StatefulOptimizer(std::move(groups), options, {{"moment1", zeros}, {"moment2", zeros}, {"gradients", zeros}, {"start", copy}}, {}) {
    for (const ParameterGroup& group : groups_) rate_ = std::max(rate_, group.learning_rate);
    for (const ParameterGroup& group : groups_) {
      if (group.learning_rate == 0 || group.learning_rate == rate_) continue;
      throw Error(ErrorKind::bad_input,
                  "Prodigy finds one rate for all that is trained, but the learning rates differ (" + group.name + " has " +
                      format_number(group.learning_rate) + ", another " + format_number(rate_) + ")",
                  "give all the same learning rate, 1 as a rule, and no LoRA+ ratio");
    }
    numbers_ = {{"d", kFirstD}, {"numerator", 0}};
  }

  void step(double lr_factor) override {
    const double d = taken_d_ = numbers_["d"], rate = d * rate_ * lr_factor;  // the rate of this step is still from the d of the one before
    if (!estimate(d, rate)) return;
    const double eps = numbers_["d"] * options_.eps;
    for_each_gradient(Cutting::pieces, [=](const Place& place, Slice& slice) -> SliceSums {
      if (place.group.learning_rate == 0) return {};
      auto &weight = slice.lists[0], &moment1 = slice.lists[2], &moment2 = slice.lists[3];
      if (place.group.weight_decay > 0) at::_foreach_mul_(weight, 1 - rate * place.group.weight_decay);
      std::vector<Tensor> root = at::_foreach_sqrt(moment2);
      at::_foreach_add_(root, eps);
      at::_foreach_addcdiv_(weight, moment1, root, -rate);
      return {};
    });
    count_step();
  }

  double effective_learning_rate(double lr_factor) const override { return taken_d_ * groups_.front().learning_rate * lr_factor; }

 private:
  // Takes the gradients into the moments and the weighted sum of all gradients, then d anew. False: all gradients were zero, or the rate
  // is.
  bool estimate(double d, double rate) {
    if (rate == 0) return false;
    const double beta1 = *options_.beta1, beta2 = *options_.beta2, beta3 = std::sqrt(beta2);
    const double scale = d / kFirstD * rate;  // relative to the first d: the square of 1e-6 would be small for float32
    const SliceSums sums = for_each_gradient(Cutting::pieces, [=](const Place& place, Slice& slice) -> SliceSums {
      if (place.group.learning_rate == 0) return {};
      auto &weight = slice.lists[0], &gradient = slice.lists[1], &moment1 = slice.lists[2], &moment2 = slice.lists[3];
      auto &gradients = slice.lists[4], &start = slice.lists[5];
      at::_foreach_mul_(moment1, beta1);
      at::_foreach_add_(moment1, gradient, d * (1 - beta1));
      at::_foreach_mul_(moment2, beta2);
      at::_foreach_addcmul_(moment2, gradient, gradient, d * d * (1 - beta2));
      at::_foreach_mul_(gradients, beta3);
      at::_foreach_add_(gradients, gradient, scale);
      SliceSums result{};
      for (size_t i = 0; i < weight.size(); ++i) {
        result[0] += (start[i] - weight[i]).mul_(gradient[i]).sum().item<double>();
        result[1] += gradients[i].abs().sum().item<double>();
      }
      return result;
    });
    if (sums[1] == 0) return false;
    const double numerator = numbers_["numerator"] * beta3 + scale * sums[0], estimated = numerator / sums[1];
    numbers_["numerator"] = numerator;
    numbers_["d"] = std::max(d, estimated);
    return true;
  }

  double rate_ = 0;  // of all groups that are trained
  double taken_d_ = kFirstD;
};

}  // namespace

std::unique_ptr<Optimizer> make_prodigy(std::vector<ParameterGroup> groups, const OptimizerOptions& options) {
  return std::make_unique<Prodigy>(std::move(groups), options);
}

}  // namespace lorikeet
