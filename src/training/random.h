// Chance in a run comes from counters, not from a running stream: what is drawn depends on the seed, on what it is for and on its number only.
// So a resumed run, a run cut over several processes and a recomputed forward pass draw the same.
#pragma once
#include <cstdint>
#include <string_view>

#include "base/torch.h"

namespace lorikeet {

// The number of the way in which draws are made: changes whenever a run would draw something else than before. 2: tensors use all 64 bits.
constexpr int kDraws = 2;

// One of many independent numbers: SplitMix64's finaliser (Steele et al. 2014, "Fast splittable pseudorandom number generators") over
// seed, the text `purpose` and the counters.
uint64_t random_bits(uint64_t seed, std::string_view purpose, uint64_t counter, uint64_t second = 0);

double uniform_of(uint64_t bits);                    // 0 <= u < 1, 53 bits
int64_t below(uint64_t bits, int64_t bound);         // 0 <= n < bound

// Standard normal / uniform 0..1 tensors, float32 on the CPU, from torch's generator, whose mt19937 starts from all 64 `bits` (one purpose,
// one number: never two tensors from the same bits).
Tensor normal_tensor(const Shape& shape, uint64_t bits);
Tensor uniform_tensor(const Shape& shape, uint64_t bits);

}  // namespace lorikeet
