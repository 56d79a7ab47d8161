#include "sampling/guidance.h"

namespace lorikeet {

Tensor guide(const Tensor& uncond, const Tensor& cond, std::span<const GuidedPart> parts, double scale) {
  Tensor guided = uncond.clone();
  for (size_t i = 0; i < parts.size(); ++i) {
    auto p = parts[i].picture;
    guided[p].add_(cond[static_cast<int64_t>(i)] - uncond[p], parts[i].weight * scale);
  }
  return guided;
}

Tensor rescale_guidance(const Tensor& guided, const Tensor& cond, double amount) {
  if (amount == 0) return guided;
  Tensor ratio = cond.std({1, 2, 3}, /*unbiased=*/true, /*keepdim=*/true) / guided.std({1, 2, 3}, true, true);
  return guided * (ratio * amount + (1 - amount));
}

}  // namespace lorikeet
