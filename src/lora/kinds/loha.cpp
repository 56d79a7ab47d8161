// LoHa (Hyeon-Woo et al. 2021, arXiv 2108.06098, eq. 4; LyCORIS, arXiv 2309.14859):
//   ΔW = s · (w1_a · w1_b) ∘ (w2_a · w2_b),   s = alpha / rank
// With cores t1, t2 each factor is Tucker's: w1_a then is [r, out], w1_b [r, in].
#include <cmath>

#include "base/error.h"
#include "lora/kinds/kinds.h"

namespace lorikeet {
namespace loha_kind {
namespace {

struct Half {
  Tensor a, b, core;

  // The two factors of product() as a matrix: [rows, r], [r, columns].
  Tensor left() const { return core.defined() ? a.t() : a; }
  Tensor right() const { return core.defined() ? torch::einsum("ijkl,jr->irkl", {core, b}).flatten(1) : b; }

  Tensor product() const { return core.defined() ? tucker(core, a, b) : torch::matmul(a, b); }
  int64_t rows() const { return core.defined() ? a.size(1) : a.size(0); }
  int64_t columns() const { return core.defined() ? b.size(1) * core.size(2) * core.size(3) : b.size(1); }
  bool sound() const {
    if (a.dim() != 2 || b.dim() != 2) return false;
    if (core.defined()) return core.dim() == 4 && core.size(0) == a.size(0) && core.size(1) == b.size(0);
    return a.size(1) == b.size(0);
  }
};

class LohaAdapter : public AdditiveAdapter {
 public:
  LohaAdapter(Half first, Half second, DeltaShape shape, Scale scale)
      : first_(std::move(first)), second_(std::move(second)), shape_(std::move(shape)), scale_(scale) {}

  std::string_view kind() const override { return "loha"; }
  int64_t rank() const override { return first_.b.size(0); }
  double alpha() const override { return scale_.alpha; }

  // Through low_rank(), while that is smaller than the weight.
  bool has_residual() const override {
    return !shape_.pads() && first_.b.size(0) * second_.b.size(0) < std::min(first_.rows(), first_.columns());
  }
  std::optional<Tensor> residual(const Layer& layer, const Tensor& x, const Tensor& row_multipliers, const InnerChange&) const override {
    if (!has_residual()) return {};
    const Compute& compute = layer.compute();
    const LowRank factors = *low_rank();
    const Tensor up = (factors.up * factors.scale).to(compute.device, compute.dtype), down = factors.down.to(compute.device, compute.dtype);
    if (layer.geometry().op == LayerOp::embedding) return rows_scaled(torch::matmul(torch::embedding(up, x), down), row_multipliers);
    const Tensor input = x.to(compute.dtype);
    if (layer.geometry().op == LayerOp::linear) return torch::linear(rows_scaled(torch::linear(input, down), row_multipliers), up);
    const Tensor& weight = layer.base_weight();
    const Tensor inner = is_pointwise(layer)
                             ? pointwise(input, down)
                             : layer.plain(input, down.reshape({down.size(0), weight.size(1), weight.size(2), weight.size(3)}), {});
    return pointwise(rows_scaled(inner, row_multipliers), up);
  }

  // (A B) ∘ (C D) = (A • C)(B ∗ D) with the Khatri-Rao products by rows and by columns (Slyusar 1998), of rank r².
  std::optional<LowRank> low_rank() const override {
    const Tensor a = first_.left(), b = first_.right(), c = second_.left(), d = second_.right();
    const int64_t rank = b.size(0) * d.size(0);
    if (shape_.pads() || rank >= std::min(a.size(0), b.size(1))) return {};
    return LowRank{torch::einsum("or,os->ors", {a, c}).reshape({-1, rank}), torch::einsum("ri,si->rsi", {b, d}).reshape({rank, -1}),
                   scale_.value};
  }

  std::vector<NamedTensor> tensors() const override {
    std::vector<NamedTensor> all{{"hada_w1_a", first_.a}, {"hada_w1_b", first_.b}, {"hada_w2_a", second_.a}, {"hada_w2_b", second_.b}};
    if (first_.core.defined()) all.push_back({"hada_t1", first_.core});
    if (second_.core.defined()) all.push_back({"hada_t2", second_.core});
    all.push_back(alpha_tensor(scale_.alpha));
    return all;
  }

 protected:
  Tensor delta() const override { return scale_.value * shape_.fit(first_.product() * second_.product()); }

 private:
  Half first_, second_;
  DeltaShape shape_;
  Scale scale_;
};

bool recognise(const TensorShapes& tensors) {
  return tensors.contains("hada_w1_a") || tensors.contains("hada_w1_b") || tensors.contains("hada_w2_a") || tensors.contains("hada_w2_b");
}

std::unique_ptr<Adapter> load(TensorGroup& tensors, const Layer& layer) {
  const Half first{tensors.require("hada_w1_a"), tensors.require("hada_w1_b"), tensors.consume("hada_t1")};
  const Half second{tensors.require("hada_w2_a"), tensors.require("hada_w2_b"), tensors.consume("hada_t2")};
  if (!first.sound() || !second.sound() || first.rows() != second.rows() || first.columns() != second.columns())
    throw Error(ErrorKind::bad_input, tensors.module() + ": the factors of its LoHa do not fit each other", "the file is broken");
  const Scale scale = consume_scale(tensors, first.b.size(0));
  return std::make_unique<LohaAdapter>(first, second, DeltaShape(tensors.module(), layer, first.rows(), first.columns()), scale);
}

std::unique_ptr<Adapter> create(const Layer& layer, const AdapterOptions& options) {
  const Tensor& weight = layer.base_weight();
  if (weight.dim() < 2) return nullptr;
  const int64_t rows = weight.size(0), columns = columns_of(weight), rank = options.rank;
  // LyCORIS' start: normal(0.1) and normal(1), the second product 0.
  const Half first{fresh_normal({rows, rank}, 0.1, layer, options), fresh_normal({rank, columns}, 1, layer, options), {}};
  const Half second{fresh_zeros({rows, rank}, layer), fresh_normal({rank, columns}, 1, layer, options), {}};
  return std::make_unique<LohaAdapter>(first, second, DeltaShape("fresh", layer, rows, columns), fresh_scale(options));
}

}  // namespace
}  // namespace loha_kind

const AdapterKind kLohaKind{"loha", "the elementwise product of two low-rank products", loha_kind::recognise, loha_kind::load, loha_kind::create};

}  // namespace lorikeet
