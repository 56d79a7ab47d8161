// The noise of a batch: picture i draws from its own stream, so that it is the same picture alone and in any batch.
// A1111's ImageRNG (its modules/rng.py): variation seeds, seed resizing and the ENSD setting included.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "sampling/brownian.h"
#include "sampling/random.h"
#include "sampling/sampler.h"

namespace lorikeet {

struct NoiseSettings {
  const RandomSource* source = &random_sources().front();
  std::vector<uint64_t> seeds = {};     // one a picture
  std::vector<uint64_t> subseeds = {};  // the variation seeds, one a picture; may be empty when subseed_strength is 0
  double subseed_strength = 0;          // 0 = the seed's noise, 1 = the subseed's
  int seed_resize_width_px = 0;         // > 0, both: compose as if the picture had this size
  int seed_resize_height_px = 0;
  int64_t eta_noise_seed_delta = 0;  // ENSD: added to the seeds for all noise after the first; NovelAI's is 31337
};

// seed, seed + 1, …: A1111's seeds of a batch.
std::vector<uint64_t> batch_seeds(uint64_t seed, int64_t count);

class PictureNoise : public Noise {
 public:
  // shape: of one picture's latent, [C, H/8, W/8]. Error{bad_input} when a subseed is missing.
  // Results are float32 on `device`; the numbers are always drawn on the CPU.
  PictureNoise(NoiseSettings settings, Shape shape, Device device = torch::kCPU);

  // The first call gives the initial noise (with variation and resizing), later ones go on in each stream. [B, C, H/8, W/8]
  Tensor next() override;

  // The Brownian tree of each picture over the sigmas of the run: -(W(sigma) - W(sigma_next)) / sqrt(sigma - sigma_next), which has
  // unit variance. Without prepare_between(): next().
  Tensor between(double sigma, double sigma_next) override;
  void prepare_between(std::span<const double> sigmas) override;

 private:
  Tensor initial(size_t picture);

  NoiseSettings settings_;
  Shape shape_;
  Device device_;
  bool is_first_ = true;
  std::vector<std::unique_ptr<RandomStream>> streams_;
  std::vector<BrownianTree> trees_;
};

// The point at `share` on the arc from `low` to `high`, by A1111's formula (the angle is taken along dimension 1).
Tensor slerp(double share, const Tensor& low, const Tensor& high);

}  // namespace lorikeet
