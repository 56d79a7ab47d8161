#include "nn/functional.h"

#include <cmath>

#include "nn/kernels/kernels.h"

namespace lorikeet {

namespace {
bool fast(const Tensor& x) {
  return x.device().is_cpu() && !(torch::GradMode::is_enabled() && x.requires_grad()) &&
         (x.scalar_type() == torch::kFloat32 || x.scalar_type() == torch::kBFloat16);
}
}  // namespace

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads, bool causal) {
  const int64_t width = q.size(-1), head = width / heads;
  const double scale = 1.0 / std::sqrt(static_cast<double>(head));
  if (fast(q)) return kernels::attention(q, k, v, heads, scale, causal);
  const auto by_head = [&](const Tensor& x) { return x.view({x.size(0), x.size(1), heads, head}).transpose(1, 2); };
  const Tensor out = torch_attention(by_head(q), by_head(k), by_head(v), scale, causal);  // [B, h, T, d]
  return out.transpose(1, 2).reshape({q.size(0), q.size(1), width});
}

Tensor geglu(const Tensor& x) {
  if (fast(x)) return kernels::geglu(x);
  const auto halves = x.chunk(2, -1);
  return halves[0] * torch::gelu(halves[1]);
}

Tensor quick_gelu(const Tensor& x) { return fast(x) ? kernels::quick_gelu(x) : x * torch::sigmoid(1.702 * x); }

Tensor gelu(const Tensor& x) { return fast(x) ? kernels::gelu(x) : torch::gelu(x); }

Tensor upsample_nearest(const Tensor& x, int64_t height, int64_t width) {
  if (fast(x) && height == 2 * x.size(2) && width == 2 * x.size(3)) return kernels::upsample_nearest2x(x);
  return torch::upsample_nearest2d(x, torch::IntArrayRef{height, width});
}

Tensor concat_channels(const Tensor& a, const Tensor& b) {
  return fast(a) && fast(b) ? kernels::concat_channels(a, b) : torch::cat({a, b}, 1);
}

Tensor to_tokens(const Tensor& x) { return x.permute({0, 2, 3, 1}).reshape({x.size(0), x.size(2) * x.size(3), x.size(1)}); }

Tensor from_tokens(const Tensor& tokens, int64_t height, int64_t width) {
  return tokens.view({tokens.size(0), height, width, tokens.size(2)}).permute({0, 3, 1, 2});
}

Tensor timestep_embedding(const Tensor& t, int64_t width) {
  const int64_t half = width / 2;
  const Tensor frequencies =
      torch::exp(torch::arange(half, t.options().dtype(torch::kFloat32)) * (-std::log(10000.0) / static_cast<double>(half)));
  const Tensor angles = t.to(torch::kFloat32).unsqueeze(1) * frequencies.unsqueeze(0);
  return torch::cat({angles.cos(), angles.sin()}, 1);
}

}  // namespace lorikeet
