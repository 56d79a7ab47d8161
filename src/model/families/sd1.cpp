// Stable Diffusion 1.x: CLIP-L, 8 heads at every level, convolutional projections.
// Configuration: CompVis/stable-diffusion configs/stable-diffusion/v1-inference.yaml.
#include "model/families/families.h"
#include "model/families/shapes.h"

namespace lorikeet {

std::optional<ModelSpec> recognise_sd1(const Checkpoint& checkpoint) {
  if (!checkpoint.has_component("unet") || checkpoint.has("unet.add_embedding.linear_1.weight")) return std::nullopt;
  if (!checkpoint.has_component("text_encoder") || checkpoint.is_open_clip("text_encoder") || checkpoint.has_component("text_encoder_2")) {
    return std::nullopt;
  }
  const auto projection = checkpoint.shape("unet.mid_block.attentions.0.proj_in.weight");
  if (!projection || projection->size() != 4) return std::nullopt;
  ModelSpec spec;
  spec.family = "sd1";
  spec.unet = unet_from_shapes(checkpoint, [](int64_t) -> int64_t { return 8; });
  spec.text_encoders = {clip_from_shapes(checkpoint, "text_encoder", /*open_clip=*/false)};
  // latent -> RGB: the linear fit that circulates for this autoencoder (keturn, huggingface.co forum 2022; used by ComfyUI, A1111).
  spec.latent = {0.18215, {{0.298f, 0.207f, 0.208f}, {0.187f, 0.286f, 0.173f}, {-0.158f, 0.189f, 0.264f}, {-0.184f, -0.271f, -0.473f}}};
  spec.base_version = "sd_v1";
  spec.architecture = spec.architecture_v = "stable-diffusion-v1";
  describe_common(spec, checkpoint, "Stable Diffusion 1.x");
  if (spec.prediction.empty()) spec.prediction = "epsilon";
  return spec;
}

}  // namespace lorikeet
