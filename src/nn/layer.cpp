// The layer: plain() is the definition through libtorch (any device, any dtype, with gradients); on the CPU, without
// gradients, the packed kernels do the same work faster.
#include "nn/layer.h"

#include "base/error.h"
#include "nn/kernels/kernels.h"

namespace lorikeet {

struct Layer::Prepared {
  Tensor weight, bias;  // compute dtype and device; norms: float32 on the CPU. Undefined where a packed form serves
  std::shared_ptr<const kernels::PackedLinear> linear;
  std::shared_ptr<const kernels::PackedConv2d> conv2d;
};

namespace {

bool is_norm(LayerOp op) { return op == LayerOp::group_norm || op == LayerOp::layer_norm; }

bool has_kernels(const Compute& compute) {
  return compute.device.is_cpu() && (compute.dtype == torch::kFloat32 || compute.dtype == torch::kBFloat16);
}

// Gradients go through libtorch's own operations.
bool wants_gradients(const Tensor& x) { return torch::GradMode::is_enabled() && x.requires_grad(); }

Tensor converted(const Tensor& tensor, const Compute& compute, Dtype dtype) {
  return tensor.defined() ? tensor.to(compute.device, dtype) : tensor;
}

// What a circular convolution sees: x with the other side's pixels around it.
Tensor wrapped(const Tensor& x, const LayerGeometry& geometry) {
  if (!geometry.circular || geometry.padding == 0) return x;
  const int64_t p = geometry.padding;
  const Tensor wide = torch::cat({x.slice(3, x.size(3) - p), x, x.slice(3, 0, p)}, 3);
  return torch::cat({wide.slice(2, wide.size(2) - p), wide, wide.slice(2, 0, p)}, 2).contiguous(torch::MemoryFormat::ChannelsLast);
}

int zero_padding(const LayerGeometry& geometry) { return geometry.circular ? 0 : geometry.padding; }

}  // namespace

Layer::Layer(std::string path, LayerGeometry geometry, Tensor weight, Tensor bias, Compute compute)
    : path_(std::move(path)), geometry_(geometry), weight_(std::move(weight)), bias_(std::move(bias)), compute_(compute) {
  prepare(weight_, bias_);
}

Layer::~Layer() = default;

void Layer::prepare(const Tensor& weight, const Tensor& bias) {
  torch::NoGradGuard no_grad;
  auto prepared = std::make_unique<Prepared>();
  if (has_kernels(compute_) && geometry_.op == LayerOp::linear) {
    prepared->linear = kernels::PackedLinear::make(weight, bias, compute_.dtype);
  } else if (has_kernels(compute_) && geometry_.op == LayerOp::conv2d) {
    prepared->conv2d = kernels::PackedConv2d::make(weight, bias, geometry_.stride, zero_padding(geometry_), compute_.dtype);
  } else {
    // An embedding table stays as it is stored: few of its rows are ever read.
    const Dtype dtype = geometry_.op == LayerOp::embedding                   ? weight.scalar_type()
                        : has_kernels(compute_) && is_norm(geometry_.op) ? torch::kFloat32
                                                                             : compute_.dtype;
    prepared->weight = converted(weight, compute_, dtype);
    prepared->bias = converted(bias, compute_, dtype);
    if (geometry_.op == LayerOp::conv2d) prepared->weight = prepared->weight.contiguous(torch::MemoryFormat::ChannelsLast);
  }
  prepared_ = std::move(prepared);
}

void Layer::set_merged(Tensor weight, Tensor bias) {
  prepare(weight.defined() ? weight : weight_, bias.defined() ? bias : bias_);
  merged_ = true;
}

void Layer::clear_merged() {
  if (!merged_) return;
  prepare(weight_, bias_);
  merged_ = false;
}

void Layer::set_circular(bool circular) {
  if (geometry_.op != LayerOp::conv2d || geometry_.circular == circular) return;
  if (merged_) throw Error(ErrorKind::internal, "the padding of a merged layer cannot change: " + path_);
  geometry_.circular = circular;
  prepare(weight_, bias_);
}

Tensor Layer::plain(const Tensor& x, const Tensor& weight, const Tensor& bias) const {
  switch (geometry_.op) {
    case LayerOp::linear: return torch::linear(x, weight, bias);
    case LayerOp::conv2d: return torch::conv2d(wrapped(x, geometry_), weight, bias, geometry_.stride, zero_padding(geometry_));
    case LayerOp::group_norm: return torch::group_norm(x, geometry_.groups, weight, bias, geometry_.eps);
    case LayerOp::layer_norm: return torch::layer_norm(x, {weight.size(0)}, weight, bias, geometry_.eps);
    case LayerOp::embedding: return torch::embedding(weight, x).to(compute_.dtype);
  }
  throw Error(ErrorKind::internal, "a layer of unknown kind: " + path_);
}

Tensor Layer::forward(const Tensor& x, const Tensor& residual) const {
  Tensor y;
  const bool fast = has_kernels(compute_) && !wants_gradients(x) && geometry_.op != LayerOp::embedding;
  if (!fast) {
    // A packed weight cannot be differentiated through; the plain one is converted for the occasion.
    const Tensor& weight = prepared_->weight.defined() ? prepared_->weight : weight_;
    const Tensor& bias = prepared_->weight.defined() ? prepared_->bias : bias_;
    if (merged_ && !prepared_->weight.defined()) throw Error(ErrorKind::internal, "gradients through a merged layer: " + path_);
    const Dtype dtype = geometry_.op == LayerOp::embedding ? weight.scalar_type() : compute_.dtype;
    y = plain(x, converted(weight, compute_, dtype), converted(bias, compute_, dtype));
  } else if (prepared_->linear) {
    y = (*prepared_->linear)(x, residual);
  } else if (prepared_->conv2d) {
    y = (*prepared_->conv2d)(wrapped(x, geometry_), residual);
  } else if (geometry_.op == LayerOp::group_norm) {
    y = kernels::group_norm(x, geometry_.groups, prepared_->weight, prepared_->bias, geometry_.eps, false);
  } else {
    y = kernels::layer_norm(x, prepared_->weight, prepared_->bias, geometry_.eps);
  }
  const bool added = fast && (prepared_->linear || prepared_->conv2d);
  if (residual.defined() && !added) y = y + residual;
  for (const auto& term : terms_) y = y + term(*this, x);
  return y;
}

Tensor Layer::forward_silu(const Tensor& x, const Tensor& shift) const {
  if (has_kernels(compute_) && !wants_gradients(x) && terms_.empty()) {
    return kernels::group_norm(x, geometry_.groups, prepared_->weight, prepared_->bias, geometry_.eps, true, shift);
  }
  return torch::silu(forward(shift.defined() ? x + shift.unsqueeze(-1).unsqueeze(-1) : x));
}

}  // namespace lorikeet
