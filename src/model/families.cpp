// The list of model families, and of those that we can name but not run.
#include "model/families/families.h"

#include "base/error.h"
#include "base/text.h"

namespace lorikeet {

namespace {

constexpr ModelFamily kFamilies[] = {
    {"sd1", "Stable Diffusion 1.x", recognise_sd1},
    {"sd2", "Stable Diffusion 2.x", recognise_sd2},
    {"sdxl", "Stable Diffusion XL", recognise_sdxl},
};

// A part of a key that only this family has.
struct ForeignFamily {
  std::string_view key_part, label;
};
constexpr ForeignFamily kForeign[] = {
    {"joint_blocks.", "Stable Diffusion 3"},
    {"joint_transformer_blocks.", "Stable Diffusion 3"},
    {"double_blocks.", "Flux"},
    {"single_transformer_blocks.", "Flux"},
    {"down_blocks.0.attentions.0.attn_add_k", "Kandinsky"},
    {"cap_embedder", "Lumina"},
    {"adaln_single", "PixArt"},
    {"text_encoders.t5xxl", "a T5-conditioned model (Stable Diffusion 3 or Flux)"},
    {"clf.1.weight", "Stable Cascade"},
    {"controlnet_cond_embedding", "a ControlNet, not a checkpoint"},
    {"input_hint_block", "a ControlNet, not a checkpoint"},
    {"motion_modules.", "an AnimateDiff motion module, not a checkpoint"},
    {"image_proj.", "an IP-Adapter, not a checkpoint"},
};

constexpr std::string_view kLoraParts[] = {"lora_down", "lora_up", "lora_A", "lora_B", "_lora.", "hada_w1", "lokr_w", "oft_blocks", "oft_diag", ".lora."};

std::string supported() { return "supported are SD1.x, SD2.x, SDXL base and their inpainting variants"; }

[[noreturn]] void refuse(const Checkpoint& checkpoint) {
  for (const auto part : kLoraParts) {
    if (checkpoint.has_key_with(part)) {
      throw Error(ErrorKind::bad_input, "the file is a LoRA, not a checkpoint",
                  "put it into the LoRA folder and write <lora:" + checkpoint.path().stem().string() + ":1> into the prompt");
    }
  }
  if (checkpoint.has_component("text_encoder_2") && !checkpoint.has_component("text_encoder")) {
    throw Error(ErrorKind::unsupported, "the checkpoint is of the family SDXL refiner, which is not supported", supported());
  }
  for (const auto& foreign : kForeign) {
    if (checkpoint.has_key_with(foreign.key_part)) {
      throw Error(ErrorKind::unsupported, "the file is of the family " + std::string(foreign.label) + ", which is not supported", supported());
    }
  }
  if (checkpoint.has_component("vae") && !checkpoint.has_component("unet")) {
    throw Error(ErrorKind::bad_input, "the file is a VAE, not a checkpoint", "give it with --vae, beside a checkpoint");
  }
  if (checkpoint.has_component("unet") && !checkpoint.has_component("text_encoder")) {
    throw Error(ErrorKind::unsupported, "the file has a U-Net but no text encoder that is known", supported() + ", as complete checkpoints");
  }
  if (checkpoint.has_key_with("string_to_param") || checkpoint.has_key_with("emb_params") || checkpoint.has_key("clip_l")) {
    throw Error(ErrorKind::bad_input, "the file is a textual-inversion embedding, not a checkpoint", "put it into the embeddings folder");
  }
  throw Error(ErrorKind::bad_input, "the file is no Stable Diffusion checkpoint (no U-Net was found in it)", supported());
}

}  // namespace

std::span<const ModelFamily> model_families() { return kFamilies; }

ModelSpec recognise_model(const Checkpoint& checkpoint) {
  return with_context("while recognising " + checkpoint.path().string(), [&] {
    for (const auto& family : kFamilies) {
      if (auto spec = family.recognise(checkpoint)) return *std::move(spec);
    }
    refuse(checkpoint);
  });
}

}  // namespace lorikeet
