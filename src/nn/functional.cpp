#include "nn/functional.h"

#include <cmath>

#include "nn/gradients.h"
#include "nn/kernels/kernels.h"

namespace lorikeet {

namespace {

// Which of a function's three ways x takes; `formula` is libtorch's.
template <class Kernel, class WithGradients, class Formula>
Tensor one_of(const Tensor& x, Kernel kernel, WithGradients with_gradients, Formula formula) {
  if (!kernels_take(x)) return formula(x);
  return wants_gradients({x}) ? with_gradients(x) : kernel(x);
}

}  // namespace

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads, bool causal) {
  const int64_t width = q.size(-1), head = width / heads;
  const double scale = 1.0 / std::sqrt(static_cast<double>(head));
  if (kernels_take(q)) {
    return wants_gradients({q, k, v}) ? attention_with_gradients(q, k, v, heads, scale, causal)
                                      : kernels::attention(q, k, v, heads, scale, causal);
  }
  const auto by_head = [&](const Tensor& x) { return x.view({x.size(0), x.size(1), heads, head}).transpose(1, 2); };
  const Tensor out = torch_attention(by_head(q), by_head(k), by_head(v), scale, causal);  // [B, h, T, d]
  return out.transpose(1, 2).reshape({q.size(0), q.size(1), width});
}

Tensor geglu(const Tensor& x) {
  return one_of(x, kernels::geglu, geglu_with_gradients, [](const Tensor& x) {
    const auto halves = x.chunk(2, -1);
    return halves[0] * torch::gelu(halves[1]);
  });
}

Tensor quick_gelu(const Tensor& x) {
  return one_of(x, kernels::quick_gelu, quick_gelu_with_gradients, [](const Tensor& x) { return x * torch::sigmoid(1.702 * x); });
}

Tensor gelu(const Tensor& x) {
  return one_of(x, kernels::gelu, gelu_with_gradients, [](const Tensor& x) { return torch::gelu(x); });
}

Tensor silu(const Tensor& x) {
  return one_of(x, kernels::silu, silu_with_gradients, [](const Tensor& x) { return torch::silu(x); });
}

Tensor upsample_nearest(const Tensor& x, int64_t height, int64_t width) {
  const auto formula = [&](const Tensor& x) { return torch::upsample_nearest2d(x, torch::IntArrayRef{height, width}); };
  if (height != 2 * x.size(2) || width != 2 * x.size(3)) return formula(x);
  return one_of(x, kernels::upsample_nearest2x, upsample_nearest2x_with_gradients, formula);
}

Tensor concat_channels(const Tensor& a, const Tensor& b) {
  if (!kernels_take(a) || !kernels_take(b)) return torch::cat({a, b}, 1);
  return wants_gradients({a, b}) ? concat_channels_with_gradients(a, b) : kernels::concat_channels(a, b);
}

Tensor to_tokens(const Tensor& x) { return x.permute({0, 2, 3, 1}).reshape({x.size(0), x.size(2) * x.size(3), x.size(1)}); }

Tensor from_tokens(const Tensor& tokens, int64_t height, int64_t width) {
  return tokens.view({tokens.size(0), height, width, tokens.size(2)}).permute({0, 3, 1, 2});
}

Tensor timestep_embedding(const Tensor& t, int64_t width) {
  const int64_t half = width / 2;
  const Tensor frequencies =
      torch::exp(torch::arange(half, t.options().dtype(torch::kFloat)) * (-std::log(10000.0) / static_cast<double>(half)));
  const Tensor angles = t.to(torch::kFloat).unsqueeze(1) * frequencies.unsqueeze(0);
  return torch::cat({angles.cos(), angles.sin()}, 1);
}

}  // namespace lorikeet
