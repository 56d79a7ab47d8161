#include "generate/latents.h"

#include "base/error.h"
#include "generate/pixels.h"

namespace lorikeet {

namespace {

constexpr int64_t kTile = 64, kOverlap = 16;           // latents
constexpr int64_t kLargestWhole = 128 * 128;           // latents that "automatic" decodes in one piece: 1024² pixels

// 1 in the middle, falling linearly towards the sides that have a neighbour. [size]
Tensor ramp(int64_t size, int64_t overlap, bool before, bool behind) {
  Tensor weight = torch::ones({size});
  const Tensor rise = (torch::arange(overlap, torch::kFloat) + 0.5) / static_cast<double>(overlap);
  if (before) weight.slice(0, 0, overlap).mul_(rise);
  if (behind) weight.slice(0, size - overlap, size).mul_(rise.flip(0));
  return weight;
}

std::vector<int64_t> tile_starts(int64_t size) {
  if (size <= kTile) return {0};
  std::vector<int64_t> starts;
  for (int64_t at = 0; at + kTile < size; at += kTile - kOverlap) starts.push_back(at);
  starts.push_back(size - kTile);
  return starts;
}

// [1, 3, 8h, 8w]
Tensor decode_tiled(const Vae& vae, const Tensor& z, Progress& progress) {
  const int64_t height = z.size(2), width = z.size(3), factor = vae.config().factor();
  const auto rows = tile_starts(height), columns = tile_starts(width);
  Tensor sum = torch::zeros({1, 3, height * factor, width * factor}), weights = torch::zeros({1, 1, height * factor, width * factor});
  progress.stage("decoding", static_cast<int>(rows.size() * columns.size()));
  int done = 0;
  for (const int64_t top : rows) {
    for (const int64_t left : columns) {
      progress.check();
      const int64_t h = std::min(kTile, height), w = std::min(kTile, width);
      const Tensor part = vae.decode(z.slice(2, top, top + h).slice(3, left, left + w)).to(torch::kCPU);
      const Tensor weight = ramp(h * factor, kOverlap * factor, top > 0, top + h < height).unsqueeze(1) *
                            ramp(w * factor, kOverlap * factor, left > 0, left + w < width).unsqueeze(0);
      const auto place = [&](Tensor& whole) {
        return whole.slice(2, top * factor, (top + h) * factor).slice(3, left * factor, (left + w) * factor);
      };
      place(sum).add_(part * weight);
      place(weights).add_(weight);
      progress.step(++done);
    }
  }
  return sum / weights;
}

}  // namespace

Tensor encode_image(const Vae& vae, const LatentFormat& format, const Tensor& image) {
  return vae.encode(to_vae_range(image)).mean.to(torch::kCPU) * format.scale;
}

Tensor decode_latent(const Vae& vae, const LatentFormat& format, const Tensor& latent, VaeTiling tiling, Progress& progress) {
  const Tensor z = latent / format.scale;
  const bool tiled = tiling == VaeTiling::on || (tiling == VaeTiling::automatic && z.size(2) * z.size(3) > kLargestWhole);
  Tensor pixels;
  if (tiled) {
    pixels = decode_tiled(vae, z, progress);
  } else {
    progress.stage("decoding", 1);
    pixels = vae.decode(z).to(torch::kCPU);
    progress.step(1);
  }
  if (!torch::isfinite(pixels).all().item<bool>()) {
    throw Error(ErrorKind::internal, "the picture came out as NaN or infinity",
                "try --precision f32, or another VAE; if it stays, the checkpoint or a LoRA holds broken weights (lorikeet inspect tells)");
  }
  return from_vae_range(pixels);
}

Tensor preview_image(const LatentFormat& format, const Tensor& latent) {
  const Tensor x = latent[0].detach().to(torch::kCPU, torch::kFloat);  // [C, h, w]
  Tensor image = torch::full({3, x.size(1), x.size(2)}, 0.5);
  for (int64_t c = 0; c < std::min<int64_t>(x.size(0), static_cast<int64_t>(format.preview_rgb.size())); ++c) {
    for (int64_t k = 0; k < 3; ++k) image[k] += x[c] * (0.5 * format.preview_rgb[static_cast<size_t>(c)][static_cast<size_t>(k)]);
  }
  return image.clamp(0, 1);
}

Tensor upscale_latent(const Tensor& latent, int width_px, int height_px, HrUpscaler mode) {
  const std::vector<int64_t> size{height_px / 8, width_px / 8};
  switch (mode) {
    case HrUpscaler::latent: return torch::upsample_bilinear2d(latent, size, false);
    case HrUpscaler::latent_antialiased: return at::_upsample_bilinear2d_aa(latent, size, false);
    case HrUpscaler::latent_bicubic: return torch::upsample_bicubic2d(latent, size, false);
    case HrUpscaler::latent_bicubic_antialiased: return at::_upsample_bicubic2d_aa(latent, size, false);
    case HrUpscaler::latent_nearest: return torch::upsample_nearest2d(latent, torch::IntArrayRef(size));
    case HrUpscaler::latent_nearest_exact: return at::_upsample_nearest_exact2d(latent, torch::IntArrayRef(size));
    default: throw Error(ErrorKind::internal, "not a latent upscaler");
  }
}

}  // namespace lorikeet
