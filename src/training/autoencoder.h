// Training an autoencoder: the objective, and bringing its latents to the scale that a U-Net expects.
#pragma once
#include <map>
#include <string>

#include "base/torch.h"
#include "model/vae.h"

namespace lorikeet {

// How well pixels come back through the latent: absolute and squared error, both also of the picture made 4 and 16 times smaller (colours of whole
// areas are learnt late without that), the error of the edges, and a slight pull of the latents' distribution to the standard normal
// (Rombach et al. 2022, arXiv 2112.10752, sec. 3.1; without its adversarial and perceptual parts, which need networks of their own).
// pixels: [B, 3, H, W] in -1..1; noise: [B, latent channels, H/8, W/8] standard normal. A scalar with gradients.
Tensor autoencoder_loss(const Vae& vae, const Tensor& pixels, const Tensor& noise);

// Mean and standard deviation of each latent channel over many pictures, before scaling. [C] float32
struct LatentMoments {
  Tensor mean, deviation;
};

// Changes quant_conv and post_quant_conv of an autoencoder's weights (diffusers' names, "vae.quant_conv.weight"; float32) such that the latents times
// `scale` have mean 0 and deviation 1 in each channel while pictures stay the same: then the scale of the model's family fits a new autoencoder too.
void standardise_latents(std::map<std::string, Tensor>& weights, const LatentMoments& moments, double scale);

}  // namespace lorikeet
