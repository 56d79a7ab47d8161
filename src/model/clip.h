// The CLIP text encoder (Radford et al. 2021, arXiv 2103.00020; shapes as in transformers' CLIPTextModel), for CLIP-L and OpenCLIP alike.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/torch.h"
#include "nn/layer.h"
#include "nn/weights.h"

namespace lorikeet {

struct ClipConfig {
  std::string component = "text_encoder";  // first part of its layers' paths
  int64_t vocabulary = 49408, width = 768, layers = 12, heads = 12, intermediate = 3072, positions = 77;
  bool quick_gelu = true;                  // x·sigmoid(1.702x) (CLIP-L) or the exact GELU (OpenCLIP)
  bool projection = false;                 // has text_projection: `pooled` is projected
  int64_t padding_id = 49407;              // what fills a chunk behind the end token: 49407 (CLIP-L) or 0 (OpenCLIP)
  int skip = 1;                            // clip skip when nobody asks: 1 = last layer, 2 = the one before
  bool final_norm = true;                  // the final LayerNorm is applied to the context (not in SDXL)
};

struct ClipOutput {
  Tensor hidden;  // [B, T, width], the context
  Tensor pooled;  // [B, width or projected width]: the last layer's output at the end token after the final norm, projected if there is a projection
};

class ClipTextModel {
 public:
  ClipTextModel(const ClipConfig& config, const Weights& weights);

  const ClipConfig& config() const { return config_; }

  // Gradient checkpointing: of each layer only the input is kept for backward (nn/recompute.h). The encoder must outlive backward.
  bool recompute = false;

  // Rows of the token embedding table. ids: [B, T] int64 -> [B, T, width] (compute dtype).
  Tensor embed(const Tensor& ids) const;

  // embedded: [B, T, width], T <= positions: embed(ids) with textual-inversion vectors put in; end: [B] int64, the place of the end token;
  // skip: 1 = output of the last layer, k = k-th from the end (the caller resolves "default" to config().skip).
  ClipOutput forward(const Tensor& embedded, const Tensor& end, int skip) const;

  // All hidden states, [0] = embeddings + positions, then after each layer (before the final norm). For tests and analysis.
  std::vector<Tensor> hidden_states(const Tensor& embedded) const;
  Tensor final_norm(const Tensor& hidden) const;

 private:
  struct Block;
  ClipConfig config_;
  std::shared_ptr<Layer> tokens_, final_norm_, projection_;
  Tensor positions_;  // [positions, width]
  std::vector<std::shared_ptr<Block>> blocks_;
};

}  // namespace lorikeet
