#include "base/torch.h"

#include <cmath>
#include <sstream>

namespace lorikeet {

std::string to_string(torch::IntArrayRef shape) {
  std::ostringstream text;
  text << '[';
  for (size_t i = 0; i < shape.size(); ++i) text << (i ? ", " : "") << shape[i];
  text << ']';
  return text.str();
}

std::string to_string(Dtype dtype) {
  switch (dtype) {
    case torch::kFloat: return "float32";
    case torch::kHalf: return "float16";
    case torch::kBFloat16: return "bfloat16";
    case torch::kDouble: return "float64";
    case torch::kLong: return "int64";
    case torch::kInt: return "int32";
    case torch::kShort: return "int16";
    case torch::kChar: return "int8";
    case torch::kByte: return "uint8";
    case torch::kBool: return "bool";
    default: return c10::toString(dtype);
  }
}

Tensor torch_attention(const Tensor& q, const Tensor& k, const Tensor& v, double scale, bool causal) {
#if TORCH_VERSION_MAJOR >= 2
  // Only from 2.1 on does the call take a scale; fold it into q so that every 2.x serves.
  const double folded = scale * std::sqrt(static_cast<double>(q.size(-1)));
  return at::scaled_dot_product_attention(q * folded, k, v, {}, 0.0, causal);
#else
  auto scores = torch::matmul(q * scale, k.transpose(-2, -1));
  if (causal) {
    auto mask = torch::ones({q.size(-2), k.size(-2)}, q.options().dtype(torch::kBool)).triu(1);
    scores = scores.masked_fill(mask, -std::numeric_limits<float>::infinity());
  }
  return torch::matmul(scores.softmax(-1), v);
#endif
}

void avoid_wrong_convolutions() {
#if TORCH_VERSION_MAJOR >= 2
  static const bool looked = [] {
    if (!at::globalContext().userEnabledMkldnn()) return true;
    const torch::NoGradGuard no_gradients;
    // Two pictures: for one it takes another kernel, which is right. Whole numbers below 2²⁴, so that each order of summation gives the same.
    const Tensor x = torch::arange(2 * 33 * 25, torch::kFloat).remainder(7).view({2, 33, 5, 5});
    const Tensor weight = torch::arange(3 * 33 * 9, torch::kFloat).remainder(5).view({3, 33, 3, 3});
    const Tensor found = at::conv2d(x, weight, {}, 1, 1);
    const Tensor wanted = at::conv2d(x.to(torch::kDouble), weight.to(torch::kDouble), {}, 1, 1);  // oneDNN has no doubles
    if (!found.to(torch::kDouble).equal(wanted)) at::globalContext().setUserEnabledMkldnn(false);
    return true;
  }();
  static_cast<void>(looked);
#endif
}

bool cpu_has_fast_bfloat16() {
#if defined(__x86_64__) && defined(__GNUC__)
  return __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

}  // namespace lorikeet
