// The one place that includes libtorch, and the one that knows what differs between libtorch 1.13 and 2.x.
// Everything else includes this header (it is the precompiled header of every target).
#pragma once
// Not torch/torch.h: its layers, optimisers and data loaders are not ours, and double the time that each file takes to compile.
#include <torch/autograd.h>
#include <torch/types.h>
#include <torch/utils.h>
#include <torch/version.h>

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

// bfloat16 convolutions and products are worth while on this CPU (AVX512-BF16 or AMX).
bool cpu_has_fast_bfloat16();

}  // namespace lorikeet
