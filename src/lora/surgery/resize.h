// Fewer ranks for the plain LoRAs of a file, by the best approximation there is.
#pragma once
#include "lora/surgery/change.h"

namespace lorikeet {

struct ResizeOptions {
  RankOptions ranks;
  std::optional<Dtype> dtype = {};  // nothing: as stored
};

struct ResizeResult {
  std::vector<LayerResult> layers;   // those that were resized
  std::vector<std::string> carried;  // layers of other kinds, which stay as they are
};

// The draft of the resized file, its history noted. The scale alpha / rank of each module is kept. CP's middle factor becomes part of
// `down`. A DoRA's inner LoRA is resized, its magnitude kept. Other kinds stay as they are.
LoraDraft resize(const LoraReader& reader, const ResizeOptions& options, ResizeResult& result, Progress& progress);

}  // namespace lorikeet
