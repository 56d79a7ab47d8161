// LoRA (Hu et al. 2021, arXiv 2106.09685, eq. 3) and its convolution form LoCon, with CP's middle factor where there is one:
//   ΔW = s · up · down,   s = alpha / rank
//   ΔW[i,j,k,l] = s · Σ_n,m up[i,n] mid[n,m,k,l] down[m,j]   (LyCORIS, arXiv 2309.14859, sec. 3.2)
#include <cmath>
#include <map>
#include <mutex>
#include <tuple>

#include "base/error.h"
#include "lora/kinds/kinds.h"

namespace lorikeet {
namespace lora_kind {
namespace {

// The three factors; scale lies in none of them. linear, embedding: down [r, in], up [out, r]; conv2d: down [r, in, kh, kw] or, with
// mid [r, r, kh, kw], [r, in, 1, 1], up [out, r, 1, 1].
struct Factors {
  Tensor down, mid, up;
};

class LoraAdapter : public AdditiveAdapter {
 public:
  LoraAdapter(Factors factors, Shape shape, Scale scale) : factors_(std::move(factors)), shape_(std::move(shape)), scale_(scale) {}

  std::string_view kind() const override { return "lora"; }
  int64_t rank() const override { return factors_.down.size(0); }
  double alpha() const override { return scale_.alpha; }
  bool has_residual() const override { return true; }

  void merge_into(Tensor& weight, double multiplier) const override {
    if (multiplier == 0) return;
    if (factors_.mid.defined() || !weight.is_contiguous()) return AdditiveAdapter::merge_into(weight, multiplier);
    Tensor matrix = weight.view({weight.size(0), -1});
    merge_rows(matrix, 0, multiplier);
  }

  bool merges_rows() const override { return !factors_.mid.defined(); }
  void merge_rows(Tensor& rows, int64_t first, double multiplier) const override {
    rows.addmm_(factors_.up.narrow(0, first, rows.size(0)).flatten(1), factors_.down.flatten(1), 1, multiplier * scale_.value);
  }

  std::optional<Tensor> residual(const Layer& layer, const Tensor& x, const Tensor& row_multipliers,
                                 const InnerChange& change) const override {
    const Factors factors = prepared(layer.compute());
    const Tensor input = x.is_floating_point() ? x.to(layer.compute().dtype) : x;
    Tensor inner = rows_scaled(inner_activations(layer, factors, input), row_multipliers);
    if (change) inner = change(inner);
    return layer.geometry().op == LayerOp::conv2d      ? pointwise(inner, factors.up)
           : layer.geometry().op == LayerOp::embedding ? torch::matmul(inner, factors.down)
                                                       : torch::linear(inner, factors.up);
  }

  std::optional<LowRank> low_rank() const override {
    const Tensor up = factors_.up.flatten(1), down = factors_.down.flatten(1);
    if (!factors_.mid.defined()) return LowRank{up, down, scale_.value};
    return LowRank{up, torch::einsum("nmkl,mj->njkl", {factors_.mid, down}).flatten(1), scale_.value};
  }

  std::unique_ptr<Adapter> truncated(int64_t rank) const override {
    if (rank < 1 || rank >= this->rank() || factors_.mid.defined()) return nullptr;
    const Factors cut{factors_.down.narrow(0, 0, rank), {}, factors_.up.narrow(1, 0, rank)};
    return std::make_unique<LoraAdapter>(cut, shape_, Scale{scale_.value * static_cast<double>(rank), scale_.value});
  }

  std::vector<NamedTensor> tensors() const override {
    std::vector<NamedTensor> all{{"lora_down.weight", factors_.down}, {"lora_up.weight", factors_.up}};
    if (factors_.mid.defined()) all.push_back({"lora_mid.weight", factors_.mid});
    all.push_back(alpha_tensor(scale_.alpha));
    return all;
  }

 protected:
  Tensor delta() const override {
    const Tensor up = factors_.up.flatten(1), down = factors_.down.flatten(1);
    if (!factors_.mid.defined()) return scale_.value * torch::matmul(up, down).reshape(shape_);
    return scale_.value * torch::einsum("nmkl,in,mj->ijkl", {factors_.mid, up, down}).reshape(shape_);
  }

 private:
  // What lies between the two outer factors: [B, …, r], for convolutions [B, r, H', W'].
  static Tensor inner_activations(const Layer& layer, const Factors& factors, const Tensor& x) {
    const LayerGeometry& geometry = layer.geometry();
    if (geometry.op == LayerOp::embedding) return torch::embedding(factors.up, x);
    if (geometry.op == LayerOp::linear) return torch::linear(x, factors.down);
    if (factors.mid.defined()) return layer.plain(pointwise(x, factors.down), factors.mid, {});
    return is_pointwise(layer) ? pointwise(x, factors.down) : layer.plain(x, factors.down, {});
  }

  // The factors where the layer computes, the scale in `up`; kept, unless gradients have to reach the originals.
  Factors prepared(const Compute& compute) const {
    const auto convert = [&](const Tensor& tensor, double scale) {
      if (!tensor.defined()) return tensor;
      Tensor converted = (scale == 1 ? tensor : tensor * scale).to(compute.device, compute.dtype);
      return converted.dim() == 4 ? converted.contiguous(torch::MemoryFormat::ChannelsLast) : converted;
    };
    const auto all = [&] { return Factors{convert(factors_.down, 1), convert(factors_.mid, 1), convert(factors_.up, scale_.value)}; };
    if (factors_.down.requires_grad() || factors_.up.requires_grad()) return all();
    const std::tuple key(compute.device.type(), compute.device.index(), compute.dtype);
    const std::lock_guard lock(mutex_);
    const auto found = prepared_.find(key);
    return found != prepared_.end() ? found->second : prepared_.emplace(key, all()).first->second;
  }

  Factors factors_;
  Shape shape_;
  Scale scale_;
  mutable std::mutex mutex_;
  mutable std::map<std::tuple<torch::DeviceType, torch::DeviceIndex, Dtype>, Factors> prepared_;
};

bool recognise(const TensorShapes& tensors) {
  return tensors.contains("lora_up.weight") || tensors.contains("lora_down.weight") || tensors.contains("lora_embedding_A") ||
         tensors.contains("lora_embedding_B");
}

// The factors as they lie in the file. PEFT stores those of an embedding transposed: A [r, N], B [D, r], ΔW = (B A)ᵀ.
Factors consume_factors(TensorGroup& tensors) {
  if (tensors.has("lora_embedding_A") || tensors.has("lora_embedding_B"))
    return {tensors.require("lora_embedding_B").t().contiguous(), {}, tensors.require("lora_embedding_A").t().contiguous()};
  Factors factors{tensors.require("lora_down.weight"), tensors.consume("lora_mid.weight"), tensors.require("lora_up.weight")};
  for (const Tensor* factor : {&factors.down, &factors.up})
    if (factor->dim() < 2)
      throw Error(ErrorKind::bad_input, tensors.module() + ": a factor of shape " + to_string(factor->sizes()) + " is no matrix");
  return factors;
}

[[noreturn]] void throw_ranks(const TensorGroup& tensors, const Factors& factors) {
  throw Error(ErrorKind::bad_input,
              tensors.module() + ": the ranks of its factors differ: down " + to_string(factors.down.sizes()) +
                  (factors.mid.defined() ? ", mid " + to_string(factors.mid.sizes()) : "") + ", up " + to_string(factors.up.sizes()),
              "the file is broken");
}

// Brings the file's factors into the layer's form (see Factors).
Factors shaped_for(Factors factors, TensorGroup& tensors, const Layer& layer) {
  Tensor down = factors.down.flatten(1), up = factors.up.flatten(1);
  const int64_t rank = down.size(0);
  const Tensor& weight = layer.base_weight();
  const bool conv = layer.geometry().op == LayerOp::conv2d;
  const bool has_mid = factors.mid.defined();
  if (up.size(1) != rank || (has_mid && (factors.mid.dim() != 4 || factors.mid.size(0) != rank || factors.mid.size(1) != rank)))
    throw_ranks(tensors, factors);
  const int64_t kernel = conv && !has_mid ? weight.size(2) * weight.size(3) : 1;
  const int64_t mid_columns = has_mid ? factors.mid.size(2) * factors.mid.size(3) : 1;
  DeltaShape(tensors.module(), layer, up.size(0), down.size(1) * mid_columns);
  if (has_mid && conv && factors.mid.sizes().slice(2) != weight.sizes().slice(2)) throw_ranks(tensors, factors);
  if (!conv) return {down, {}, up};
  const int64_t side = kernel == 1 ? 1 : weight.size(2);
  down = down.reshape({rank, -1, side, kernel / side});
  if (is_inpaint_conv_in(layer, down.size(1))) down = torch::constant_pad_nd(down, {0, 0, 0, 0, 0, weight.size(1) - down.size(1)});
  return {down, factors.mid, up.reshape({-1, rank, 1, 1})};
}

std::unique_ptr<Adapter> load(TensorGroup& tensors, const Layer& layer) {
  Factors factors = consume_factors(tensors);
  const Scale scale = consume_scale(tensors, factors.down.size(0));
  return std::make_unique<LoraAdapter>(shaped_for(std::move(factors), tensors, layer), layer.base_weight().sizes().vec(), scale);
}

// Rows (or, where there are more rows than columns, columns) at right angles to each other. The signs of the triangular factor's diagonal
// make it uniform over all such matrices (Mezzadri 2007, arXiv math-ph/0609050, sec. 5).
Tensor orthonormal(int64_t rows, int64_t columns, const Layer& layer, const AdapterOptions& options) {
  const Tensor noise = torch::randn({std::max(rows, columns), std::min(rows, columns)}, options.generator);
  const auto [q, r] = torch::linalg_qr(noise);
  const Tensor turned = q * torch::sign(torch::diagonal(r));
  return (rows <= columns ? turned.t().contiguous() : turned).to(layer.compute().device);
}

Tensor fresh_down(const Shape& shape, const Layer& layer, const AdapterOptions& options) {
  const int64_t rank = shape[0], columns = columns_of(layer.base_weight());
  // Kaiming-uniform with a = √5: U(±1/√fan_in), whose rows are 1/√3 long.
  switch (options.init) {
    case AdapterInit::kaiming: return fresh_uniform(shape, 1 / std::sqrt(static_cast<double>(columns)), layer, options);
    case AdapterInit::normal: return fresh_normal(shape, 1 / static_cast<double>(rank), layer, options);
    case AdapterInit::orthogonal: return (orthonormal(rank, columns, layer, options) / std::sqrt(3.0)).reshape(shape);
  }
  throw Error(ErrorKind::internal, "a start of an adapter that is unknown");
}

std::unique_ptr<Adapter> create(const Layer& layer, const AdapterOptions& options) {
  const Tensor& weight = layer.base_weight();
  if (weight.dim() < 2) return nullptr;
  Shape down = weight.sizes().vec();
  down[0] = options.rank;
  const Shape up = weight.dim() == 4 ? Shape{weight.size(0), options.rank, 1, 1} : Shape{weight.size(0), options.rank};
  const Factors factors{fresh_down(down, layer, options), {}, fresh_zeros(up, layer)};
  return std::make_unique<LoraAdapter>(factors, weight.sizes().vec(), fresh_scale(options));
}

}  // namespace
}  // namespace lora_kind

const AdapterKind kLoraKind{"lora", "two low-rank factors (LoRA, LoCon, with CP's middle factor too)", lora_kind::recognise, lora_kind::load, lora_kind::create};

}  // namespace lorikeet
