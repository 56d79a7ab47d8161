// What img2img and inpainting do to pixels: resize modes, masks, filling, putting the painted part back.
// An image is [C, H, W] float32 in 0..1 as in io/image.h; in masks 1 = paint here.
#pragma once
#include "base/torch.h"
#include "generate/request.h"
#include "io/image.h"

namespace lorikeet {

// For the autoencoder: [C, H, W] in 0..1 <-> [1, 3, H, W] in -1..1.
Tensor to_vae_range(const Tensor& image);
Tensor from_vae_range(const Tensor& pixels);

// A1111's resize modes: stretch, crop and resize, resize and fill (the border is stretched outward).
Tensor resize(const Tensor& image, int width_px, int height_px, ResizeMode mode);

// Gaussian blur with A1111's kernel size 2·int(2.5 σ + 0.5) + 1 and reflected edges.
Tensor blur(const Tensor& image, double sigma_px);

// The colours around the mask flow into it (A1111's masking.fill: a stack of ever narrower blurs of the unmasked part).
Tensor fill_masked(const Tensor& image, const Tensor& mask);

struct Box {
  int left = 0, top = 0, right = 0, bottom = 0;
  int width() const { return right - left; }
  int height() const { return bottom - top; }
};
// The masked part with `padding_px` around it, widened to the aspect ratio of width : height within the image (A1111's get_crop_region and
// expand_crop_region). An empty mask gives the whole image.
Box masked_box(const Tensor& mask, int padding_px, int width_px, int height_px);
Tensor crop(const Tensor& image, const Box& box);

// `painted` where the mask is 1, `original` where it is 0. `painted` covers `box` of the original (it is resized to it).
Tensor paste(const Tensor& original, const Tensor& painted, const Tensor& mask, const Box& box);

}  // namespace lorikeet
