#include "nn/weights.h"

#include "base/error.h"

namespace lorikeet {

namespace {

bool fits(torch::IntArrayRef found, const Shape& wanted) {
  if (found.size() != wanted.size()) return false;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i] != -1 && wanted[i] != found[i]) return false;
  }
  return true;
}

// A linear that is stored as a 1×1 convolution, or the other way round.
Tensor reshaped(const Tensor& weight, const Shape& wanted) {
  if (weight.dim() == 4 && wanted.size() == 2 && weight.size(2) == 1 && weight.size(3) == 1) {
    return weight.reshape({weight.size(0), weight.size(1)});
  }
  if (weight.dim() == 2 && wanted.size() == 4 && wanted[2] == 1 && wanted[3] == 1) return weight.reshape({weight.size(0), weight.size(1), 1, 1});
  return weight;
}

}  // namespace

Weights::Weights(const WeightSource& source, LayerMap& layers, Compute compute, std::string path)
    : source_(&source), layers_(&layers), compute_(std::make_shared<Compute>(compute)), path_(std::move(path)) {}

Weights Weights::operator/(std::string_view child) const {
  Weights below = *this;
  below.path_ = path_.empty() ? std::string(child) : path_ + "." + std::string(child);
  return below;
}

bool Weights::has(std::string_view name) const { return source_->find(path_ + "." + std::string(name)).defined(); }

Tensor Weights::take(std::string_view name, const Shape& shape) const {
  const std::string full = path_ + "." + std::string(name);
  const Tensor found = source_->find_shaped(full, shape);
  if (!found.defined()) {
    throw Error(ErrorKind::bad_input, "the checkpoint lacks " + source_->describe(full), "the file is incomplete or of a family that is not supported");
  }
  const Tensor tensor = reshaped(found, shape);
  if (!fits(tensor.sizes(), shape)) {
    throw Error(ErrorKind::bad_input, source_->describe(full) + " has the shape " + to_string(found.sizes()) + ", wanted is " + to_string(shape),
                "the file does not fit its own family; was it merged from two different ones?");
  }
  if (!tensor.is_floating_point()) {
    throw Error(ErrorKind::bad_input, source_->describe(full) + " holds " + to_string(tensor.scalar_type()) + " numbers, wanted are floating ones");
  }
  return tensor;
}

Tensor Weights::take_converted(std::string_view name, const Shape& shape) const {
  return take(name, shape).to(compute_->device, compute_->dtype);
}

std::shared_ptr<Layer> Weights::enter(LayerGeometry geometry, Tensor weight, Tensor bias) const {
  auto layer = std::make_shared<Layer>(path_, geometry, std::move(weight), std::move(bias), *compute_);
  layers_->emplace(path_, layer);
  // The layer has its own packed copy: held until the network is complete, the file's pages would be half of the peak in memory.
  constexpr size_t kLarge = 1 << 20;
  if (layer->base_weight().nbytes() >= kLarge) source_->release_pages();
  return layer;
}

std::shared_ptr<Layer> Weights::linear(int64_t in, int64_t out, bool bias) const {
  return enter({.op = LayerOp::linear}, take("weight", {out, in}), bias ? take("bias", {out}) : Tensor{});
}

std::shared_ptr<Layer> Weights::conv2d(int64_t in, int64_t out, int kernel, int stride, int padding) const {
  const LayerGeometry geometry{.op = LayerOp::conv2d, .stride = stride, .padding = padding < 0 ? kernel / 2 : padding};
  return enter(geometry, take("weight", {out, in, kernel, kernel}), take("bias", {out}));
}

std::shared_ptr<Layer> Weights::group_norm(int64_t channels, int groups, double eps) const {
  return enter({.op = LayerOp::group_norm, .groups = groups, .eps = eps}, take("weight", {channels}), take("bias", {channels}));
}

std::shared_ptr<Layer> Weights::layer_norm(int64_t width, double eps) const {
  return enter({.op = LayerOp::layer_norm, .eps = eps}, take("weight", {width}), take("bias", {width}));
}

std::shared_ptr<Layer> Weights::embedding(int64_t count, int64_t width) const {
  return enter({.op = LayerOp::embedding}, take("weight", {count, width}), {});
}

}  // namespace lorikeet
