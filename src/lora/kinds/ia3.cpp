// IA3 (Liu et al. 2022, arXiv 2205.05638, sec. 3.3) as LyCORIS stores it: W' = W · (1 + m·w), w for each output row, or for
// each input column where on_input is set.
#include "base/error.h"
#include "lora/kinds/kinds.h"

namespace lorikeet {
namespace ia3_kind {
namespace {

class Ia3Adapter : public Adapter {
 public:
  // factor: the file's factor minus 1, [out, 1, …] or [1, in, 1, …].
  Ia3Adapter(Tensor factor, bool on_input) : factor_(std::move(factor)), on_input_(on_input) {}

  std::string_view kind() const override { return "ia3"; }
  bool additive() const override { return false; }
  Tensor merge(const Tensor& weight, double multiplier) const override {
    if (multiplier == 0) return weight;
    return weight + multiplier * (weight * factor_.to(weight.device()));
  }
  std::vector<NamedTensor> tensors() const override { return {{"weight", factor_}, {"on_input", torch::tensor(on_input_)}}; }

 private:
  Tensor factor_;
  bool on_input_;
};

std::unique_ptr<Ia3Adapter> make(const Tensor& factor, bool on_input, const Layer& layer) {
  Shape shape(static_cast<size_t>(layer.base_weight().dim()), 1);
  shape[on_input ? 1 : 0] = factor.numel();
  return std::make_unique<Ia3Adapter>(factor.reshape(shape), on_input);
}

bool recognise(const TensorShapes& tensors) { return tensors.contains("weight") && tensors.contains("on_input"); }

std::unique_ptr<Adapter> load(TensorGroup& tensors, const Layer& layer) {
  const Tensor factor = tensors.require("weight");
  const bool on_input = tensors.consume_number("on_input").value_or(0) != 0;
  const Tensor& weight = layer.base_weight();
  const int64_t wanted = weight.dim() < 2 ? -1 : weight.size(on_input ? 1 : 0);
  if (factor.numel() != wanted)
    throw Error(ErrorKind::bad_input,
                tensors.module() + " has " + std::to_string(factor.numel()) + " factors for the " + (on_input ? "inputs" : "outputs") +
                    " of " + layer.path() + " " + to_string(weight.sizes()),
                "the file belongs to another kind of model, or is broken");
  return make(factor, on_input, layer);
}

std::unique_ptr<Adapter> create(const Layer& layer, const AdapterOptions&) {
  if (layer.base_weight().dim() < 2) return nullptr;
  return make(fresh_zeros({layer.base_weight().size(0)}, layer), false, layer);
}

}  // namespace
}  // namespace ia3_kind

const AdapterKind kIa3Kind{"ia3", "a factor for each output or input", ia3_kind::recognise, ia3_kind::load, ia3_kind::create};

}  // namespace lorikeet
