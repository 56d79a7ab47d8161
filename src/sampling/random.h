// Random streams that give the same numbers as those of others: torch's generator on the CPU, CUDA's as A1111's "NV" source emulates
// it, and numpy's SeedSequence, which the Brownian tree draws its seeds from.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/torch.h"

namespace lorikeet {

// A stream of standard normal numbers.
class RandomStream {
 public:
  virtual ~RandomStream() = default;
  virtual Tensor normal(const Shape& shape) = 0;  // float32 on the CPU
};

struct RandomSource {
  std::string_view name;     // for flags and JSON: "cpu", "gpu"
  std::string_view label;    // A1111's "randn_source" option and infotext "RNG": "CPU", "GPU"
  std::string_view summary;  // one sentence for people
  std::unique_ptr<RandomStream> (*stream)(uint64_t seed);
};

// cpu: torch's mt19937, what A1111 calls CPU and ComfyUI uses. gpu, nv: Philox 4x32-10, what torch gives on a CUDA device (and A1111's
// NV source on any); both are the same numbers, computed here on the CPU.
// A real GPU gives other numbers beyond as many values as it has threads (about 100,000 to 300,000: pictures above 1024 x 1024).
std::span<const RandomSource> random_sources();

// By name or label, any case. Error{bad_input} otherwise.
const RandomSource& find_random_source(std::string_view name);

// Philox 4x32 with 10 rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
std::array<uint32_t, 4> philox_4x32_10(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// numpy.random.SeedSequence(entropy, spawn_key=…, pool_size=…).generate_state(count): `count` 32-bit words (O'Neill 2015,
// "Developing a seed_seq alternative"). Only non-negative values, as in numpy.
std::vector<uint32_t> seed_sequence(std::span<const uint64_t> entropy, std::span<const uint64_t> spawn_key, int pool_size, int count);

}  // namespace lorikeet
