// Schedule-free AdamW (Defazio et al. 2024, arXiv 2405.15682, section 4 and algorithm 1): gradients are taken at y, between the running
// average x and the plain iterate z, so that no schedule has to fall. The parameters hold y; x is what is worth looking at:
//   y = (1 - beta1) z + beta1 x.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "training/optimizers/stateful.h"

namespace lorikeet {
namespace {

class ScheduleFreeAdamW : public StatefulOptimizer {
 public:
  ScheduleFreeAdamW(std::vector<ParameterGroup> groups, const OptimizerOptions& options)
      : StatefulOptimizer(std::move(groups), options, {{"moment2", zeros}, {"z", copy}}, {}) {
    if (*options_.beta1 == 0) throw Error(ErrorKind::bad_input, "schedule-free AdamW needs a beta1 above 0", "0.9 is usual");
    numbers_ = {{"steps", 0}, {"rate_most", 0}, {"weight_sum", 0}};
  }

  void step(double lr_factor) override {
    if (!kept_.empty()) throw Error(ErrorKind::internal, "schedule-free AdamW was asked for a step during an evaluation");
    taken_warmup_ = warmup();
    const double factor = taken_warmup_ * lr_factor, share = average_share(factor);
    const double beta1 = *options_.beta1, beta2 = *options_.beta2, eps = options_.eps;
    for_each_gradient(Cutting::pieces, [=](const Place& place, Slice& slice) -> SliceSums {
      auto &y = slice.lists[0], &gradient = slice.lists[1], &moment2 = slice.lists[2], &z = slice.lists[3];
      const double rate = place.group.learning_rate * factor;
      const double correction = std::sqrt(1 - std::pow(beta2, place.step));
      at::_foreach_mul_(moment2, beta2);
      at::_foreach_addcmul_(moment2, gradient, gradient, 1 - beta2);
      std::vector<Tensor> root = at::_foreach_sqrt(moment2);
      at::_foreach_add_(root, correction * eps);
      std::vector<Tensor> direction = at::_foreach_div(gradient, root);
      at::_foreach_mul_(direction, correction);
      if (place.group.weight_decay > 0) at::_foreach_add_(direction, y, place.group.weight_decay);
      for (size_t i = 0; i < y.size(); ++i) y[i].lerp_(z[i], share);
      at::_foreach_add_(y, direction, rate * (beta1 * (1 - share) - 1));
      at::_foreach_add_(z, direction, -rate);
      return {};
    });
    count_step();
    numbers_["steps"] += 1;
  }

  void begin_evaluation() override {
    if (!kept_.empty()) throw Error(ErrorKind::internal, "an evaluation began during another one");
    for (const ParameterGroup& group : groups_) {
      for (const auto& [name, tensor] : group.parameters) kept_.push_back(tensor.detach().clone());
    }
    const double share = 1 - 1 / *options_.beta1;
    for_each_parameter([=](Slice& slice) {
      auto &y = slice.lists[0], &z = slice.lists[2];
      for (size_t i = 0; i < y.size(); ++i) y[i].lerp_(z[i], share);
    });
  }

  void end_evaluation() override {
    torch::NoGradGuard no_grad;
    size_t i = 0;
    if (kept_.empty()) return;
    for (const ParameterGroup& group : groups_) {
      for (const auto& [name, tensor] : group.parameters) tensor.detach().copy_(kept_[i++]);
    }
    kept_.clear();
  }

  double effective_learning_rate(double lr_factor) const override { return groups_.front().learning_rate * taken_warmup_ * lr_factor; }

 private:
  double warmup() const {
    const double steps = numbers_.at("steps");
    return steps < options_.warmup_steps ? (steps + 1) / options_.warmup_steps : 1;
  }

  // How much of the average this step's z is: weights are the square of the largest rate so far, so that the warm-up counts little.
  double average_share(double factor) {
    const double most = numbers_["rate_most"] = std::max(numbers_["rate_most"], factor);
    const double sum = numbers_["weight_sum"] += most * most;
    return sum == 0 ? 0 : most * most / sum;
  }

  double taken_warmup_ = 1;
  std::vector<Tensor> kept_;  // y, during an evaluation
};

}  // namespace

std::unique_ptr<Optimizer> make_schedule_free_adamw(std::vector<ParameterGroup> groups, const OptimizerOptions& options) {
  return std::make_unique<ScheduleFreeAdamW>(std::move(groups), options);
}

}  // namespace lorikeet
