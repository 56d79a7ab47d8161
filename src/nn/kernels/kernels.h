// The fused CPU kernels, chosen by CPU feature at run time, each with a portable fallback. They know nothing of autograd: a kernel's
// gradient is a function of its own (…_backward), and nn/gradients.h ties the two together. Neither depends on the number of threads.
#pragma once
#include <memory>

#include "base/torch.h"

namespace lorikeet::kernels {

// For a program's main, once, before anything else: as many libtorch threads as there are cores (libtorch 1.13 may take half of them
// for hyperthreads) unless OMP_NUM_THREADS says otherwise, and freed memory is kept for the next tensor: fetching the pages of a large
// result anew from the operating system takes longer than most of the kernels below.
void prepare_process();

// softmax(q kᵀ · scale) v without ever holding a T×S matrix (Dao et al. 2022, arXiv 2205.14135; Rabe & Staats 2021, arXiv 2112.05682).
// q: [B, T, h·d], k, v: [B, S, h·d] (heads side by side in the last dimension, last dimension contiguous; rows may be strided) -> [B, T,
// h·d]. float32 or bfloat16; sums in float32. causal: position t sees only s <= t (T == S).
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads, double scale, bool causal);

// The same with what its gradient needs, and the gradient: the weights are computed again, block by block, from lse, the logarithm of
// each query's Σ_s exp(scale · score) (same source, algorithm 4). Float32 and bfloat16 on the CPU only.
struct AttentionInput {
  Tensor q, k, v;  // of one dtype
  int64_t heads;
  double scale;
  bool causal;
};
struct AttentionResult {
  Tensor out, lse;  // [B, T, h·d], [B, h, T] float32
};
struct AttentionGradients {
  Tensor dq, dk, dv;  // undefined where not wanted
};
AttentionResult attention_with_lse(const AttentionInput& input);
// dout: [B, T, h·d].
AttentionGradients attention_backward(const AttentionInput& input, const AttentionResult& result, const Tensor& dout, bool wants_q,
                                      bool wants_kv);

// GroupNorm (Wu & He 2018, arXiv 1803.08494), optionally followed by SiLU; statistics in float32, safe for a large mean.
// x: [B, C, H, W] channels-last in memory -> the same layout. weight, bias: [C] float32.
// shift: [B, C], added to every pixel of x beforehand at no cost (a time embedding), or undefined.
Tensor group_norm(const Tensor& x, int64_t groups, const Tensor& weight, const Tensor& bias, double eps, bool silu,
                  const Tensor& shift = {});

// The same with what its gradient needs, and the gradient.
struct GroupNorm {
  int64_t groups;
  Tensor weight, bias;
  double eps;
  bool silu;
  Tensor shift;
};
struct GroupNormResult {
  Tensor y, statistics;  // statistics: [B, groups, 2] float64, mean and 1/√(variance + eps) of x + shift
};
struct GroupNormWants {
  bool x, weight, bias, shift;
};
struct GroupNormGradients {
  Tensor dx, dweight, dbias, dshift;  // like x; [C], [C], [B, C] float32; undefined where not wanted
};
GroupNormResult group_norm_with_statistics(const Tensor& x, const GroupNorm& norm);
GroupNormGradients group_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& statistics, const GroupNorm& norm,
                                       const GroupNormWants& wants);

// LayerNorm over the last dimension. x: [..., D] contiguous. weight, bias: [D] float32.
Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps);
struct LayerNormGradients {
  Tensor dx, dweight, dbias;  // like x; [D] float32; undefined where not wanted
};
LayerNormGradients layer_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& weight, double eps, bool wants_x,
                                       bool wants_weights);

// GEGLU (Shazeer 2020, arXiv 2002.05202): x: [..., 2D] -> x[..., :D] * gelu(x[..., D:]), exact GELU.
Tensor geglu(const Tensor& x);
Tensor geglu_backward(const Tensor& dy, const Tensor& x);

// Element by element, any shape and dense layout: x σ(x); x Φ(x) (Hendrycks & Gimpel 2016, arXiv 1606.08415), absolute error of Φ
// below 2e-7; x σ(1.702 x), its approximation, which CLIP uses.
Tensor silu(const Tensor& x);
Tensor gelu(const Tensor& x);
Tensor quick_gelu(const Tensor& x);
Tensor silu_backward(const Tensor& dy, const Tensor& x);
Tensor gelu_backward(const Tensor& dy, const Tensor& x);
Tensor quick_gelu_backward(const Tensor& dy, const Tensor& x);

// Each pixel four times. x: [B, C, H, W] -> [B, C, 2H, 2W], channels-last; any dtype.
Tensor upsample_nearest2x(const Tensor& x);
// The sum of each pixel's four. dy: [B, C, 2H, 2W] -> [B, C, H, W], channels-last; float32 or bfloat16.
Tensor upsample_nearest2x_backward(const Tensor& dy);

// a: [B, C, H, W], b: [B, C', H, W] -> [B, C + C', H, W], channels-last; any dtype.
Tensor concat_channels(const Tensor& a, const Tensor& b);
// Channels [first, first + channels) of x: [B, C, H, W], channels-last; any dtype.
Tensor take_channels(const Tensor& x, int64_t first, int64_t channels);

// Copies with a change of dtype, as Tensor::copy_ and Tensor::to do, but with the conversions of float16 and bfloat16 vectorised.
// `converted` of an undefined tensor is undefined; the result is detached.
void convert(const Tensor& from, const Tensor& to);
Tensor converted(const Tensor& from, Dtype dtype);

// A weight in the layout that oneDNN wants, made once; products with it need no further copy. The result does not depend on what else
// was computed, and may be called from several threads.
class PackedLinear {
 public:
  // weight: [out, in], bias: [out] or undefined; both are converted to `dtype` (float32 or bfloat16).
  static std::shared_ptr<const PackedLinear> make(const Tensor& weight, const Tensor& bias, Dtype dtype);
  virtual ~PackedLinear() = default;
  // x: [..., in] -> [..., out]; residual (undefined: none): added to the result, same shape.
  virtual Tensor operator()(const Tensor& x, const Tensor& residual = {}) const = 0;
  // The gradient with respect to x. dy: [..., out] -> [..., in]. It uses the same packed weight.
  virtual Tensor input_gradient(const Tensor& dy) const = 0;
};

class PackedConv2d {
 public:
  // weight: [out, in, kh, kw].
  static std::shared_ptr<const PackedConv2d> make(const Tensor& weight, const Tensor& bias, int stride, int padding, Dtype dtype);
  virtual ~PackedConv2d() = default;
  // x: [B, in, H, W] channels-last -> [B, out, H', W'] channels-last; residual as above.
  virtual Tensor operator()(const Tensor& x, const Tensor& residual = {}) const = 0;
  // The gradient with respect to x. dy: [B, out, H', W'], input: the shape of x -> [B, in, H, W] channels-last.
  virtual Tensor input_gradient(const Tensor& dy, const Shape& input) const = 0;
};

}  // namespace lorikeet::kernels
