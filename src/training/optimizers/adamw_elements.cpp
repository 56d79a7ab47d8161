// Compiled with -O3, so that the loop becomes vector instructions; without libtorch's headers, whose inline functions would come along.
#include "training/optimizers/adamw_elements.h"

#include <cmath>

namespace lorikeet {

void adamw_step(const AdamWElements& elements, const AdamWStep& step) {
  float* __restrict weight = elements.weight;
  const float* __restrict gradient = elements.gradient;
  float* __restrict moment1 = elements.moment1;
  float* __restrict moment2 = elements.moment2;
  const float share1 = step.share1, share2 = step.share2, beta1 = step.beta1, beta2 = step.beta2;
  const float decay = step.decay, rate = step.rate, eps = step.eps;
  for (int64_t i = 0; i < elements.n; ++i) {
    const float g = gradient[i];
    const float m = moment1[i] * beta1 + g * share1;
    const float v = moment2[i] * beta2 + g * g * share2;
    moment1[i] = m;
    moment2[i] = v;
    weight[i] -= weight[i] * decay + rate * m / (std::sqrt(v) + eps);
  }
}

}  // namespace lorikeet
