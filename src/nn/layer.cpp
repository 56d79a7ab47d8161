// The layer: plain() is the definition through libtorch (any device, any dtype, with gradients); on the CPU the packed kernels do
// the same work faster, forwards and backwards, for every weight that is frozen.
#include "nn/layer.h"

#include "base/error.h"
#include "base/torch_autograd.h"
#include "nn/functional.h"
#include "nn/gradients.h"
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
  return compute.device.is_cpu() && (compute.dtype == torch::kFloat || compute.dtype == torch::kBFloat16);
}

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

// The place in autograd's graph of y = op(x) + residual with a frozen weight. It holds the packed operation and the shape of x, no
// activation.
struct FrozenNode : torch::autograd::Node {
  std::function<Tensor(const Tensor& dy)> input_gradient;

  torch::autograd::variable_list apply(torch::autograd::variable_list&& dy) override {
    if (torch::GradMode::is_enabled()) {
      throw Error(ErrorKind::unsupported, "the gradient of a packed layer cannot be differentiated again",
                  "call backward without create_graph");
    }
    if (!dy[0].defined()) return {Tensor(), Tensor()};
    return {task_should_compute_output(0) ? input_gradient(dy[0]) : Tensor(), dy[0]};
  }
};

torch::autograd::Edge edge_to(const Tensor& x) {
  return x.defined() && x.requires_grad() ? torch::autograd::impl::gradient_edge(x) : torch::autograd::Edge();
}

Tensor recorded(Tensor y, const Tensor& x, const Tensor& residual, std::function<Tensor(const Tensor& dy)> input_gradient) {
  if (!wants_gradients({x, residual})) return y;
  const std::shared_ptr<FrozenNode> node(new FrozenNode, torch::autograd::deleteNode);
  node->input_gradient = std::move(input_gradient);
  node->set_next_edges({edge_to(x), edge_to(residual)});
  torch::autograd::create_gradient_edge(y, node);
  return y;
}

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
    const Dtype dtype = geometry_.op == LayerOp::embedding               ? weight.scalar_type()
                        : has_kernels(compute_) && is_norm(geometry_.op) ? torch::kFloat
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
  if (prepared_) prepare(weight_, bias_);
}

void Layer::set_live(std::function<LiveWeight()> live) {
  live_ = std::move(live);
  if (live_ && !merged_) prepared_.reset();
  if (!live_ && !prepared_) prepare(weight_, bias_);
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

LiveWeight Layer::effective() const {
  if (!live_) return {prepared_->weight, prepared_->bias};
  const LiveWeight live = live_();
  if (live.weight.sizes() != weight_.sizes()) {
    throw Error(ErrorKind::internal,
                "a live weight of " + to_string(live.weight.sizes()) + " for " + path_ + ", whose weight is " + to_string(weight_.sizes()));
  }
  // The norms compute in float32; an embedding's rows are converted, not its table.
  const Dtype dtype = is_norm(geometry_.op)                ? torch::kFloat
                      : geometry_.op == LayerOp::embedding ? live.weight.scalar_type()
                                                           : compute_.dtype;
  return {converted(live.weight, compute_, dtype), converted(live.bias, compute_, dtype)};
}

Tensor Layer::packed(const Tensor& x_any, const Tensor& residual) const {
  const Tensor x = wrapped(x_any.to(compute_.dtype), geometry_);
  const auto without_graph = [&](const auto& op) {
    torch::NoGradGuard no_grad;
    return op(x, residual);
  };
  if (const auto op = prepared_->linear) {
    return recorded(without_graph(*op), x, residual, [op](const Tensor& dy) { return op->input_gradient(dy); });
  }
  const auto op = prepared_->conv2d;
  return recorded(without_graph(*op), x, residual,
                  [op, shape = x.sizes().vec()](const Tensor& dy) { return op->input_gradient(dy, shape); });
}

Tensor Layer::unpacked(const Tensor& x) const {
  if (is_norm(geometry_.op)) return norm(x, false, {});
  const LiveWeight now = effective();
  return plain(geometry_.op == LayerOp::embedding ? x : x.to(compute_.dtype), now.weight, now.bias);
}

Tensor Layer::norm(const Tensor& x, bool silu, const Tensor& shift) const {
  const LiveWeight now = effective();
  return geometry_.op == LayerOp::group_norm
             ? group_norm_with_gradients(x, geometry_.groups, now.weight, now.bias, geometry_.eps, silu, shift)
             : layer_norm_with_gradients(x, now.weight, now.bias, geometry_.eps);
}

Tensor Layer::without_variants(const Tensor& x, const Tensor& residual) const {
  const bool is_packed = !live_ && (prepared_->linear || prepared_->conv2d);
  Tensor y = is_packed ? packed(x, residual) : unpacked(x);
  if (residual.defined() && !is_packed) y = y + residual;
  for (const auto& term : terms_)
    if (const Tensor added = term(*this, x); added.defined()) y = y + added;
  return y;
}

Tensor Layer::forward(const Tensor& x, const Tensor& residual) const {
  if (variants_) throw Error(ErrorKind::internal, "what " + path_ + " gives depends on the place that asks");
  return without_variants(x, residual);
}

Tensor Layer::forward_variant(size_t i, const Tensor& x) const {
  Tensor y = without_variants(x, {});
  if (variants_ && variants_->terms[i]) y = y + variants_->terms[i](*this, x);
  return y;
}

Tensor Layer::forward_silu(const Tensor& x, const Tensor& shift) const {
  if (terms_.empty()) return norm(x, true, shift);
  return lorikeet::silu(forward(shift.defined() ? x + shift.unsqueeze(-1).unsqueeze(-1) : x));
}

}  // namespace lorikeet
