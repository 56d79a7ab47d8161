// LyCORIS' norm: what is added to gain and bias of a GroupNorm or LayerNorm: w_norm, b_norm, no alpha.
#include "base/error.h"
#include "lora/kinds/kinds.h"

namespace lorikeet {
namespace norm_kind {
namespace {

class NormAdapter : public AdditiveAdapter {
 public:
  NormAdapter(Tensor gain, Tensor bias) : gain_(std::move(gain)), bias_(std::move(bias)) {}

  std::string_view kind() const override { return "norm"; }
  bool changes_bias() const override { return bias_.defined(); }
  Tensor merge_bias(const Tensor& bias, double multiplier) const override {
    if (!bias_.defined() || multiplier == 0) return bias;
    return bias.defined() ? bias + multiplier * bias_.to(bias.device()) : multiplier * bias_;
  }

  std::vector<NamedTensor> tensors() const override {
    std::vector<NamedTensor> all{{"w_norm", gain_}};
    if (bias_.defined()) all.push_back({"b_norm", bias_});
    return all;
  }

 protected:
  Tensor delta() const override { return gain_; }

 private:
  Tensor gain_, bias_;
};

bool recognise(const TensorShapes& tensors) { return tensors.contains("w_norm"); }

std::unique_ptr<Adapter> load(TensorGroup& tensors, const Layer& layer) {
  const Tensor gain = tensors.require("w_norm");
  const DeltaShape shape(tensors.module(), layer, gain.numel(), 1);
  return std::make_unique<NormAdapter>(shape.fit(gain), consume_bias(tensors, "b_norm", layer));
}

std::unique_ptr<Adapter> create(const Layer& layer, const AdapterOptions&) {
  if (layer.base_weight().dim() != 1) return nullptr;
  const Tensor& bias = layer.base_bias();
  return std::make_unique<NormAdapter>(fresh_zeros(layer.base_weight().sizes(), layer),
                                       bias.defined() ? fresh_zeros(bias.sizes(), layer) : Tensor());
}

}  // namespace
}  // namespace norm_kind

const AdapterKind kNormKind{"norm", "differences of a normalisation's gain and bias", norm_kind::recognise, norm_kind::load, norm_kind::create};

}  // namespace lorikeet
