// BOFT (Liu et al. 2023, arXiv 2311.06243, sec. 4): OFT in several stages; stage i permutes the rows like a butterfly
// ((c g k) -> (c k g) with g = 2, k = 2^i · b/2), rotates blocks of b, and permutes back. LyCORIS' layout: oft_blocks
// [stages, k, b, b], R not transposed. At multiplier m: W + m · (W' − W), as A1111.
#include "base/error.h"
#include "lora/kinds/kinds.h"
#include "lora/kinds/rotation.h"

namespace lorikeet {
namespace boft_kind {
namespace {

class BoftAdapter : public Adapter {
 public:
  BoftAdapter(Tensor blocks, double alpha, Tensor rescale) : blocks_(std::move(blocks)), alpha_(alpha), rescale_(std::move(rescale)) {}

  std::string_view kind() const override { return "boft"; }
  bool additive() const override { return false; }
  double alpha() const override { return alpha_; }

  Tensor merge(const Tensor& weight, double multiplier) const override {
    if (multiplier == 0) return weight;
    const int64_t rows = weight.size(0), side = blocks_.size(2);
    const Tensor rotations = cayley_rotation(blocks_, alpha_ * static_cast<double>(rows)).to(weight.device());
    Tensor turned = weight.reshape({rows, -1});
    for (int64_t stage = 0; stage < blocks_.size(0); ++stage) {
      const int64_t stride = (int64_t{1} << stage) * side / 2;
      const Tensor shuffled = turned.reshape({-1, 2, stride, turned.size(1)}).transpose(1, 2).reshape({-1, side, turned.size(1)});
      turned = torch::matmul(rotations[stage], shuffled).reshape({-1, stride, 2, turned.size(1)}).transpose(1, 2).reshape({rows, -1});
    }
    turned = turned.reshape(weight.sizes());
    if (rescale_.defined()) turned = rescale_.to(weight.device()) * turned;
    return weight + multiplier * (turned - weight);
  }

  std::vector<NamedTensor> tensors() const override {
    std::vector<NamedTensor> all{{"oft_blocks", blocks_}, alpha_tensor(alpha_)};
    if (rescale_.defined()) all.push_back({"rescale", rescale_});
    return all;
  }

 private:
  Tensor blocks_;
  double alpha_;
  Tensor rescale_;
};

bool recognise(const TensorShapes& tensors) {
  const auto blocks = tensors.find("oft_blocks");
  return blocks != tensors.end() && blocks->second.size() == 4;
}

std::unique_ptr<Adapter> load(TensorGroup& tensors, const Layer& layer) {
  const Tensor blocks = tensors.require("oft_blocks");
  const int64_t rows = layer.base_weight().size(0), stages = blocks.size(0), side = blocks.size(2);
  // The last stage's butterfly spans 2^(stages-1) · b rows and has to divide all of them.
  const bool fits = side == blocks.size(3) && side % 2 == 0 && side > 0 && blocks.size(1) * side == rows && stages >= 1 && stages < 32 &&
                    rows % ((int64_t{1} << (stages - 1)) * side) == 0;
  if (!fits)
    throw Error(ErrorKind::bad_input,
                tensors.module() + ": butterfly blocks of shape " + to_string(blocks.sizes()) + " do not fit the " + std::to_string(rows) +
                    " output rows of " + layer.path(),
                "the file belongs to another kind of model, or is broken");
  const double alpha = tensors.consume_number("alpha").value_or(0);
  return std::make_unique<BoftAdapter>(blocks, alpha, consume_rescale(tensors, layer));
}

}  // namespace
}  // namespace boft_kind

const AdapterKind kBoftKind{"boft", "rotations in several butterfly stages", boft_kind::recognise, boft_kind::load, nullptr};

}  // namespace lorikeet
