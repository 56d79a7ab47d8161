// OFT (Qiu et al. 2023, arXiv 2306.07280): the output rows, in blocks of b, are rotated: W'[k] = R[k]ᵀ · W[k], the transposition
// being kohya's ('k n m, k n … -> k m …'). At multiplier m: W + m · (W' − W).
// oft_blocks: the numbers behind R, alpha · out the limit of their norm; oft_diag (old LyCORIS): R itself.
#include "base/error.h"
#include "lora/kinds/kinds.h"
#include "lora/kinds/rotation.h"

namespace lorikeet {
namespace oft_kind {
namespace {

class OftAdapter : public Adapter {
 public:
  // blocks: [k, b, b]; limit: see cayley_rotation(); is_rotation: the blocks are R; rescale: [out, 1, …] or undefined.
  OftAdapter(Tensor blocks, bool is_rotation, double alpha, int64_t rows, Tensor rescale)
      : blocks_(std::move(blocks)), is_rotation_(is_rotation), alpha_(alpha), rows_(rows), rescale_(std::move(rescale)) {}

  std::string_view kind() const override { return "oft"; }
  bool additive() const override { return false; }
  double alpha() const override { return alpha_; }

  Tensor merge(const Tensor& weight, double multiplier) const override {
    if (multiplier == 0) return weight;
    const Tensor rotation = is_rotation_ ? blocks_ : cayley_rotation(blocks_, alpha_ * static_cast<double>(rows_));
    const Tensor rows = weight.reshape({blocks_.size(0), blocks_.size(1), -1});
    Tensor turned = torch::matmul(rotation.to(weight.device()).transpose(1, 2), rows).reshape(weight.sizes());
    if (rescale_.defined()) turned = rescale_.to(weight.device()) * turned;
    return weight + multiplier * (turned - weight);
  }

  std::vector<NamedTensor> tensors() const override {
    std::vector<NamedTensor> all{{is_rotation_ ? "oft_diag" : "oft_blocks", blocks_}};
    if (!is_rotation_) all.push_back(alpha_tensor(alpha_));
    if (rescale_.defined()) all.push_back({"rescale", rescale_});
    return all;
  }

 private:
  Tensor blocks_;
  bool is_rotation_;
  double alpha_;
  int64_t rows_;
  Tensor rescale_;
};

bool recognise(const TensorShapes& tensors) {
  const auto blocks = tensors.find("oft_blocks");
  return tensors.contains("oft_diag") || (blocks != tensors.end() && blocks->second.size() != 4);
}

std::unique_ptr<Adapter> load(TensorGroup& tensors, const Layer& layer) {
  const bool is_rotation = tensors.has("oft_diag");
  const Tensor blocks = tensors.require(is_rotation ? "oft_diag" : "oft_blocks");
  const int64_t rows = layer.base_weight().size(0);
  if (blocks.dim() != 3 || blocks.size(1) != blocks.size(2) || blocks.size(0) * blocks.size(1) != rows)
    throw Error(ErrorKind::bad_input,
                tensors.module() + ": rotation blocks of shape " + to_string(blocks.sizes()) + " do not cover the " + std::to_string(rows) +
                    " output rows of " + layer.path(),
                "the file belongs to another kind of model, or is broken");
  const double alpha = tensors.consume_number("alpha").value_or(0);
  return std::make_unique<OftAdapter>(blocks, is_rotation, alpha, rows, consume_rescale(tensors, layer));
}

}  // namespace
}  // namespace oft_kind

Tensor cayley_rotation(const Tensor& blocks, double limit) {
  Tensor skew = blocks - blocks.transpose(-1, -2);
  if (limit > 0) {
    constexpr double kTiny = 1e-8;  // kohya's, against a division by 0
    const Tensor norm = torch::norm(skew);
    skew = skew * ((norm.clamp_max(limit) + kTiny) / (norm + kTiny));
  }
  const Tensor identity = torch::eye(blocks.size(-1), blocks.options());
  return torch::matmul(identity + skew, torch::linalg_inv(identity - skew));
}

Tensor consume_rescale(TensorGroup& tensors, const Layer& layer) {
  const Tensor rescale = tensors.consume("rescale");
  if (!rescale.defined()) return rescale;
  const Tensor& weight = layer.base_weight();
  if (rescale.numel() != weight.size(0))
    throw Error(ErrorKind::bad_input,
                tensors.module() + ".rescale has the shape " + to_string(rescale.sizes()) + ", but " + layer.path() + " has " +
                    std::to_string(weight.size(0)) + " output rows",
                "the file is broken");
  Shape shape(static_cast<size_t>(weight.dim()), 1);
  shape[0] = weight.size(0);
  return rescale.reshape(shape);
}

const AdapterKind kOftKind{"oft", "rotations of blocks of the output rows", oft_kind::recognise, oft_kind::load, nullptr};

}  // namespace lorikeet
