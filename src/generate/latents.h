// Between pixels and scaled latents: encoding, decoding (in tiles when large), rough previews, enlarging for hires fix.
#pragma once
#include "base/progress.h"
#include "base/torch.h"
#include "generate/request.h"
#include "model/spec.h"

namespace lorikeet {

// image: [3, H, W] in 0..1 -> [1, C, H/8, W/8] float32: the mean of the autoencoder's distribution, scaled. (A1111 draws from the
// distribution instead; its spread is a few thousandths, and the mean makes a run repeatable.)
Tensor encode_image(const Vae& vae, const LatentFormat& format, const Tensor& image);

// latent: [1, C, h, w] -> image [3, 8h, 8w] in 0..1. Tiled: overlapping tiles of 64 latents, blended linearly; memory then does not
// grow with the picture, and seams are invisible but for slight differences of tone. automatic: above 1024² pixels.
// Non-finite values (a half-precision overflow) are Error{internal} with what to do.
Tensor decode_latent(const Vae& vae, const LatentFormat& format, const Tensor& latent, VaeTiling tiling, Progress& progress);

// A rough picture at latent size by a linear map, for previews. latent: [1, C, h, w] -> [3, h, w] in 0..1.
Tensor preview_image(const LatentFormat& format, const Tensor& latent);

// Enlarges a latent by one of the latent modes of hires fix. -> [1, C, height_px / 8, width_px / 8]
Tensor upscale_latent(const Tensor& latent, int width_px, int height_px, HrUpscaler mode);

}  // namespace lorikeet
