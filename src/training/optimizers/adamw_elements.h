// AdamW's inner loop on raw memory, in one pass: libtorch's operations one after the other take three times as long on a CPU.
#pragma once
#include <cstdint>

namespace lorikeet {

// The same n elements of a weight, its gradient and its moments; they do not overlap.
struct AdamWElements {
  float* weight;
  const float* gradient;
  float *moment1, *moment2;
  int64_t n;
};

// weight -= decay · weight + rate · moment1 / (sqrt(moment2) + eps), after the moments have taken the gradient in.
// (weight · (1 - decay) would round 1 - 1e-6 to one and a half digits.)
struct AdamWStep {
  float beta1, beta2, share1, share2;  // share = 1 - beta, formed in float64
  float decay, rate, eps;
};

void adamw_step(const AdamWElements& elements, const AdamWStep& step);

}  // namespace lorikeet
