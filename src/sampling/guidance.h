// Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598), with the weighted parts of an AND prompt
// (Liu et al. 2022, arXiv 2206.01714, as A1111 applies it).
#pragma once
#include <span>

#include "base/torch.h"

namespace lorikeet {

// One part of a prompt: row i of the conditional estimates belongs to picture `picture` and counts `weight` times.
struct GuidedPart {
  int64_t picture;
  double weight = 1;
};

// uncond[p] + scale * sum over its parts of weight * (cond[i] - uncond[p]).
// uncond: [B, C, H, W]; cond: [P, C, H, W], one row for each of `parts`. -> [B, C, H, W]
Tensor guide(const Tensor& uncond, const Tensor& cond, std::span<const GuidedPart> parts, double scale);

// Brings the spread of each guided picture back to that of its conditional estimate, against the over-exposure of high scales
// (Lin et al. 2023, arXiv 2305.08891, section 3.4). amount: 0 = off, 1 = wholly; the paper uses 0.7. guided, cond: [B, C, H, W], both
// network outputs or both x0.
Tensor rescale_guidance(const Tensor& guided, const Tensor& cond, double amount);

}  // namespace lorikeet
