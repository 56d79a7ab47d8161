// DoRA (Liu et al. 2024, arXiv 2402.09353, eq. 5) around any other kind:
//   W' = g · (W + ΔW) / ‖W + ΔW‖,   at multiplier m: W + m · (W' − W)
// The norm is taken over each input column where g is [1, in, …] (LyCORIS before wd_on_output, A1111), over each output row where g
// is [out, 1, …] (LyCORIS now) or PEFT's magnitude vector. m as in A1111 and ComfyUI; LyCORIS and PEFT differ for m ≠ 1.
#include <limits>

#include "base/error.h"
#include "lora/kinds/kinds.h"

namespace lorikeet {
namespace dora_kind {
namespace {

class DoraAdapter : public Adapter {
 public:
  // magnitude: [out, 1, …] or [1, in, 1, …], as many dimensions as the weight.
  DoraAdapter(std::unique_ptr<Adapter> inner, Tensor magnitude) : inner_(std::move(inner)), magnitude_(std::move(magnitude)) {}

  std::string_view kind() const override { return "dora"; }
  bool additive() const override { return false; }
  bool changes_bias() const override { return inner_->changes_bias(); }
  Tensor merge_bias(const Tensor& bias, double multiplier) const override { return inner_->merge_bias(bias, multiplier); }
  int64_t rank() const override { return inner_->rank(); }
  double alpha() const override { return inner_->alpha(); }

  Tensor merge(const Tensor& weight, double multiplier) const override {
    if (multiplier == 0) return weight;
    const Tensor changed = inner_->merge(weight, 1);
    const Tensor magnitude = magnitude_.to(weight.device());
    const Tensor whole = changed * (magnitude / norm(changed, magnitude_.size(0) == 1));
    return weight + multiplier * (whole - weight);
  }

  std::unique_ptr<Adapter> truncated(int64_t rank) const override {
    auto inner = inner_->truncated(rank);
    return inner ? std::make_unique<DoraAdapter>(std::move(inner), magnitude_) : nullptr;
  }

  std::vector<NamedTensor> tensors() const override {
    std::vector<NamedTensor> all = inner_->tensors();
    all.push_back({"dora_scale", magnitude_});
    return all;
  }

  // Of each input column or output row, the other dimensions kept with size 1.
  static Tensor norm(const Tensor& weight, bool per_input) {
    std::vector<int64_t> over;
    for (int64_t d = 0; d < weight.dim(); ++d)
      if (d != (per_input ? 1 : 0)) over.push_back(d);
    return torch::norm(weight, 2, over, true).clamp_min(std::numeric_limits<float>::epsilon());
  }

 private:
  std::unique_ptr<Adapter> inner_;
  Tensor magnitude_;
};

bool recognise(const TensorShapes& tensors) { return tensors.contains("dora_scale") || tensors.contains("lora_magnitude_vector"); }

std::unique_ptr<Adapter> load(TensorGroup& tensors, const Layer& layer) {
  const Tensor& weight = layer.base_weight();
  const bool peft = !tensors.has("dora_scale");  // per output whatever its shape: PEFT's is [out], or [1, out, 1, 1] for convolutions
  Tensor magnitude = tensors.consume(peft ? "lora_magnitude_vector" : "dora_scale");
  auto inner = load_adapter(tensors, layer);
  if (!inner)
    throw Error(ErrorKind::bad_input, tensors.module() + " has a DoRA magnitude but nothing that it belongs to", "the file is incomplete");
  if (weight.dim() < 2) throw Error(ErrorKind::unsupported, tensors.module() + ": DoRA on a layer without a matrix (" + layer.path() + ")");
  Shape shape(static_cast<size_t>(weight.dim()), 1);
  const bool per_input = !peft && magnitude.dim() >= 2 && magnitude.size(0) == 1 && magnitude.size(1) == weight.size(1);
  shape[per_input ? 1 : 0] = weight.size(per_input ? 1 : 0);
  if (magnitude.numel() != weight.size(per_input ? 1 : 0))
    throw Error(ErrorKind::bad_input,
                tensors.module() + ": the DoRA magnitude of shape " + to_string(magnitude.sizes()) + " fits neither rows nor columns of " +
                    layer.path() + " " + to_string(weight.sizes()),
                "the file belongs to another kind of model, or is broken");
  return std::make_unique<DoraAdapter>(std::move(inner), magnitude.reshape(shape));
}

std::unique_ptr<Adapter> create(const Layer& layer, const AdapterOptions& options) {
  auto inner = kLoraKind.create(layer, options);
  if (!inner) return nullptr;
  const Tensor weight = layer.base_weight().to(layer.compute().device, torch::kFloat);
  return std::make_unique<DoraAdapter>(std::move(inner), DoraAdapter::norm(weight, false));
}

}  // namespace
}  // namespace dora_kind

const AdapterKind kDoraKind{"dora", "another kind's change with its magnitude learnt apart", dora_kind::recognise, dora_kind::load, dora_kind::create};

}  // namespace lorikeet
