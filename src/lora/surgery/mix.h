// Several LoRA files as one.
#pragma once
#include <filesystem>
#include <memory>
#include <span>

#include "lora/blocks.h"
#include "lora/surgery/change.h"

namespace lorikeet {

struct MixInput {
  std::shared_ptr<const LoraReader> reader;
  double te = 1, unet = 1;  // multipliers
  BlockWeights blocks = {};
};

struct MixOptions {
  std::string method = "sum";
  RankOptions ranks = {};                 // for methods that can reduce ranks; no rank and no rule: nothing is cut
  double density = 0.5;                   // ties, dare: the share of the entries that is kept
  uint64_t seed = 0;                      // dare
  std::optional<Dtype> dtype = {};        // nothing: float16
  std::filesystem::path checkpoint = {};  // the readers' model, where they have one; for the recipe
};

// What a method makes of one layer's changes, which are multiplied already.
struct MixMethod {
  std::string_view name, summary;
  bool takes_ranks;  // the result may be cut to a rank
  bool needs_ranks;  // it must
  Change (*mix)(std::span<const Change> changes, const MixOptions& options, uint64_t seed);
};
std::span<const MixMethod> mix_methods();
const MixMethod& find_mix_method(std::string_view name);  // Error{bad_input} with the names

struct MixResult {
  std::vector<LayerResult> layers;
};

// The draft of the mix; its history entry is the recipe. Error{bad_input}: fewer than one input, files of two families, layers of two
// shapes, a method that cannot do what the options ask.
LoraDraft mix(std::span<const MixInput> inputs, const MixOptions& options, MixResult& result, Progress& progress);

// What the last entry of a mixed file's history says: enough to make it again. Inputs are named by their sha256.
struct MixRecipe {
  struct Input {
    std::string name, sha256;
    double te = 1, unet = 1;
    BlockWeights blocks = {};
  };
  std::vector<Input> inputs;
  MixOptions options;             // without the checkpoint's path
  std::string checkpoint_sha256;  // "": none
};
MixRecipe read_recipe(const Metadata& metadata);  // Error{bad_input}: the file's last operation was no mix

}  // namespace lorikeet
