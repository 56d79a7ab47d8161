#include "generate/pixels.h"

#include <cmath>

#include "base/error.h"

namespace lorikeet {

namespace {

Tensor blur_with(const Tensor& image, const std::vector<float>& kernel) {
  const auto size = static_cast<int64_t>(kernel.size()), radius = size / 2;
  const Tensor k = torch::tensor(kernel);
  // Reflection needs a border narrower than the image; beyond that the edge is repeated.
  const bool reflect = radius < image.size(1) && radius < image.size(2);
  const auto padded = [&](const Tensor& x, std::vector<int64_t> sides) {
    return reflect ? torch::reflection_pad2d(x, sides) : torch::replication_pad2d(x, sides);
  };
  Tensor x = image.unsqueeze(1);  // [C, 1, H, W]
  x = torch::conv2d(padded(x, {radius, radius, 0, 0}), k.view({1, 1, 1, size}));
  x = torch::conv2d(padded(x, {0, 0, radius, radius}), k.view({1, 1, size, 1}));
  return x.squeeze(1);
}

}  // namespace

Tensor to_vae_range(const Tensor& image) { return image.mul(2).sub(1).unsqueeze(0); }

Tensor from_vae_range(const Tensor& pixels) { return pixels.squeeze(0).to(torch::kFloat).add(1).div(2).clamp(0, 1); }

Tensor resize(const Tensor& image, int width_px, int height_px, ResizeMode mode) {
  if (mode == ResizeMode::stretch || mode == ResizeMode::latent) return resize(image, width_px, height_px);
  const double ratio = static_cast<double>(width_px) / height_px;
  const double source = static_cast<double>(image.size(2)) / static_cast<double>(image.size(1));
  const bool fit_width = mode == ResizeMode::crop ? ratio > source : ratio < source;
  const int width = fit_width ? width_px : static_cast<int>(image.size(2) * height_px / image.size(1));
  const int height = fit_width ? static_cast<int>(image.size(1) * width_px / image.size(2)) : height_px;
  const Tensor scaled = resize(image, std::max(1, width), std::max(1, height));
  // Where each side of the target lies outside (fill) or inside (crop) of the scaled image.
  const int64_t left = (width_px - scaled.size(2)) / 2, top = (height_px - scaled.size(1)) / 2;
  const int64_t right = width_px - scaled.size(2) - left, bottom = height_px - scaled.size(1) - top;
  if (mode == ResizeMode::crop) {
    return scaled.slice(1, -top, -top + height_px).slice(2, -left, -left + width_px).contiguous();
  }
  return torch::replication_pad2d(scaled.unsqueeze(0), {left, right, top, bottom}).squeeze(0);
}

Tensor blur(const Tensor& image, double sigma_px) {
  if (sigma_px <= 0) return image;
  const int radius = static_cast<int>(2.5 * sigma_px + 0.5);
  std::vector<float> kernel;
  double sum = 0;
  for (int i = -radius; i <= radius; ++i) sum += std::exp(-i * i / (2 * sigma_px * sigma_px));
  for (int i = -radius; i <= radius; ++i) kernel.push_back(static_cast<float>(std::exp(-i * i / (2 * sigma_px * sigma_px)) / sum));
  return to_8_bits(blur_with(image, kernel));
}

Tensor fill_masked(const Tensor& image, const Tensor& mask) {
  const Tensor alpha = 1 - mask, premultiplied = torch::cat({image * alpha, alpha}, 0);  // [4, H, W]
  Tensor result = torch::zeros_like(image);
  // Radius and how often it is laid over: from a wide haze to the sharp unmasked part on top.
  constexpr std::pair<double, int> kLayers[] = {{256, 1}, {64, 1}, {16, 2}, {4, 4}, {2, 2}, {0, 1}};
  for (const auto& [radius, repeats] : kLayers) {
    Tensor layer = premultiplied;
    if (radius > 0) {
      const int reach = static_cast<int>(std::min<double>(2.5 * radius + 0.5, static_cast<double>(std::max(image.size(1), image.size(2)))));
      std::vector<float> kernel;
      double sum = 0;
      for (int i = -reach; i <= reach; ++i) sum += std::exp(-i * i / (2 * radius * radius));
      for (int i = -reach; i <= reach; ++i) kernel.push_back(static_cast<float>(std::exp(-i * i / (2 * radius * radius)) / sum));
      layer = blur_with(premultiplied, kernel);
    }
    const Tensor colour = layer.slice(0, 0, 3), cover = layer.slice(0, 3, 4);
    for (int i = 0; i < repeats; ++i) result = colour + result * (1 - cover);
  }
  return to_8_bits(result);
}

Box masked_box(const Tensor& mask, int padding_px, int width_px, int height_px) {
  const auto image_height = static_cast<int>(mask.size(1)), image_width = static_cast<int>(mask.size(2));
  const Tensor marked = mask[0].gt(0).nonzero();
  if (marked.size(0) == 0) return {0, 0, image_width, image_height};
  const auto least = std::get<0>(marked.min(0)), most = std::get<0>(marked.max(0));
  Box box{std::max(0, static_cast<int>(least[1].item<int64_t>()) - padding_px), std::max(0, static_cast<int>(least[0].item<int64_t>()) - padding_px),
          std::min(image_width, static_cast<int>(most[1].item<int64_t>()) + 1 + padding_px),
          std::min(image_height, static_cast<int>(most[0].item<int64_t>()) + 1 + padding_px)};
  const double wanted = static_cast<double>(width_px) / height_px;
  const bool too_narrow = static_cast<double>(box.width()) / box.height() < wanted;
  const auto widen = [](int& low, int& high, int size, int limit) {
    const int extra = std::min(size, limit) - (high - low);
    low -= extra / 2;
    high = low + std::min(size, limit);
    if (high > limit) low -= high - limit, high = limit;
    if (low < 0) high -= low, low = 0;
  };
  if (too_narrow) {
    widen(box.left, box.right, static_cast<int>(box.height() * wanted), image_width);
  } else {
    widen(box.top, box.bottom, static_cast<int>(box.width() / wanted), image_height);
  }
  return box;
}

Tensor crop(const Tensor& image, const Box& box) { return image.slice(1, box.top, box.bottom).slice(2, box.left, box.right).contiguous(); }

Tensor paste(const Tensor& original, const Tensor& painted, const Tensor& mask, const Box& box) {
  Tensor whole = original.clone();
  whole.slice(1, box.top, box.bottom).slice(2, box.left, box.right).copy_(resize(painted, box.width(), box.height()));
  return whole * mask + original * (1 - mask);
}

}  // namespace lorikeet
