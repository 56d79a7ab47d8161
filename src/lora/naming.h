// How LoRA files name the layers. Only the way from a layer's path to a file's key is written down; reading looks a file's keys up
// in the table of all spellings of all layers.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "nn/layer.h"

namespace lorikeet {

// A key of a file's module (without the tensor's own name). part: which third of the module's output rows is the layer's, where a
// file keeps OpenCLIP's fused attention projection (0 q, 1 k, 2 v); -1: all of it.
struct LoraKey {
  std::string key;
  int part = -1;
};

// Where a naming keeps a LoRA's alpha.
enum class AlphaPlace {
  tensor,  // as a tensor of the module
  config,  // in adapter_config.json beside the file
  none,    // nowhere: alpha is the rank
};

struct LoraNaming {
  std::string_view name, summary;
  // All keys under which this naming may store the layer `path` ("unet.mid_block.…", "text_encoder.…"), the usual one first; none when
  // it has no word for it. No two paths share a key and part.
  std::vector<LoraKey> (*spell)(std::string_view path);
  // How its files end the keys of the two factors, for writing.
  std::string_view down, up;
  AlphaPlace alpha;
};

std::span<const LoraNaming> lora_namings();

// A layer that a key stands for.
struct LoraPlace {
  std::string path;
  int part = -1;
  const LoraNaming* naming = nullptr;
};

// The table of all spellings of a model's layers.
class LoraKeyTable {
 public:
  explicit LoraKeyTable(const LayerMap& layers);
  // Empty when no layer has that key; three places for a fused projection.
  std::span<const LoraPlace> find(const std::string& key) const;

 private:
  std::unordered_map<std::string, std::vector<LoraPlace>> places_;
};

// The name that a tensor has in every naming's file, as its own suffix of the key, in one vocabulary (kohya's and LyCORIS').
struct LoraKeyParts {
  std::string module;  // "lora_unet_mid_block_attentions_0_proj_in", "unet.…attn1.processor.to_q", "unet:3"
  std::string tensor;  // "lora_down.weight", "alpha", …; empty: not a tensor of an adapter, and `module` is the whole key
};
LoraKeyParts split_lora_key(std::string_view key);

}  // namespace lorikeet
