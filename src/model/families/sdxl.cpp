// Stable Diffusion XL base: CLIP-L and OpenCLIP-bigG, both one layer before the last and without final norm, side by side;
// pooled text and picture sizes as an added embedding. Configuration: Stability-AI/generative-models configs/inference/sd_xl_base.yaml.
#include "model/families/families.h"
#include "model/families/shapes.h"

namespace lorikeet {

std::optional<ModelSpec> recognise_sdxl(const Checkpoint& checkpoint) {
  if (!checkpoint.has("unet.add_embedding.linear_1.weight")) return std::nullopt;
  if (!checkpoint.has_component("text_encoder") || !checkpoint.has_component("text_encoder_2")) return std::nullopt;
  ModelSpec spec;
  spec.family = "sdxl";
  spec.unet = unet_from_shapes(checkpoint, [](int64_t channels) { return std::max<int64_t>(1, channels / 64); });
  ClipConfig first = clip_from_shapes(checkpoint, "text_encoder", /*open_clip=*/false);
  ClipConfig second = clip_from_shapes(checkpoint, "text_encoder_2", /*open_clip=*/true);
  for (ClipConfig* text : {&first, &second}) {
    text->skip = 2;
    text->final_norm = false;
  }
  second.projection = true;
  spec.text_encoders = {first, second};
  // The linear fit that circulates for the SDXL autoencoder (ComfyUI latent_formats, SDXL row).
  spec.latent = {0.13025, {{0.3651f, 0.4232f, 0.4341f}, {-0.2533f, -0.0042f, 0.1068f}, {0.1076f, 0.1111f, -0.0362f}, {-0.3165f, -0.2492f, -0.2188f}}};
  spec.native_size_px = 1024;
  spec.pooled = true;
  spec.zero_empty_negative = true;
  spec.xl_steps = true;
  spec.base_version = "sdxl_base_v1-0";
  spec.architecture = spec.architecture_v = "stable-diffusion-xl-v1-base";
  describe_common(spec, checkpoint, "Stable Diffusion XL");
  if (spec.prediction.empty()) spec.prediction = "epsilon";
  return spec;
}

}  // namespace lorikeet
