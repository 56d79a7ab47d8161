// The building blocks of the U-Net: residual block, transformer over the picture's pixels, down- and up-sampling.
#pragma once
#include <memory>
#include <vector>

#include "model/unet.h"
#include "nn/layer.h"
#include "nn/weights.h"

namespace lorikeet {

// x: [B, in, H, W], time: [B, 4·channels[0]] (already through SiLU) -> [B, out, H, W].
class ResnetBlock {
 public:
  ResnetBlock(const Weights& w, int64_t in, int64_t out, int64_t time_width, int groups);
  Tensor operator()(const Tensor& x, const Tensor& time) const;

 private:
  std::shared_ptr<Layer> norm1_, conv1_, time_, norm2_, conv2_, shortcut_;
};

// Self-attention, cross-attention to the text, feed-forward; each pre-norm with a residual. x: [B, T, D], context: [B, S, E].
class TransformerBlock {
 public:
  TransformerBlock(const Weights& w, int64_t width, int64_t context, int64_t heads);
  Tensor operator()(const Tensor& x, const Tensor& context) const;

 private:
  struct Attention {
    std::shared_ptr<Layer> q, k, v, out;
    int64_t heads;
    Attention(const Weights& w, int64_t width, int64_t context, int64_t heads);
    Tensor operator()(const Tensor& x, const Tensor& context, const Tensor& residual) const;
  };
  std::shared_ptr<Layer> norm1_, norm2_, norm3_, ff_in_, ff_out_;
  std::unique_ptr<Attention> self_, cross_;
};

// x: [B, C, H, W] -> the same: norm, projection, `depth` transformer blocks over the pixels (each a recomputed piece if `recompute`),
// projection, residual.
class SpatialTransformer {
 public:
  SpatialTransformer(const Weights& w, const UNetConfig& config, int64_t channels, int64_t heads, int64_t depth);
  Tensor operator()(const Tensor& x, const Tensor& context, bool recompute) const;

 private:
  std::shared_ptr<Layer> norm_, proj_in_, proj_out_;
  std::vector<TransformerBlock> blocks_;
};

}  // namespace lorikeet
