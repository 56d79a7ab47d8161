#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "lora/kinds/kinds.h"

namespace lorikeet {

Tensor AdditiveAdapter::merge(const Tensor& weight, double multiplier) const {
  if (multiplier == 0) return weight;
  return weight + multiplier * delta().to(weight.device());
}

void AdditiveAdapter::merge_into(Tensor& weight, double multiplier) const {
  if (multiplier != 0) weight.add_(delta().to(weight.device()), multiplier);
}

bool is_pointwise(const Layer& layer) {
  const LayerGeometry& geometry = layer.geometry();
  const Tensor& weight = layer.base_weight();
  return geometry.op == LayerOp::conv2d && weight.size(2) * weight.size(3) == 1 && geometry.stride == 1 && geometry.padding == 0;
}

Tensor pointwise(const Tensor& x, const Tensor& weight) {
  return torch::linear(x.permute({0, 2, 3, 1}), weight.flatten(1)).permute({0, 3, 1, 2});
}

Tensor rows_scaled(const Tensor& y, const Tensor& row_multipliers) {
  if (!row_multipliers.defined()) return y;
  Shape shape(static_cast<size_t>(y.dim()), 1);
  shape[0] = row_multipliers.size(0);
  return y * row_multipliers.to(y.device(), y.scalar_type()).view(shape);
}

int64_t columns_of(const Tensor& weight) { return weight.dim() > 1 ? weight.numel() / std::max<int64_t>(weight.size(0), 1) : 1; }

bool is_inpaint_conv_in(const Layer& layer, int64_t file_channels) {
  return layer.geometry().op == LayerOp::conv2d && layer.base_weight().size(1) == 9 && file_channels == 4;
}

DeltaShape::DeltaShape(const std::string& module, const Layer& layer, int64_t rows, int64_t columns)
    : layer_(layer.base_weight().sizes().vec()), delta_(layer_) {
  const Tensor& weight = layer.base_weight();
  const int64_t wanted = columns_of(weight);
  if (layer_.size() == 4 && is_inpaint_conv_in(layer, columns / (layer_[2] * layer_[3]))) {
    delta_[1] = 4;
    if (rows == layer_[0] && columns == 4 * layer_[2] * layer_[3]) return;
  }
  if (rows != weight.size(0) || columns != wanted)
    throw Error(ErrorKind::bad_input,
                module + " is made for a weight of " + to_string(Shape{rows, columns}) + ", but " + layer.path() + " has " +
                    to_string(weight.sizes()),
                "the file belongs to another kind of model, or is broken");
}

Tensor DeltaShape::fit(const Tensor& delta) const {
  const Tensor fitted = delta.reshape(delta_);
  if (delta_ == layer_) return fitted;
  return torch::constant_pad_nd(fitted, {0, 0, 0, 0, 0, layer_[1] - delta_[1]});
}

Scale consume_scale(TensorGroup& tensors, int64_t rank) {
  const auto alpha = tensors.consume_number("alpha");
  const auto given = tensors.consume_number("scale");
  Scale scale{alpha.value_or(static_cast<double>(rank)), 1};
  scale.value = given ? *given : scale.alpha / static_cast<double>(std::max<int64_t>(rank, 1));
  if (given) scale.alpha = *given * static_cast<double>(rank);
  return scale;
}

Scale fresh_scale(const AdapterOptions& options) {
  const auto rank = static_cast<double>(options.rank);
  // As a reader of the file will have it: alphas are float32.
  const double alpha = static_cast<float>(options.rank_stabilised ? options.alpha * std::sqrt(rank) : options.alpha);
  return {alpha, alpha / rank};
}

Tensor fresh_zeros(torch::IntArrayRef shape, const Layer& layer) { return torch::zeros(shape, layer.compute().device); }

Tensor fresh_normal(torch::IntArrayRef shape, double deviation, const Layer& layer, const AdapterOptions& options) {
  return (deviation * torch::randn(shape, options.generator)).to(layer.compute().device);
}

Tensor fresh_uniform(torch::IntArrayRef shape, double bound, const Layer& layer, const AdapterOptions& options) {
  return torch::empty(shape).uniform_(-bound, bound, options.generator).to(layer.compute().device);
}

NamedTensor alpha_tensor(double alpha) { return {"alpha", torch::tensor(alpha, torch::kFloat)}; }

Tensor tucker(const Tensor& core, const Tensor& a, const Tensor& b) { return torch::einsum("ijkl,ip,jr->prkl", {core, a, b}); }

}  // namespace lorikeet
