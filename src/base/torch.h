// The one place that includes libtorch, and the one that knows what differs between libtorch 1.13 and 2.x.
// Everything else includes this header (it is the precompiled header of every target).
#pragma once
// Not torch/torch.h or torch/types.h: of libtorch's 2,000 operators the tensor's methods, the makers (torch::zeros, …), and the functions that
// are used here. All of them would double the time that each file takes to compile. An operator that is missing: add its line.
#define AT_PER_OPERATOR_HEADERS
#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_addcdiv.h>
#include <ATen/ops/_foreach_addcmul.h>
#include <ATen/ops/_foreach_div.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_sqrt.h>
#include <ATen/ops/_upsample_bicubic2d_aa.h>
#include <ATen/ops/_upsample_bilinear2d_aa.h>
#include <ATen/ops/_upsample_nearest_exact2d.h>
#include <ATen/ops/adaptive_avg_pool2d.h>
#include <ATen/ops/alias.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/aminmax.h>
#include <ATen/ops/avg_pool2d.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/conv_transpose2d.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/diag_embed.h>
#include <ATen/ops/diagonal.h>
#include <ATen/ops/dot.h>
#include <ATen/ops/einsum.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/floor_divide.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/kron.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/lerp.h>
#include <ATen/ops/linalg_cholesky_ex.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/linalg_inv.h>
#include <ATen/ops/linalg_qr.h>
#include <ATen/ops/linalg_solve.h>
#include <ATen/ops/linalg_svd.h>
#include <ATen/ops/linalg_svdvals.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/mse_loss.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/norm.h>
#include <ATen/ops/promote_types.h>
#include <ATen/ops/reflection_pad2d.h>
#include <ATen/ops/remainder.h>
#include <ATen/ops/replication_pad2d.h>
#include <ATen/ops/roll.h>
#include <ATen/ops/searchsorted.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/sign.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/upsample_bicubic2d.h>
#include <ATen/ops/upsample_bilinear2d.h>
#include <ATen/ops/upsample_nearest2d.h>
#include <ATen/ops/where.h>
#include <torch/csrc/autograd/generated/variable_factories.h>
#include <torch/version.h>
#if TORCH_VERSION_MAJOR >= 2
#include <ATen/ops/scaled_dot_product_attention.h>
#endif

#include <string>
#include <vector>

// As torch/types.h does: torch::matmul is at::matmul.
namespace torch {
using namespace at;  // NOLINT
}

namespace lorikeet {

using torch::Device;
using torch::Tensor;
using Dtype = torch::ScalarType;
using Shape = std::vector<int64_t>;

// "[320, 4, 3, 3]"
std::string to_string(torch::IntArrayRef shape);
// "float32", "bfloat16", … the names that torch itself uses.
std::string to_string(Dtype dtype);

// softmax(q kᵀ · scale) v through libtorch's own fused kernel. q: [B, h, T, d], k, v: [B, h, S, d] -> [B, h, T, d].
// libtorch 1.13 has none; there this is the plain three-step formula.
Tensor torch_attention(const Tensor& q, const Tensor& k, const Tensor& v, double scale, bool causal);

// Looks once whether libtorch's convolutions on the CPU are right, and if they are not has it do without oneDNN, which is slower. Debian 13's
// libtorch 2.6 needs it: oneDNN 3.7 under it loses weights where channels do not fill a block (33 to 3: off by a fifth, gradients by more).
void avoid_wrong_convolutions();

// bfloat16 convolutions and products are worth while on this CPU (AVX512-BF16 or AMX).
bool cpu_has_fast_bfloat16();

}  // namespace lorikeet
