// Lion (Chen et al. 2023, arXiv 2302.06675, algorithm 2): the sign of an interpolated momentum. One moment only.
#include "training/optimizers/stateful.h"

namespace lorikeet {
namespace {

class Lion : public StatefulOptimizer {
 public:
  Lion(std::vector<ParameterGroup> groups, const OptimizerOptions& options)
      : StatefulOptimizer(std::move(groups), options, {{"moment1", zeros}}, {.beta1 = 0.9, .beta2 = 0.99}) {}

  void step(double lr_factor) override {
    const double beta1 = *options_.beta1, beta2 = *options_.beta2;
    for_each_gradient(Cutting::pieces, [=](const Place& place, Slice& slice) -> SliceSums {
      auto &weight = slice.lists[0], &gradient = slice.lists[1], &moment = slice.lists[2];
      const double rate = place.group.learning_rate * lr_factor;
      if (place.group.weight_decay > 0) at::_foreach_mul_(weight, 1 - rate * place.group.weight_decay);
      std::vector<Tensor> direction = at::_foreach_mul(moment, beta1);
      at::_foreach_add_(direction, gradient, 1 - beta1);
      for (Tensor& part : direction) part.sign_();
      at::_foreach_add_(weight, direction, -rate);
      at::_foreach_mul_(moment, beta2);
      at::_foreach_add_(moment, gradient, 1 - beta2);
      return {};
    });
    count_step();
  }
};

}  // namespace

std::unique_ptr<Optimizer> make_lion(std::vector<ParameterGroup> groups, const OptimizerOptions& options) {
  return std::make_unique<Lion>(std::move(groups), options);
}

}  // namespace lorikeet
