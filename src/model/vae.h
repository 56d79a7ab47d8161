// The autoencoder between pixels and latents (Rombach et al. 2022, arXiv 2112.10752, sec. 3.1; modules named as in diffusers' AutoencoderKL).
#pragma once
#include <memory>
#include <vector>

#include "base/torch.h"
#include "nn/weights.h"

namespace lorikeet {

struct VaeConfig {
  std::vector<int64_t> channels{128, 256, 512, 512};  // a level each, halving the size from one to the next
  int64_t layers = 2, latent_channels = 4, groups = 32;
  int64_t factor() const { return int64_t{1} << (channels.size() - 1); }  // pixels per latent, 8
};

// The distribution of the latents of a picture, before scaling.
struct VaeEncoding {
  Tensor mean, log_variance;  // [B, latent_channels, H/8, W/8] float32; log_variance clamped to [-30, 20]
};

class Vae {
 public:
  // `path` below the weights' component: "vae".
  Vae(const VaeConfig& config, const Weights& weights);
  ~Vae();
  const VaeConfig& config() const { return config_; }
  const Compute& compute() const { return compute_; }

  // pixels: [B, 3, H, W] in -1..1; H, W multiples of 8.
  VaeEncoding encode(const Tensor& pixels) const;
  // latent: [B, latent_channels, h, w], already divided by the scaling factor -> [B, 3, 8h, 8w] float32, about -1..1, not clamped.
  Tensor decode(const Tensor& latent) const;

 private:
  struct Parts;
  VaeConfig config_;
  Compute compute_;
  std::unique_ptr<Parts> parts_;
};

}  // namespace lorikeet
