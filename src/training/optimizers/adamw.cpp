// AdamW (Loshchilov & Hutter 2017, arXiv 1711.05101, algorithm 2), in the form of torch.optim.AdamW: the decay is times the learning rate.
#include <cmath>

#include "training/optimizers/adamw_elements.h"
#include "training/optimizers/stateful.h"

namespace lorikeet {
namespace {

// One step's constants. m / c1 / (sqrt(v) / c2 + eps) = c2 / c1 · m / (sqrt(v) + c2 eps): one pass less.
struct Constants {
  double beta1, beta2, decay, rate, eps;
};

void step_tensors(Slice& slice, const Constants& c) {
  auto &weight = slice.lists[0], &gradient = slice.lists[1], &moment1 = slice.lists[2], &moment2 = slice.lists[3];
  at::_foreach_mul_(weight, 1 - c.decay);
  at::_foreach_mul_(moment1, c.beta1);
  at::_foreach_add_(moment1, gradient, 1 - c.beta1);
  at::_foreach_mul_(moment2, c.beta2);
  at::_foreach_addcmul_(moment2, gradient, gradient, 1 - c.beta2);
  std::vector<Tensor> root = at::_foreach_sqrt(moment2);
  at::_foreach_add_(root, c.eps);
  at::_foreach_addcdiv_(weight, moment1, root, -c.rate);
}

void step_memory(Slice& slice, const Constants& c) {
  const AdamWStep step = {static_cast<float>(c.beta1),     static_cast<float>(c.beta2), static_cast<float>(1 - c.beta1),
                          static_cast<float>(1 - c.beta2), static_cast<float>(c.decay), static_cast<float>(c.rate),
                          static_cast<float>(c.eps)};
  auto memory = [&](size_t list, size_t i) { return slice.lists[list][i].data_ptr<float>(); };
  for (size_t i = 0; i < slice.lists[0].size(); ++i) {
    adamw_step({memory(0, i), memory(1, i), memory(2, i), memory(3, i), slice.lists[0][i].numel()}, step);
    for (size_t list : {0, 2, 3}) slice.lists[list][i].unsafeGetTensorImpl()->bump_version();  // as any change in place
  }
}

bool plain_memory(const Slice& slice) {
  for (const std::vector<Tensor>& list : slice.lists) {
    for (const Tensor& part : list) {
      if (!part.is_cpu() || !part.is_contiguous()) return false;
    }
  }
  return true;
}

class AdamW : public StatefulOptimizer {
 public:
  AdamW(std::vector<ParameterGroup> groups, const OptimizerOptions& options)
      : StatefulOptimizer(std::move(groups), options, {{"moment1", zeros}, {"moment2", zeros}}, {}) {}

  void step(double lr_factor) override {
    for_each_gradient(Cutting::pieces, [&](const Place& place, Slice& slice) -> SliceSums {
      const double beta1 = *options_.beta1, beta2 = *options_.beta2, rate = place.group.learning_rate * lr_factor;
      const double correction1 = 1 - std::pow(beta1, place.step), correction2 = std::sqrt(1 - std::pow(beta2, place.step));
      const Constants constants = {beta1, beta2, rate * place.group.weight_decay, rate * correction2 / correction1,
                                   correction2 * options_.eps};
      if (plain_memory(slice)) {
        step_memory(slice, constants);
      } else {
        step_tensors(slice, constants);
      }
      return {};
    });
    count_step();
  }
};

}  // namespace

std::unique_ptr<Optimizer> make_adamw(std::vector<ParameterGroup> groups, const OptimizerOptions& options) {
  return std::make_unique<AdamW>(std::move(groups), options);
}

}  // namespace lorikeet
