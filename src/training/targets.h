// Which layers a run trains, and with which rank: presets by path, a regular expression, ranks by block.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "nn/layer.h"
#include "training/config.h"

namespace lorikeet {

constexpr std::string_view kRegex = "regex:";  // before a pattern, where a preset's name may stand

// A named set of layers. Only linear layers and convolutions of U-Net and text encoders are in one.
struct TargetPreset {
  std::string_view name, summary;
  bool (*selects)(const Layer& layer);
};

// cross-attention: to_q, to_k, to_v, to_out of the U-Net's attn2, as the original LoRA for Stable Diffusion (Hu et al. 2021, sec. 4.2, on
// attention alone). attention: attn1 too, and self_attn of the text encoders. attention+ff: all of the U-Net's Transformer2DModel,
// attention and MLP of the text encoders: kohya's networks.lora (UNET_TARGET_REPLACE_MODULE, TEXT_ENCODER_TARGET_REPLACE_MODULE). all:
// every linear layer and convolution of the U-Net.
std::span<const TargetPreset> target_presets();

// The layers that config.targets selects ("regex:PATTERN": whose path holds a match; of norms only with the kind "full"), of the parts
// that config.train_unet and train_text_encoder name, and the rank of each: config.rank, config.conv_rank for convolutions larger than
// 1×1, config.block_ranks over both. The kind "locon" takes all. Error{bad_input}: no such preset, a bad pattern, a pattern of
// block_ranks that meets nothing, nothing selected; with some of the paths that there are.
std::map<std::string, int64_t> selected_layers(const LayerMap& layers, const TrainConfig& config);

bool is_unet(std::string_view path);
bool is_text_encoder(std::string_view path);
// A convolution larger than 1×1.
bool has_kernel(const Layer& layer);

}  // namespace lorikeet
