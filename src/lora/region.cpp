#include "lora/region.h"

#include "base/error.h"
#include "base/text.h"

namespace lorikeet {

RegionMask::RegionMask(Tensor mask) : mask_(std::move(mask)) {
  if (mask_.dim() != 2 || mask_.numel() == 0) throw Error(ErrorKind::internal, "a region's mask of shape " + to_string(mask_.sizes()));
  everywhere_ = mask_.eq(1).all().item<bool>();
  nowhere_ = mask_.eq(0).all().item<bool>();
}

Tensor RegionMask::at(int64_t height, int64_t width) const {
  if (height == mask_.size(0) && width == mask_.size(1)) return mask_;
  return torch::adaptive_avg_pool2d(mask_.unsqueeze(0), {height, width})[0];
}

Tensor RegionMask::over(const Tensor& output) const {
  const int64_t places = output.dim() == 3 ? output.size(1) : output.size(2) * output.size(3);
  int64_t height = output.dim() == 3 ? mask_.size(0) : output.size(2), width = output.dim() == 3 ? mask_.size(1) : output.size(3);
  while (height * width > places && height * width > 1) height = (height + 1) / 2, width = (width + 1) / 2;
  if (height * width != places)
    throw Error(ErrorKind::internal, "a region over " + std::to_string(places) + " places of a latent of " + to_string(mask_.sizes()));
  const std::vector<int64_t> key{output.dim(), height, width, static_cast<int64_t>(output.scalar_type()),
                                 output.device().is_cpu() ? -1 : output.get_device()};
  const std::lock_guard lock(mutex_);
  const auto found = kept_.find(key);
  if (found != kept_.end()) return found->second;
  const Tensor small = at(height, width).to(output.device(), output.scalar_type());
  return kept_.emplace(key, output.dim() == 3 ? small.reshape({1, -1, 1}) : small.reshape({1, 1, height, width})).first->second;
}

std::vector<RegionPart> divide(std::span<const Region> regions) {
  std::vector<std::pair<Tensor, std::vector<Region>>> parts{{torch::ones_like(regions.front()->mask()), {}}};
  for (const Region& region : regions) {
    decltype(parts) finer;
    for (auto& [share, inside] : parts) {
      const Tensor in = share * region->mask(), out = share * (1 - region->mask());
      if (in.ne(0).any().item<bool>()) {
        finer.emplace_back(in, inside);
        finer.back().second.push_back(region);
      }
      if (out.ne(0).any().item<bool>()) finer.emplace_back(out, inside);
    }
    parts = std::move(finer);
    if (parts.size() > kMostParts)
      throw Error(ErrorKind::unsupported,
                  "the regions of the LoRAs divide the picture into more than " + std::to_string(kMostParts) + " parts",
                  "use fewer LoRAs with regions, or regions that overlap less");
  }
  std::vector<RegionPart> result;
  for (auto& [share, inside] : parts) result.push_back({std::make_shared<const RegionMask>(share), std::move(inside)});
  return result;
}

bool is_placeless(std::string_view path) {
  return starts_with(path, "unet.time_embedding.") || starts_with(path, "unet.add_embedding.") || ends_with(path, ".time_emb_proj");
}

bool reads_text(std::string_view path) { return ends_with(path, ".attn2.to_k") || ends_with(path, ".attn2.to_v"); }

}  // namespace lorikeet
