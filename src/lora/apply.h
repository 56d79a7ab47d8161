// Putting LoRA files onto a model: match a file's modules with the layers, then merge, or attach at run time.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lora/adapter.h"
#include "lora/file.h"
#include "nn/layer.h"

namespace lorikeet {

// What a file found in a model. Never silent: everything that did not fit is listed here.
struct LoraReport {
  std::string name;                       // as in the tag
  std::string path;
  int matched = 0, total = 0;             // modules
  std::vector<std::string> unmatched;     // keys of modules that no layer answers to, as in the file
  std::vector<std::string> unused;        // tensors of matched modules that no kind read
  std::map<std::string, int> kinds;       // "lora" -> 264
  std::string family;                     // the family that the file is made for, from its shapes and names: "sd1", "sd2", "sdxl", "" unknown
};

// A LoRA file bound to one model's layers. Shared and cached; immutable.
struct LoadedLora {
  LoraReport report;
  std::string hash;                                            // AutoV3 (sha256 without the header), 64 hex
  std::map<std::string, std::shared_ptr<const Adapter>> adapters;  // by layer path
  std::map<std::string, std::map<std::string, Tensor>> embeddings; // bundled textual inversions: name -> file tensors
};

// Throws Error{bad_input} when nothing fits ("made for sdxl; this checkpoint is sd1") or a matched module has a wrong shape.
// `family` is the model's family id, for the message.
std::shared_ptr<const LoadedLora> load_lora(const LoraFile& file, const LayerMap& layers, std::string_view family);

// One tag, resolved. Two uses of the same file are summed.
struct LoraUse {
  std::shared_ptr<const LoadedLora> lora;
  double te = 1, unet = 1;        // multipliers of text encoder and U-Net
  std::optional<int64_t> dyn;     // keep the first `dyn` ranks
  bool operator==(const LoraUse&) const = default;
};
using LoraSet = std::vector<LoraUse>;

// Makes the effective weights base + all of `set` (adapters in the order of the set, each computed from the weight as changed so far,
// as A1111 does); layers that no adapter touches go back to the base. Multiplier 0 leaves a layer untouched.
// Only layers whose path starts with `component` ("unet.", "text_encoder"; "" = all) are looked at.
void merge_loras(const LayerMap& layers, const LoraSet& set, std::string_view component = {});

// The run-time way: row i of the batch gets sets[i]; sets.size() divides the batch (rows are picture-major: all rows of picture 0 first).
// Removes what was attached or merged before. An empty span detaches everything.
void attach_loras(const LayerMap& layers, std::span<const LoraSet> sets, std::string_view component = {});

}  // namespace lorikeet
