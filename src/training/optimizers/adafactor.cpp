// Adafactor (Shazeer & Stern 2018, arXiv 1804.04235, algorithms 4 and 5) with the given learning rate: no relative step, no scaling by the
// size of the parameter (a LoRA's up factor starts at zero and would hardly move), no first moment. The second moment of a tensor of two or
// more dimensions is kept as its means over the last two, so that a matrix [n, m] needs n + m numbers.
#include <algorithm>
#include <cmath>

#include "training/optimizers/stateful.h"

namespace lorikeet {
namespace {

// Section 7.2 and appendix: d = 1 clips the update's root mean square, beta2 at step t is 1 - t^-0.8, epsilon1 is added to the squared
// gradient.
constexpr double kClip = 1, kDecayPower = -0.8, kEpsilon1 = 1e-30;

bool factored(const Tensor& weight) { return weight.dim() >= 2; }

Tensor row_means(const Tensor& weight) {
  return factored(weight) ? torch::zeros(weight.sizes().slice(0, weight.dim() - 1), weight.options().requires_grad(false)) : Tensor();
}
Tensor column_means(const Tensor& weight) {
  if (!factored(weight)) return {};
  Shape shape = weight.sizes().vec();
  shape.erase(shape.end() - 2);
  return torch::zeros(shape, weight.options().requires_grad(false));
}
Tensor full_moment(const Tensor& weight) { return factored(weight) ? Tensor() : torch::zeros_like(weight).set_requires_grad(false); }

class Adafactor : public StatefulOptimizer {
 public:
  Adafactor(std::vector<ParameterGroup> groups, const OptimizerOptions& options)
      : StatefulOptimizer(std::move(groups), options, {{"rows", row_means}, {"columns", column_means}, {"moment2", full_moment}}, {}) {}

  void step(double lr_factor) override {
    for_each_gradient(Cutting::whole, [=](const Place& place, Slice& slice) -> SliceSums {
      const Tensor &weight = slice.lists[0][0], &gradient = slice.lists[1][0];
      const double rate = place.group.learning_rate * lr_factor;
      const double share = std::pow(place.step, kDecayPower);  // 1 - beta2
      Tensor update = (gradient * gradient).add_(kEpsilon1);
      if (factored(weight)) {
        factor(update, slice.lists[2][0], slice.lists[3][0], share);
      } else {
        const Tensor& moment = slice.lists[4][0];
        moment.lerp_(update, share);
        update.copy_(moment).rsqrt_();
      }
      update.mul_(gradient);
      const double size = std::sqrt((update * update).mean().item<double>());
      if (place.group.weight_decay > 0) weight.mul_(1 - rate * place.group.weight_decay);
      weight.add_(update, -rate / std::max(1.0, size / kClip));
      return {};
    });
    count_step();
  }

 private:
  // update: the squared gradient; becomes 1 / sqrt(the factored second moment), which is rows · columns / mean(rows).
  static void factor(Tensor& update, const Tensor& rows, const Tensor& columns, double share) {
    rows.lerp_(update.mean(-1), share);
    columns.lerp_(update.mean(-2), share);
    const Tensor row = (rows / rows.mean(-1, true)).rsqrt_().unsqueeze(-1), column = columns.rsqrt().unsqueeze(-2);
    at::mul_out(update, row, column);
  }
};

}  // namespace

std::unique_ptr<Optimizer> make_adafactor(std::vector<ParameterGroup> groups, const OptimizerOptions& options) {
  return std::make_unique<Adafactor>(std::move(groups), options);
}

}  // namespace lorikeet
