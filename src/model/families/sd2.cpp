// Stable Diffusion 2.x: OpenCLIP-H without its last layer, heads of 64 channels, linear projections.
// Configuration: Stability-AI/stablediffusion configs/stable-diffusion/v2-inference[-v].yaml.
#include "model/families/families.h"
#include "model/families/shapes.h"

namespace lorikeet {

std::optional<ModelSpec> recognise_sd2(const Checkpoint& checkpoint) {
  if (!checkpoint.has_component("unet") || checkpoint.has("unet.add_embedding.linear_1.weight")) return std::nullopt;
  if (!checkpoint.has_component("text_encoder") || checkpoint.has_component("text_encoder_2")) return std::nullopt;
  const auto projection = checkpoint.shape("unet.mid_block.attentions.0.proj_in.weight");
  if (!projection || projection->size() != 2) return std::nullopt;
  ModelSpec spec;
  spec.family = "sd2";
  spec.unet = unet_from_shapes(checkpoint, [](int64_t channels) { return std::max<int64_t>(1, channels / 64); });
  ClipConfig text = clip_from_shapes(checkpoint, "text_encoder", /*open_clip=*/true);
  // The single file has all layers, of which the last is never used; diffusers' folder lacks it.
  if (checkpoint.is_open_clip("text_encoder")) --text.layers;
  spec.text_encoders = {text};
  spec.latent = {0.18215, {{0.298f, 0.207f, 0.208f}, {0.187f, 0.286f, 0.173f}, {-0.158f, 0.189f, 0.264f}, {-0.184f, -0.271f, -0.473f}}};
  spec.native_size_px = 768;
  spec.base_version = "sd_v2";
  spec.architecture = "stable-diffusion-v2-512";
  spec.architecture_v = "stable-diffusion-v2-768-v";
  describe_common(spec, checkpoint, "Stable Diffusion 2.x");
  return spec;
}

}  // namespace lorikeet
