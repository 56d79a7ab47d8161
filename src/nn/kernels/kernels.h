// The fused CPU kernels, chosen by CPU feature at run time, each with a portable fallback. Inference only (no autograd);
// whoever needs gradients takes the libtorch formula in nn/layer.cpp or nn/functional.h.
#pragma once
#include <memory>

#include "base/torch.h"

namespace lorikeet::kernels {

// softmax(q kᵀ · scale) v without ever holding a T×S matrix (Dao et al. 2022, arXiv 2205.14135; Rabe & Staats 2021, arXiv 2112.05682).
// q: [B, T, h·d], k, v: [B, S, h·d] (heads side by side in the last dimension, last dimension contiguous; rows may be strided) -> [B, T, h·d].
// float32 or bfloat16; sums in float32. causal: position t sees only s <= t (T == S).
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads, double scale, bool causal);

// GroupNorm (Wu & He 2018, arXiv 1803.08494), optionally followed by SiLU, in one pass over memory and statistics in float32.
// x: [B, C, H, W] channels-last in memory -> the same layout. weight, bias: [C] float32.
Tensor group_norm(const Tensor& x, int64_t groups, const Tensor& weight, const Tensor& bias, double eps, bool silu);

// LayerNorm over the last dimension. x: [..., D] contiguous. weight, bias: [D] float32.
Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps);

// GEGLU (Shazeer 2020, arXiv 2002.05202): x: [..., 2D] -> x[..., :D] * gelu(x[..., D:]), exact GELU.
Tensor geglu(const Tensor& x);

// A weight in the layout that oneDNN wants, made once; products with it need no further copy.
class PackedLinear {
 public:
  // weight: [out, in], bias: [out] or undefined; both are converted to `dtype` (float32 or bfloat16).
  static std::shared_ptr<const PackedLinear> make(const Tensor& weight, const Tensor& bias, Dtype dtype);
  virtual ~PackedLinear() = default;
  // x: [..., in] -> [..., out]; residual (undefined: none): added to the result, same shape.
  virtual Tensor operator()(const Tensor& x, const Tensor& residual = {}) const = 0;
};

class PackedConv2d {
 public:
  // weight: [out, in, kh, kw].
  static std::shared_ptr<const PackedConv2d> make(const Tensor& weight, const Tensor& bias, int stride, int padding, Dtype dtype);
  virtual ~PackedConv2d() = default;
  // x: [B, in, H, W] channels-last -> [B, out, H', W'] channels-last; residual as above.
  virtual Tensor operator()(const Tensor& x, const Tensor& residual = {}) const = 0;
};

}  // namespace lorikeet::kernels
