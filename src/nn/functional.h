// The operations of the networks that have no weight. In float32 and bfloat16 on the CPU they are the fused kernels, with gradients where
// one is being recorded (nn/gradients.h), else libtorch.
#pragma once
#include "base/torch.h"

namespace lorikeet {

// Multi-head attention (Vaswani et al. 2017, arXiv 1706.03762, eq. 1), heads side by side in the last dimension.
// q: [B, T, h·d], k, v: [B, S, h·d] -> [B, T, h·d]; scale 1/sqrt(d).
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads, bool causal = false);

// x: [..., 2D] -> x[..., :D] · gelu(x[..., D:]) (Shazeer 2020, arXiv 2002.05202).
Tensor geglu(const Tensor& x);

// x · sigmoid(1.702 x) (Hendrycks & Gimpel 2016, arXiv 1606.08415).
Tensor quick_gelu(const Tensor& x);

// x · Φ(x), exact (same source).
Tensor gelu(const Tensor& x);

// x · sigmoid(x) (same source).
Tensor silu(const Tensor& x);

// By repetition of pixels. x: [B, C, H, W] -> [B, C, height, width]; usually 2H, 2W, one less where the way down met an odd size.
Tensor upsample_nearest(const Tensor& x, int64_t height, int64_t width);

// Along channels. a: [B, C, H, W], b: [B, D, H, W] -> [B, C + D, H, W].
Tensor concat_channels(const Tensor& a, const Tensor& b);

// A picture's pixels as tokens and back; no copy where x is channels-last.
Tensor to_tokens(const Tensor& x);                                    // [B, C, H, W] -> [B, H·W, C]
Tensor from_tokens(const Tensor& tokens, int64_t height, int64_t width);  // [B, H·W, C] -> [B, C, H, W] channels-last

// Sinusoidal embedding of timesteps (Vaswani et al. 2017, sec. 3.5; cosine half first, as in DDPM's U-Net of Stable Diffusion).
// t: [N] float32 -> [N, width] float32.
Tensor timestep_embedding(const Tensor& t, int64_t width);

}  // namespace lorikeet
