// Where in the picture a LoRA works. A region is a mask over the latent; each layer sees it at its own size.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <vector>

#include "base/torch.h"

namespace lorikeet {

// Shared and immutable.
class RegionMask {
 public:
  // mask: [H, W] float32 on the CPU, at the size of the latent: 1 where the LoRA works, 0 where it does not, shares between.
  explicit RegionMask(Tensor mask);

  const Tensor& mask() const { return mask_; }
  bool is_everywhere() const { return everywhere_; }
  bool is_nowhere() const { return nowhere_; }

  // Shaped so that it multiplies the output of a layer, in its dtype and on its device: of [B, C, h, w] it is [1, 1, h, w], of [B, T, D]
  // [1, T, 1]. A smaller size has the means over the areas that its places stand for. T is the number of places at one of the U-Net's
  // sizes (the latent's, halved again and again and rounded up), else Error{internal}.
  Tensor over(const Tensor& output) const;

 private:
  Tensor at(int64_t height, int64_t width) const;

  Tensor mask_;
  bool everywhere_, nowhere_;
  mutable std::mutex mutex_;
  mutable std::map<std::vector<int64_t>, Tensor> kept_;
};
using Region = std::shared_ptr<const RegionMask>;  // null: everywhere

// The parts into which regions divide the picture: in each, some of them work. Soft edges divide a place among several parts; the shares
// of a place sum to 1. Parts without any share are left out. Error{unsupported}: more than kMostParts.
struct RegionPart {
  Region share;
  std::vector<Region> inside;  // the regions that work here
};
inline constexpr size_t kMostParts = 64;
// regions: distinct, none null; at least one.
std::vector<RegionPart> divide(std::span<const Region> regions);

// Layers of the U-Net whose work belongs to no place: the time step's (and SDXL's size) embedding and its projections. A region cannot
// hold them; a regional LoRA leaves them alone.
bool is_placeless(std::string_view path);
// Layers whose input is the text: keys and values of the cross-attention. What is said there depends on the place that asks: see
// Layer::set_variants().
bool reads_text(std::string_view path);

}  // namespace lorikeet
