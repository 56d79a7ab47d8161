#include "training/targets.h"

#include <algorithm>
#include <array>
#include <regex>

#include "base/error.h"
#include "base/text.h"

namespace lorikeet {
namespace {

bool holds(const Layer& layer, std::string_view part) { return layer.path().find(part) != std::string::npos; }

bool has_matrix(const Layer& layer) { return layer.geometry().op == LayerOp::linear || layer.geometry().op == LayerOp::conv2d; }

bool is_text_block(const Layer& layer) { return is_text_encoder(layer.path()) && (holds(layer, ".self_attn.") || holds(layer, ".mlp.")); }

bool in_cross_attention(const Layer& layer) { return has_matrix(layer) && is_unet(layer.path()) && holds(layer, ".attn2."); }

bool in_attention(const Layer& layer) {
  if (!has_matrix(layer)) return false;
  if (is_text_encoder(layer.path())) return holds(layer, ".self_attn.");
  return is_unet(layer.path()) && (holds(layer, ".attn1.") || holds(layer, ".attn2."));
}

bool in_transformers(const Layer& layer) {
  return has_matrix(layer) && (is_text_block(layer) || (is_unet(layer.path()) && holds(layer, ".attentions.")));
}

bool is_any(const Layer& layer) { return has_matrix(layer) && (is_text_block(layer) || is_unet(layer.path())); }

constexpr std::array<TargetPreset, 4> kPresets{{
    {"cross-attention", "Q, K, V and out where picture and prompt meet (U-Net only): the smallest file", in_cross_attention},
    {"attention", "all attention of U-Net and text encoders", in_attention},
    {"attention+ff", "attention, feed-forward and projections of all transformer blocks, as kohya's LoRA", in_transformers},
    {"all", "also the convolutions, time embeddings, down- and upsamplers of the U-Net (LoCon)", is_any},
}};


std::regex pattern_of(const std::string& text) {
  try {
    return std::regex(text, std::regex::ECMAScript | std::regex::optimize);
  } catch (const std::regex_error& error) {
    throw Error(ErrorKind::bad_input, "'" + text + "' is no regular expression: " + error.what(),
                "write one over module paths, like attn2\\.to_[kv]$ or up_blocks\\.[12]");
  }
}

using Paths = std::map<std::string, const Layer*>;

// A few paths of the candidates, spread over all of them.
std::string some_paths(const Paths& candidates) {
  constexpr size_t kShown = 5;
  std::string text;
  size_t i = 0, shown = 0;
  for (const auto& [path, layer] : candidates)
    if (i++ * kShown >= shown * candidates.size() && shown < kShown) text += (shown++ > 0 ? ", " : "") + path;
  return text;
}

// The layers of the parts that are trained.
Paths candidates_of(const LayerMap& layers, const TrainConfig& config) {
  if (!config.train_unet && !config.train_text_encoder)
    throw Error(ErrorKind::bad_input, "neither the U-Net nor the text encoder is to be trained",
                "leave train_unet or train_text_encoder on");
  const bool norms = config.kind == "full";
  Paths candidates;
  for (const auto& [path, layer] : layers) {
    const bool wanted = (config.train_unet && is_unet(path)) || (config.train_text_encoder && is_text_encoder(path));
    if (wanted && (norms || layer->base_weight().dim() >= 2)) candidates[path] = layer.get();
  }
  return candidates;
}

const TargetPreset& find_preset(const std::string& name) {
  std::vector<std::string> names;
  for (const TargetPreset& preset : kPresets) {
    if (preset.name == name) return preset;
    names.emplace_back(preset.name);
  }
  const std::string near = did_you_mean(name, names);
  throw Error(ErrorKind::bad_input, "'" + name + "' is no set of layers",
              (near.empty() ? "" : near + " ") + "choose " + join(names, ", ") + ", or regex:PATTERN");
}

Paths chosen_layers(const Paths& candidates, const TrainConfig& config) {
  Paths chosen = candidates;
  if (starts_with(config.targets, kRegex)) {
    const std::regex pattern = pattern_of(config.targets.substr(kRegex.size()));
    std::erase_if(chosen, [&](const auto& entry) { return !std::regex_search(entry.first, pattern); });
  } else {
    const std::string name = config.kind == "locon" ? "all" : config.targets;
    const TargetPreset& preset = find_preset(name);
    std::erase_if(chosen, [&](const auto& entry) { return !preset.selects(*entry.second); });
  }
  return chosen;
}

struct BlockRank {
  std::string text;
  std::regex pattern;
  int64_t rank;
};

BlockRank block_rank(const std::string& text) {
  const size_t at = text.rfind('=');
  const auto rank = at == std::string::npos ? std::nullopt : parse_int(trim(std::string_view(text).substr(at + 1)));
  if (!rank || *rank < 0 || at == 0)
    throw Error(ErrorKind::bad_input, "'" + text + "' is no rank of a block",
                "write pattern=rank, like up_blocks\\.1=16; rank 0 leaves the modules out");
  return {text, pattern_of(text.substr(0, at)), *rank};
}

void apply_block_rank(std::map<std::string, int64_t>& ranks, const BlockRank& block) {
  int met = 0;
  for (auto& [path, rank] : ranks) {
    if (!std::regex_search(path, block.pattern)) continue;
    rank = block.rank;
    ++met;
  }
  if (met > 0) return;
  throw Error(ErrorKind::bad_input,
              "the block rank '" + block.text + "' meets none of the " + std::to_string(ranks.size()) + " layers that are trained",
              "one of them is " + ranks.begin()->first);
}

[[noreturn]] void refuse_nothing(const Paths& candidates, const TrainConfig& config) {
  throw Error(ErrorKind::bad_input,
              "targets '" + config.targets + "' select none of the " + std::to_string(candidates.size()) + " layers that could be trained",
              candidates.empty() ? "the model has no such part" : "paths look like " + some_paths(candidates));
}

}  // namespace

std::span<const TargetPreset> target_presets() { return kPresets; }

bool is_unet(std::string_view path) { return starts_with(path, "unet."); }

bool is_text_encoder(std::string_view path) { return starts_with(path, "text_encoder"); }

bool has_kernel(const Layer& layer) {
  const Tensor& weight = layer.base_weight();
  return weight.dim() == 4 && weight.size(2) * weight.size(3) > 1;
}

std::map<std::string, int64_t> selected_layers(const LayerMap& layers, const TrainConfig& config) {
  const auto candidates = candidates_of(layers, config);
  std::map<std::string, int64_t> ranks;
  for (const auto& [path, layer] : chosen_layers(candidates, config))
    ranks[path] = has_kernel(*layer) ? config.conv_rank.value_or(config.rank) : config.rank;
  if (ranks.empty()) refuse_nothing(candidates, config);
  for (const std::string& text : config.block_ranks) apply_block_rank(ranks, block_rank(text));
  std::erase_if(ranks, [](const auto& entry) { return entry.second == 0; });
  if (ranks.empty()) throw Error(ErrorKind::bad_input, "all layers have rank 0: nothing is left to train", "raise a rank");
  return ranks;
}

}  // namespace lorikeet
