// LoKr (LyCORIS, Yeh et al. 2023, arXiv 2309.14859, sec. 3.3; Edalati et al. 2022, arXiv 2212.10650):
//   ΔW = s · w1 ⊗ w2,   each wi whole or wi_a · wi_b (w2 Tucker-decomposed where lokr_t2 is given)
// s = alpha / rank of whichever is split; 1 when both are whole, whatever alpha says (as the trainer).
#include <cmath>

#include "base/error.h"
#include "lora/kinds/kinds.h"

namespace lorikeet {
namespace lokr_kind {
namespace {

struct KroneckerFactor {
  Tensor whole, a, b, core;

  Tensor value() const {
    if (whole.defined()) return whole;
    return core.defined() ? tucker(core, a, b) : torch::matmul(a, b);
  }
  int64_t rank() const { return whole.defined() ? 0 : b.size(0); }
  // Of a split one: value().flatten(1) = left() · right().
  Tensor left() const { return core.defined() ? a.t() : a; }
  Tensor right() const { return core.defined() ? torch::einsum("ijkl,jr->irkl", {core, b}).flatten(1) : b; }
};

class LokrAdapter : public AdditiveAdapter {
 public:
  LokrAdapter(KroneckerFactor first, KroneckerFactor second, DeltaShape shape, Scale scale)
      : first_(std::move(first)), second_(std::move(second)), shape_(std::move(shape)), scale_(scale) {}

  std::string_view kind() const override { return "lokr"; }
  int64_t rank() const override { return second_.rank() ? second_.rank() : first_.rank(); }
  double alpha() const override { return scale_.alpha; }

  // (w1 ⊗ w2) x: with the inputs as a table [in1, in2], w2 goes along its rows, w1 along its columns.
  bool has_residual() const override { return !shape_.pads(); }
  std::optional<Tensor> residual(const Layer& layer, const Tensor& x, const Tensor& row_multipliers, const InnerChange&) const override {
    if (!has_residual()) return {};
    const Compute& compute = layer.compute();
    const Tensor w1 = (first_.value() * scale_.value).to(compute.device, compute.dtype);
    const Tensor w2 = second_.value().to(compute.device, compute.dtype);
    const Tensor y = layer.geometry().op == LayerOp::conv2d      ? convolved(layer, x.to(compute.dtype), w1, w2)
                     : layer.geometry().op == LayerOp::embedding ? looked_up(x, w1, w2.flatten(1))
                                                                 : multiplied(x.to(compute.dtype), w1, w2.flatten(1));
    return rows_scaled(y, row_multipliers);
  }

  // With w2 = a · b: w1 ⊗ w2 = (w1 ⊗ a)(1 ⊗ b) = (1 ⊗ a)(w1 ⊗ b), whichever is of lower rank; with w1 = a · b, w2 whole, the same
  // the other way round.
  std::optional<LowRank> low_rank() const override {
    const bool second_split = !second_.whole.defined();
    const KroneckerFactor& split = second_split ? second_ : first_;
    if (shape_.pads() || split.whole.defined()) return {};
    const Tensor other = (second_split ? first_ : second_).value().flatten(1), left = split.left(), right = split.right();
    const bool by_rows = other.size(0) < other.size(1);
    const Tensor one = torch::eye(std::min(other.size(0), other.size(1)));
    const auto product = [&](const Tensor& part, const Tensor& of_other) {
      return second_split ? torch::kron(of_other.contiguous(), part.contiguous()) : torch::kron(part.contiguous(), of_other.contiguous());
    };
    LowRank factors{product(left, by_rows ? one : other), product(right, by_rows ? other : one), scale_.value};
    if (factors.rank() >= std::min(factors.up.size(0), factors.down.size(1))) return {};
    return factors;
  }

  std::vector<NamedTensor> tensors() const override {
    std::vector<NamedTensor> all;
    const auto add = [&](const char* name, const Tensor& tensor) {
      if (tensor.defined()) all.push_back({name, tensor});
    };
    add("lokr_w1", first_.whole);
    add("lokr_w1_a", first_.a);
    add("lokr_w1_b", first_.b);
    add("lokr_w2", second_.whole);
    add("lokr_w2_a", second_.a);
    add("lokr_w2_b", second_.b);
    add("lokr_t2", second_.core);
    all.push_back(alpha_tensor(scale_.alpha));
    return all;
  }

 protected:
  Tensor delta() const override {
    Tensor w1 = first_.value();
    const Tensor w2 = second_.value();
    if (w2.dim() == 4) w1 = w1.unsqueeze(2).unsqueeze(3);
    return scale_.value * shape_.fit(torch::kron(w1, w2.contiguous()));
  }

 private:
  // x: [..., in1·in2] -> [..., out1·out2]
  static Tensor multiplied(const Tensor& x, const Tensor& w1, const Tensor& w2) {
    Shape table = x.sizes().vec();
    table.back() = w1.size(1);
    table.push_back(w2.size(1));
    const Tensor rows = torch::linear(x.reshape(table), w2);  // [..., in1, out2]
    return torch::linear(rows.transpose(-1, -2), w1).transpose(-1, -2).flatten(-2);
  }

  // The kernel belongs to w2. x: [B, in1·in2, H, W] -> [B, out1·out2, H', W']
  static Tensor convolved(const Layer& layer, const Tensor& x, const Tensor& w1, const Tensor& w2) {
    if (is_pointwise(layer)) return multiplied(x.permute({0, 2, 3, 1}), w1, w2.flatten(1)).permute({0, 3, 1, 2});
    const Tensor& weight = layer.base_weight();
    const Tensor kernel = w2.reshape({w2.size(0), -1, weight.size(2), weight.size(3)});
    const Tensor each = layer.plain(x.reshape({x.size(0) * w1.size(1), kernel.size(1), x.size(2), x.size(3)}), kernel, {});
    const Tensor mixed = torch::matmul(w1, each.reshape({x.size(0), w1.size(1), -1}));  // [B, out1, out2·H'·W']
    return mixed.reshape({x.size(0), w1.size(0) * w2.size(0), each.size(2), each.size(3)});
  }

  // Row i of the product is the product of a row of w1 and one of w2. x: int64 [...] -> [..., columns]
  static Tensor looked_up(const Tensor& x, const Tensor& w1, const Tensor& w2) {
    const Tensor first = torch::embedding(w1, torch::floor_divide(x, w2.size(0))),
                 second = torch::embedding(w2, torch::remainder(x, w2.size(0)));
    return (first.unsqueeze(-1) * second.unsqueeze(-2)).flatten(-2);
  }

  KroneckerFactor first_, second_;
  DeltaShape shape_;
  Scale scale_;
};

bool recognise(const TensorShapes& tensors) {
  return tensors.contains("lokr_w1") || tensors.contains("lokr_w1_a") || tensors.contains("lokr_w2") || tensors.contains("lokr_w2_a");
}

KroneckerFactor consume_factor(TensorGroup& tensors, const std::string& name, const std::string& core) {
  KroneckerFactor factor;
  if (tensors.has(name)) {
    factor.whole = tensors.consume(name);
  } else {
    factor.a = tensors.require(name + "_a");
    factor.b = tensors.require(name + "_b");
    factor.core = tensors.consume(core);
    const bool sound = factor.a.dim() == 2 && factor.b.dim() == 2 &&
                       (factor.core.defined()
                            ? factor.core.dim() == 4 && factor.core.size(0) == factor.a.size(0) && factor.core.size(1) == factor.b.size(0)
                            : factor.a.size(1) == factor.b.size(0));
    if (!sound)
      throw Error(ErrorKind::bad_input, tensors.module() + ": the two halves of " + name + " do not fit each other", "the file is broken");
  }
  return factor;
}

std::unique_ptr<Adapter> load(TensorGroup& tensors, const Layer& layer) {
  const KroneckerFactor first = consume_factor(tensors, "lokr_w1", "lokr_t1"), second = consume_factor(tensors, "lokr_w2", "lokr_t2");
  const Tensor w1 = first.value(), w2 = second.value();
  if (w1.dim() != 2 || (w2.dim() != 2 && w2.dim() != 4))
    throw Error(ErrorKind::bad_input,
                tensors.module() + ": factors of shape " + to_string(w1.sizes()) + " and " + to_string(w2.sizes()) +
                    " have no Kronecker product that is a weight",
                "the file is broken");
  const int64_t rank = second.rank() ? second.rank() : first.rank();
  Scale scale = consume_scale(tensors, rank);
  if (rank == 0) scale.value = 1;
  const DeltaShape shape(tensors.module(), layer, w1.size(0) * w2.size(0), w1.size(1) * columns_of(w2));
  return std::make_unique<LokrAdapter>(first, second, shape, scale);
}

// One side of the small factor, for a side of the weight (LyCORIS' factorization(): the small factor first). factor: as wanted, where it
// divides the side; else the largest divisor that is neither above it nor above the square root. -1: no wish.
int64_t small_side(int64_t side, int64_t factor) {
  if (factor > 0 && side % factor == 0) return std::min(factor, side / factor);
  auto small = static_cast<int64_t>(std::sqrt(static_cast<double>(side)));
  if (factor > 0) small = std::min(small, factor);
  while (side % small != 0) --small;
  return small;
}

std::unique_ptr<Adapter> create(const Layer& layer, const AdapterOptions& options) {
  const Tensor& weight = layer.base_weight();
  if (weight.dim() < 2) return nullptr;
  const int64_t rows = small_side(weight.size(0), options.lokr_factor), columns = small_side(weight.size(1), options.lokr_factor);
  const int64_t rows2 = weight.size(0) / rows, columns2 = columns_of(weight) / columns, rank = options.rank;
  const auto normal = [&](int64_t height, int64_t width) {
    return fresh_normal({height, width}, 1 / std::sqrt(static_cast<double>(width)), layer, options);
  };
  const KroneckerFactor first{normal(rows, columns), {}, {}, {}};
  const DeltaShape shape("fresh", layer, rows * rows2, columns * columns2);
  // The large factor is split only where that makes it smaller (LyCORIS' rule); whole, it has no scale.
  if (2 * rank >= std::max(rows2, weight.size(1) / columns)) {
    const Shape large = weight.dim() == 4 ? Shape{rows2, weight.size(1) / columns, weight.size(2), weight.size(3)} : Shape{rows2, columns2};
    return std::make_unique<LokrAdapter>(first, KroneckerFactor{fresh_zeros(large, layer), {}, {}, {}}, shape,
                                         Scale{static_cast<double>(rank), 1});
  }
  const KroneckerFactor second{{}, fresh_zeros({rows2, rank}, layer), normal(rank, columns2), {}};
  return std::make_unique<LokrAdapter>(first, second, shape, fresh_scale(options));
}

}  // namespace
}  // namespace lokr_kind

const AdapterKind kLokrKind{"lokr", "the Kronecker product of two small factors", lokr_kind::recognise, lokr_kind::load, lokr_kind::create};

}  // namespace lorikeet
