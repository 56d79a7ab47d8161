#include "model/families/shapes.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"

namespace lorikeet {

namespace {

Shape need(const Checkpoint& checkpoint, const std::string& name) {
  const auto shape = checkpoint.shape(name);
  if (!shape) throw Error(ErrorKind::bad_input, "the checkpoint lacks " + checkpoint.describe(name), "the file is incomplete; download it again");
  if (shape->empty()) throw Error(ErrorKind::bad_input, checkpoint.describe(name) + " is a single number");
  return *shape;
}

// A configured value for each level, or one for all.
std::vector<int64_t> per_level(std::vector<int64_t> values, size_t levels, std::string_view what) {
  if (values.size() == 1) values.assign(levels, values.front());
  if (values.size() != levels || std::any_of(values.begin(), values.end(), [](int64_t v) { return v < 1; })) {
    throw Error(ErrorKind::bad_input, "the configuration's " + std::string(what) + " does not fit the U-Net's " + std::to_string(levels) + " levels");
  }
  return values;
}

}  // namespace

UNetConfig unet_from_shapes(const Checkpoint& checkpoint, int64_t (*head_count)(int64_t channels)) {
  UNetConfig c;
  const Shape in = need(checkpoint, "unet.conv_in.weight");
  c.in_channels = in.at(1);
  c.out_channels = need(checkpoint, "unet.conv_out.weight")[0];
  c.channels.clear(), c.depth.clear(), c.heads.clear();
  const int64_t levels = checkpoint.count("unet.down_blocks.", ".resnets.0.conv1.weight");
  for (int64_t i = 0; i < levels; ++i) {
    const std::string level = "unet.down_blocks." + std::to_string(i);
    c.channels.push_back(need(checkpoint, level + ".resnets.0.conv1.weight")[0]);
    c.depth.push_back(checkpoint.count(level + ".attentions.0.transformer_blocks.", ".norm1.weight"));
    c.heads.push_back(head_count(c.channels.back()));
  }
  if (levels < 2) throw Error(ErrorKind::bad_input, "the U-Net has " + std::to_string(levels) + " levels", "the file is incomplete");
  c.middle_depth = checkpoint.count("unet.mid_block.attentions.0.transformer_blocks.", ".norm1.weight");
  c.context = context_width(checkpoint).value_or(0);
  const auto projection = checkpoint.shape("unet.mid_block.attentions.0.proj_in.weight");
  c.linear_projection = projection && projection->size() == 2;
  if (const auto added = checkpoint.shape("unet.add_embedding.linear_1.weight")) c.added_width = added->at(1);
  c.groups = checkpoint.config_int("unet.norm_num_groups").value_or(32);
  c.time_id_width = checkpoint.config_int("unet.addition_time_embed_dim").value_or(256);
  // diffusers calls the number of heads attention_head_dim when num_attention_heads is missing (its historic slip).
  auto heads = checkpoint.config_ints("unet.num_attention_heads");
  if (!heads) heads = checkpoint.config_ints("unet.attention_head_dim");
  if (heads) c.heads = per_level(*heads, c.channels.size(), "number of attention heads");
  for (size_t i = 0; i < c.channels.size(); ++i) {
    if (c.channels[i] % c.heads[i] || c.channels[i] % c.groups) {
      throw Error(ErrorKind::bad_input, "a level of " + std::to_string(c.channels[i]) + " channels cannot have " + std::to_string(c.heads[i]) +
                                            " heads and " + std::to_string(c.groups) + " groups",
                  "say the numbers in <checkpoint>.config.json: {\"unet\": {\"attention_head_dim\": …, \"norm_num_groups\": …}}");
    }
  }
  return c;
}

VaeConfig vae_from_shapes(const Checkpoint& checkpoint) {
  VaeConfig c;
  c.channels.clear();
  const int64_t levels = checkpoint.count("vae.encoder.down_blocks.", ".resnets.0.conv1.weight");
  for (int64_t i = 0; i < levels; ++i) {
    c.channels.push_back(need(checkpoint, "vae.encoder.down_blocks." + std::to_string(i) + ".resnets.0.conv1.weight")[0]);
  }
  if (levels == 0) throw Error(ErrorKind::bad_input, "the checkpoint has no autoencoder (VAE)", "give one with --vae");
  c.latent_channels = need(checkpoint, "vae.post_quant_conv.weight")[0];
  c.groups = checkpoint.config_int("vae.norm_num_groups").value_or(32);
  return c;
}

ClipConfig clip_from_shapes(const Checkpoint& checkpoint, const std::string& component, bool open_clip) {
  ClipConfig c;
  c.component = component;
  const std::string text = component + ".text_model.";
  const Shape tokens = need(checkpoint, text + "embeddings.token_embedding.weight");
  c.vocabulary = tokens[0];
  c.width = tokens.at(1);
  c.positions = need(checkpoint, text + "embeddings.position_embedding.weight")[0];
  c.layers = checkpoint.count(text + "encoder.layers.", ".mlp.fc1.weight");
  if (c.layers < 1) throw Error(ErrorKind::bad_input, "the text encoder has no layers", "the file is incomplete");
  c.intermediate = need(checkpoint, text + "encoder.layers.0.mlp.fc1.weight")[0];
  c.heads = checkpoint.config_int(component + ".num_attention_heads").value_or(std::max<int64_t>(1, c.width / 64));
  const auto activation = checkpoint.config_string(component + ".hidden_act");
  c.quick_gelu = activation ? *activation == "quick_gelu" : !open_clip;
  c.padding_id = open_clip ? 0 : 49407;
  if (c.heads < 1 || c.width % c.heads) {
    throw Error(ErrorKind::bad_input, "a text encoder of width " + std::to_string(c.width) + " cannot have " + std::to_string(c.heads) + " heads",
                "correct num_attention_heads in the checkpoint's configuration");
  }
  return c;
}

std::string stated_prediction(const Checkpoint& checkpoint) {
  for (const char* path : {"prediction_type", "scheduler.prediction_type"}) {
    if (const auto stated = checkpoint.config_string(path)) {
      if (*stated == "v_prediction" || *stated == "v") return "v";
      if (*stated == "epsilon") return "epsilon";
      throw Error(ErrorKind::unsupported, "the prediction type '" + *stated + "' is not supported", "supported are epsilon and v_prediction");
    }
  }
  return checkpoint.has_key("v_pred") ? "v" : "";
}

bool stated_zero_terminal_snr(const Checkpoint& checkpoint) {
  return checkpoint.has_key("ztsnr") || checkpoint.config_flag("zero_terminal_snr") ||
         checkpoint.config_flag("scheduler.rescale_betas_zero_snr");  // diffusers' name
}

// The side of a square of that area: "768x512", or diffusers' size of a latent. Nothing when it is not told, or no size for a picture.
std::optional<int64_t> stated_native_size(const Checkpoint& checkpoint, int64_t factor) {
  const std::string resolution = checkpoint.config_string("resolution").value_or("");
  const size_t by = resolution.find('x');
  const auto width = parse_int(resolution.substr(0, by)), height = by == std::string::npos ? width : parse_int(resolution.substr(by + 1));
  double side = width && height && *width > 0 && *height > 0 ? std::sqrt(static_cast<double>(*width) * static_cast<double>(*height)) : 0;
  if (const auto latent = checkpoint.config_int("unet.sample_size"); latent && resolution.empty()) side = static_cast<double>(*latent * factor);
  if (side < 64 || side > 2048) return std::nullopt;
  return std::lround(side / 64) * 64;
}

void describe_common(ModelSpec& spec, const Checkpoint& checkpoint, std::string_view label) {
  spec.vae = vae_from_shapes(checkpoint);
  spec.native_size_px = stated_native_size(checkpoint, spec.vae.factor()).value_or(spec.native_size_px);
  spec.prediction = stated_prediction(checkpoint);
  spec.zero_terminal_snr = stated_zero_terminal_snr(checkpoint);
  for (const char* path : {"vae.scaling_factor", "scaling_factor"}) {
    if (const auto scale = checkpoint.config_number(path)) spec.latent.scale = *scale;
  }
  if (spec.unet.in_channels != 4 && spec.unet.in_channels != 9) {
    throw Error(ErrorKind::unsupported,
                "the U-Net takes " + std::to_string(spec.unet.in_channels) + " channels" +
                    (spec.unet.in_channels == 8 ? " (an instruct-pix2pix model)" : ""),
                "supported are text-to-image (4) and inpainting (9) checkpoints");
  }
  spec.label = std::string(label) + (spec.inpainting() ? " inpainting" : "");
}

std::optional<int64_t> context_width(const Checkpoint& checkpoint) {
  for (const char* block : {"unet.down_blocks.0", "unet.down_blocks.1", "unet.mid_block"}) {
    if (const auto shape = checkpoint.shape(std::string(block) + ".attentions.0.transformer_blocks.0.attn2.to_k.weight")) return shape->at(1);
  }
  return std::nullopt;
}

}  // namespace lorikeet
