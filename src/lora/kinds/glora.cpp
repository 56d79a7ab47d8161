// GLoRA (Chavan et al. 2023, arXiv 2306.07967, eq. 9): ΔW = s · (W · A + B). Two layouts of the low-rank A and B are in use:
//   old (A1111's): A = a2 · a1, B = b2 · b1, s = 1 as A1111 applies it;
//   new (LyCORIS'): A = a1 · a2, B = b1 · b2, s = alpha / rank.
// They are told apart by their shapes; a square weight where both fit is read as old.
#include "base/error.h"
#include "lora/kinds/kinds.h"

namespace lorikeet {
namespace glora_kind {
namespace {

class GloraAdapter : public Adapter {
 public:
  // a: [in, r]·[r, in], b: [out, r]·[r, in·kh·kw], each as (left, right).
  GloraAdapter(std::array<Tensor, 4> parts, bool old, DeltaShape shape, Scale scale)
      : parts_(std::move(parts)), old_(old), shape_(std::move(shape)), scale_(scale) {}

  std::string_view kind() const override { return "glora"; }
  bool additive() const override { return false; }
  int64_t rank() const override { return b_left().size(1); }
  double alpha() const override { return scale_.alpha; }

  Tensor merge(const Tensor& weight, double multiplier) const override {
    if (multiplier == 0) return weight;
    // A acts on the input channels: for convolutions they are moved last.
    const Tensor inputs_last = weight.movedim(1, -1);
    const Tensor product = torch::matmul(torch::matmul(inputs_last, a_left().to(weight.device())), a_right().to(weight.device()));
    const Tensor change = product.movedim(-1, 1) + shape_.fit(torch::matmul(b_left(), b_right())).to(weight.device());
    return weight + (multiplier * scale_.value) * change;
  }

  std::vector<NamedTensor> tensors() const override {
    static constexpr std::array kNames{"a1.weight", "a2.weight", "b1.weight", "b2.weight"};
    std::vector<NamedTensor> all;
    for (size_t i = 0; i < kNames.size(); ++i) all.push_back({kNames[i], parts_[i]});
    all.push_back(alpha_tensor(scale_.alpha));
    return all;
  }

 private:
  const Tensor& a_left() const { return parts_[old_ ? 1 : 0]; }
  const Tensor& a_right() const { return parts_[old_ ? 0 : 1]; }
  const Tensor& b_left() const { return parts_[old_ ? 3 : 2]; }
  const Tensor& b_right() const { return parts_[old_ ? 2 : 3]; }

  std::array<Tensor, 4> parts_;  // a1, a2, b1, b2 as in the file
  bool old_;
  DeltaShape shape_;
  Scale scale_;
};

bool recognise(const TensorShapes& tensors) {
  return tensors.contains("a1.weight") || tensors.contains("a2.weight") || tensors.contains("b1.weight") || tensors.contains("b2.weight");
}

std::unique_ptr<Adapter> load(TensorGroup& tensors, const Layer& layer) {
  const auto matrix = [&](const char* name) {
    const Tensor tensor = tensors.require(name);
    return tensor.dim() > 2 ? tensor.flatten(1) : tensor;
  };
  const std::array<Tensor, 4> parts{matrix("a1.weight"), matrix("a2.weight"), matrix("b1.weight"), matrix("b2.weight")};
  const auto& [a1, a2, b1, b2] = parts;
  for (const Tensor& part : parts)
    if (part.dim() != 2)
      throw Error(ErrorKind::bad_input, tensors.module() + ": a factor of shape " + to_string(part.sizes()) + " is no matrix");
  const bool old = b2.size(1) == b1.size(0) && b1.size(0) == a1.size(0) && a1.size(0) == a2.size(1);
  const bool fresh = b2.size(0) == b1.size(1) && b1.size(1) == a1.size(1) && a1.size(1) == a2.size(0);
  const Tensor& weight = layer.base_weight();
  const int64_t inputs = weight.dim() < 2 ? -1 : weight.size(1);
  if ((!old && !fresh) || (old ? a2 : a1).size(0) != inputs || (old ? a1 : a2).size(1) != inputs)
    throw Error(ErrorKind::bad_input,
                tensors.module() + ": its GLoRA factors (a1 " + to_string(a1.sizes()) + ", a2 " + to_string(a2.sizes()) + ", b1 " +
                    to_string(b1.sizes()) + ", b2 " + to_string(b2.sizes()) + ") do not fit " + layer.path() + " " +
                    to_string(weight.sizes()),
                "the file belongs to another kind of model, or is broken");
  const DeltaShape shape(tensors.module(), layer, (old ? b2 : b1).size(0), (old ? b1 : b2).size(1));
  Scale scale = consume_scale(tensors, old ? b1.size(0) : b1.size(1));
  if (old) scale.value = 1;
  return std::make_unique<GloraAdapter>(parts, old, shape, scale);
}

}  // namespace
}  // namespace glora_kind

const AdapterKind kGloraKind{"glora", "a low-rank change of the weight and one multiplied with it", glora_kind::recognise, glora_kind::load, nullptr};

}  // namespace lorikeet
