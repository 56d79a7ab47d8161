// The U-Net of Stable Diffusion 1, 2 and XL (Rombach et al. 2022, arXiv 2112.10752; Podell et al. 2023, arXiv 2307.01952),
// modules named as in diffusers' UNet2DConditionModel.
#pragma once
#include <memory>
#include <vector>

#include "base/torch.h"
#include "nn/weights.h"

namespace lorikeet {

struct UNetConfig {
  int64_t in_channels = 4, out_channels = 4;
  std::vector<int64_t> channels{320, 640, 1280, 1280};  // a level each, halving the size from one to the next
  std::vector<int64_t> depth{1, 1, 1, 0};               // transformer blocks of each attention of a level; 0: no attention
  int64_t middle_depth = 1;
  std::vector<int64_t> heads{8, 8, 8, 8};               // attention heads of each level; the middle has the last level's
  int64_t layers = 2;                                   // residual blocks of a level (one more on the way up)
  int64_t context = 768;                                // width of the text encoding
  bool linear_projection = false;                       // proj_in/out are linear (SD2, SDXL), not 1×1 convolutions
  int64_t groups = 32;                                  // of all group norms
  int64_t added_width = 0;                              // SDXL: width of pooled text + embedded time ids; 0: none
  int64_t time_id_width = 256;                          // SDXL: sinusoidal width of each time id
};

struct UNetInput {
  Tensor x;         // [B, in_channels, H, W]; H, W multiples of 2^(levels-1)
  Tensor timestep;  // [B] float32, 0..999, may be fractional
  Tensor context;   // [B, T, context]
  Tensor pooled;    // SDXL: [B, P]; else undefined
  Tensor time_ids;  // SDXL: [B, 6] float32: original height, width, crop top, left, target height, width; else undefined
};

class UNet {
 public:
  UNet(const UNetConfig& config, const Weights& weights);
  ~UNet();
  const UNetConfig& config() const { return config_; }
  const Compute& compute() const { return compute_; }

  // -> [B, out_channels, H, W] in the compute dtype.
  Tensor forward(const UNetInput& input) const;

  // Gradient checkpointing: of each residual block and each transformer block only the inputs are kept for backward (nn/recompute.h).
  // The same gradients, in about 3/2 of the time. The U-Net must outlive backward.
  bool recompute = false;

  // Called, if set, with the path ("unet.mid_block") and the output of each residual block, transformer and level (for tests).
  std::function<void(const std::string&, const Tensor&)> trace;

 private:
  struct Level;
  struct Parts;
  Tensor time_embedding(const UNetInput& input) const;
  UNetConfig config_;
  Compute compute_;
  std::unique_ptr<Parts> parts_;
};

}  // namespace lorikeet
