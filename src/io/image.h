// Pictures as tensors, and Pillow's resampling of them.
// An image is [C, H, W] float32 in 0..1, C = 1 for masks and 3 for colour.
#pragma once
#include "base/torch.h"
#include "io/picture.h"

namespace lorikeet {

Tensor image_of(const Picture& picture);  // RGB; transparency over white, as A1111 does
Tensor mask_of(const Picture& picture);   // luminance; the alpha channel where it is not all opaque
Picture picture_of(const Tensor& image);  // rounded and clamped to 8 bits

Tensor to_8_bits(const Tensor& image);  // the nearest values that 8 bits can hold

enum class Resampling { nearest, bicubic, lanczos };
// Pillow's resampling: the kernel is widened by the reduction, rows and columns apart, rounded to 8 bits at the end.
Tensor resize(const Tensor& image, int width_px, int height_px, Resampling resampling = Resampling::lanczos);

}  // namespace lorikeet
