// Linear and Conv2d through oneDNN, the weight kept in the layout that oneDNN itself asks for: libtorch 1.13 reorders the weight anew
// at each call, which for small pictures costs as much as the product. Null where the build has no oneDNN or the CPU no kernel for it.
#pragma once
#include "nn/kernels/kernels.h"

namespace lorikeet::kernels {

// weight: float32 or bfloat16 on the CPU; bias: float32 or undefined.
std::shared_ptr<const PackedLinear> make_dnnl_linear(const Tensor& weight, const Tensor& bias);
std::shared_ptr<const PackedConv2d> make_dnnl_conv2d(const Tensor& weight, const Tensor& bias, int stride, int padding);

}  // namespace lorikeet::kernels
