// Full differences: ΔW = diff, Δb = diff_b, no alpha. Also diff_b beside any other kind.
#include "base/error.h"
#include "lora/kinds/kinds.h"

namespace lorikeet {
namespace full_kind {
namespace {

Tensor changed_bias(const Tensor& bias, const Tensor& difference, double multiplier) {
  if (!difference.defined() || multiplier == 0) return bias;
  const Tensor change = multiplier * difference;
  return bias.defined() ? bias + change.to(bias.device()) : change;
}

class FullAdapter : public AdditiveAdapter {
 public:
  // Either difference may be undefined: none.
  FullAdapter(Tensor weight, Tensor bias, Shape shape) : weight_(std::move(weight)), bias_(std::move(bias)), shape_(std::move(shape)) {}

  std::string_view kind() const override { return "full"; }
  bool changes_bias() const override { return bias_.defined(); }
  Tensor merge_bias(const Tensor& bias, double multiplier) const override { return changed_bias(bias, bias_, multiplier); }

  std::vector<NamedTensor> tensors() const override {
    std::vector<NamedTensor> all;
    if (weight_.defined()) all.push_back({"diff", weight_});
    if (bias_.defined()) all.push_back({"diff_b", bias_});
    return all;
  }

 protected:
  Tensor delta() const override { return weight_.defined() ? weight_ : torch::zeros(shape_); }

 private:
  Tensor weight_, bias_;
  Shape shape_;
};

class BiasAdapter : public Adapter {
 public:
  BiasAdapter(std::unique_ptr<Adapter> inner, Tensor bias) : inner_(std::move(inner)), bias_(std::move(bias)) {}

  std::string_view kind() const override { return inner_->kind(); }
  Tensor merge(const Tensor& weight, double multiplier) const override { return inner_->merge(weight, multiplier); }
  void merge_into(Tensor& weight, double multiplier) const override { inner_->merge_into(weight, multiplier); }
  Tensor merge_bias(const Tensor& bias, double multiplier) const override {
    return changed_bias(inner_->merge_bias(bias, multiplier), bias_, multiplier);
  }
  bool changes_bias() const override { return true; }
  bool additive() const override { return inner_->additive(); }
  std::optional<LowRank> low_rank() const override { return inner_->low_rank(); }
  int64_t rank() const override { return inner_->rank(); }
  double alpha() const override { return inner_->alpha(); }
  std::unique_ptr<Adapter> truncated(int64_t rank) const override {
    auto inner = inner_->truncated(rank);
    return inner ? std::make_unique<full_kind::BiasAdapter>(std::move(inner), bias_) : nullptr;
  }
  std::vector<NamedTensor> tensors() const override {
    std::vector<NamedTensor> all = inner_->tensors();
    all.push_back({"diff_b", bias_});
    return all;
  }

 private:
  std::unique_ptr<Adapter> inner_;
  Tensor bias_;
};

bool recognise(const TensorShapes& tensors) {
  if (tensors.contains("diff")) return true;
  // diff_b beside another kind's tensors is that kind's matter.
  return tensors.contains("diff_b") && tensors.size() == 1;
}

std::unique_ptr<Adapter> load(TensorGroup& tensors, const Layer& layer) {
  Tensor weight = tensors.consume("diff");
  if (weight.defined() && weight.dim() > 0) weight = DeltaShape(tensors.module(), layer, weight.size(0), columns_of(weight)).fit(weight);
  return std::make_unique<FullAdapter>(weight, consume_bias(tensors, "diff_b", layer), layer.base_weight().sizes().vec());
}

std::unique_ptr<Adapter> create(const Layer& layer, const AdapterOptions&) {
  const auto zeros_like = [&](const Tensor& base) { return base.defined() ? fresh_zeros(base.sizes(), layer) : Tensor(); };
  return std::make_unique<FullAdapter>(zeros_like(layer.base_weight()), zeros_like(layer.base_bias()), layer.base_weight().sizes().vec());
}

}  // namespace
}  // namespace full_kind

Tensor consume_bias(TensorGroup& tensors, std::string_view name, const Layer& layer) {
  const Tensor bias = tensors.consume(name);
  if (!bias.defined()) return bias;
  const int64_t wanted = layer.base_weight().size(layer.geometry().op == LayerOp::embedding ? 1 : 0);
  if (bias.numel() != wanted)
    throw Error(ErrorKind::bad_input,
                tensors.module() + "." + std::string(name) + " has the shape " + to_string(bias.sizes()) + ", but the bias of " +
                    layer.path() + " has " + to_string(Shape{wanted}),
                "the file belongs to another kind of model, or is broken");
  return bias.reshape({wanted});
}

std::unique_ptr<Adapter> with_bias_difference(std::unique_ptr<Adapter> adapter, TensorGroup& tensors, const Layer& layer) {
  return std::make_unique<full_kind::BiasAdapter>(std::move(adapter), consume_bias(tensors, "diff_b", layer));
}

const AdapterKind kFullKind{"full", "whole differences of weight and bias", full_kind::recognise, full_kind::load, full_kind::create};

}  // namespace lorikeet
