// The fused CPU kernels with gradients: each a node of libtorch's autograd whose two directions are functions of nn/kernels.
// Float32 and bfloat16 on the CPU only, but for the two norms, which send everything else to libtorch's formula. Layers call the norms;
// the rest is behind nn/functional.h, which chooses between kernel, kernel with gradients and formula.
//
// Only the gradients that the graph wants are computed. None of them can be differentiated again: backward with create_graph throws
// Error.
#pragma once

#include "base/torch.h"

namespace lorikeet {

// GroupNorm of (x + shift), then SiLU if asked; x [B, C, H, W]; weight, bias [C], float32 or x's dtype, each frozen or with a gradient;
// shift [B, C] or undefined. Keeps x, and mean and reciprocal deviation of each group.
Tensor group_norm_with_gradients(const Tensor& x, int64_t groups, const Tensor& weight, const Tensor& bias, double eps, bool silu,
                                 const Tensor& shift);

// LayerNorm over the last dimension; x [..., D]; weight, bias [D] as above. Keeps x.
Tensor layer_norm_with_gradients(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps);

// As in functional.h. Keeps q, k, v, the result and one number per query and head.
Tensor attention_with_gradients(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads, double scale, bool causal);

// These keep x.
Tensor geglu_with_gradients(const Tensor& x);
Tensor silu_with_gradients(const Tensor& x);
Tensor gelu_with_gradients(const Tensor& x);
Tensor quick_gelu_with_gradients(const Tensor& x);

// These keep nothing.
Tensor upsample_nearest2x_with_gradients(const Tensor& x);
Tensor concat_channels_with_gradients(const Tensor& a, const Tensor& b);

// Whether the kernels take x: float32 or bfloat16 on the CPU.
bool kernels_take(const Tensor& x);
// Whether a gradient of any of them is being recorded; undefined ones have none.
bool wants_gradients(at::TensorList tensors);

}  // namespace lorikeet
