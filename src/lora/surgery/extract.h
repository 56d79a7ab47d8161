// The difference of two checkpoints as a LoRA.
#pragma once
#include <functional>

#include "lora/surgery/change.h"

namespace lorikeet {

struct ExtractOptions {
  RankOptions ranks;         // conv_rank is for kernels larger than 1×1
  bool convolutions = true;  // 3×3 kernels too
  bool text_encoder = true;
  bool rest = false;          // norms and biases as whole differences
  bool exact = false;         // every singular value, instead of the leading ones by random projection
  double min_difference = 0;  // a layer no entry of which differs by more is left out
  double clamp_quantile = 1;  // below 1: entries of the factors beyond this quantile of their magnitudes are cut off (kohya's 0.99)
  uint64_t seed = 0;          // of the projections
  Dtype dtype = torch::kHalf;
  std::string family = {};  // ModelSpec's id, for the metadata
};

struct ExtractResult {
  std::vector<LayerResult> layers;
  int same = 0;                        // layers without a difference above min_difference
  std::vector<std::string> different;  // layers that differ but are not in the LoRA: embeddings; norms and biases without `rest`
  std::vector<std::string> only_one;   // layers that one of the checkpoints lacks, or has in another shape
};

// base, tuned: the layers of the checkpoints. after_layers(): called now and then, to give the pages that were read back.
// Rules that need every singular value (sv_cumulative, quantile) take the exact way. Error{bad_input}: the checkpoints do not differ, a
// layer's difference is not finite, nothing has the same shape.
LoraDraft extract(const LayerMap& base, const LayerMap& tuned, const ExtractOptions& options, ExtractResult& result, Progress& progress,
                  const std::function<void()>& after_layers = {});

// Of the draft, for the history.
nlohmann::ordered_json option_words(const ExtractOptions& options);

}  // namespace lorikeet
