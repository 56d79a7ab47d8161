#include "model/tiny.h"

#include "io/tensor_file.h"
#include "model/fresh_weights.h"

namespace lorikeet::testing {
namespace {

ModelSpec tiny_spec(std::string_view family) {
  ModelSpec spec;
  spec.family = family;
  spec.prediction = "epsilon";
  spec.vae = VaeConfig{.channels = {8, 16, 16, 16}, .groups = 4};
  const ClipConfig clip_l{.width = 16, .layers = 3, .heads = 2, .intermediate = 32};
  const ClipConfig open_clip{.width = 32, .layers = 3, .heads = 4, .intermediate = 48, .quick_gelu = false, .padding_id = 0};
  UNetConfig unet{.channels = {16, 32, 32, 32}, .heads = {2, 4, 4, 4}, .groups = 8};
  if (family == "sd1") {
    spec.text_encoders = {clip_l};
    unet.context = 16;
  } else if (family == "sd2") {
    spec.text_encoders = {open_clip};
    unet.context = 32;
    unet.linear_projection = true;
  } else {
    spec.text_encoders = {clip_l, open_clip};
    for (ClipConfig& text : spec.text_encoders) text.skip = 2, text.final_norm = false;
    spec.text_encoders[1].component = "text_encoder_2";
    spec.text_encoders[1].projection = true;
    unet = UNetConfig{.channels = {16, 32, 32},
                      .depth = {0, 1, 2},
                      .middle_depth = 2,
                      .heads = {2, 4, 4},
                      .context = 48,
                      .linear_projection = true,
                      .groups = 8,
                      .added_width = 24 + 6 * 8,
                      .time_id_width = 8};
    spec.latent.scale = 0.13025;
  }
  spec.unet = unet;
  return spec;
}

}  // namespace

TinyModel tiny_model(std::string_view family, bool inpainting, uint64_t seed) {
  ModelSpec spec = tiny_spec(family);
  if (inpainting) spec.unet.in_channels = 9;
  FreshWeights fresh(seed);
  LayerMap layers;
  const Weights weights(fresh, layers, Compute{});
  for (const ClipConfig& text : spec.text_encoders) {
    // Not square, so that a transposed one is seen.
    if (text.projection) fresh.find_shaped(text.component + ".text_projection.weight", {24, text.width});
    ClipTextModel(text, weights / text.component);
  }
  UNet(spec.unet, weights / "unet");
  Vae(spec.vae, weights / "vae");
  return {spec, fresh.made()};
}

Tensors file_of(const TinyModel& model) { return single_file_weights(model.weights, model.spec); }

void write_single_file(const std::filesystem::path& path, const TinyModel& model, const Tensors& tensors) {
  write_safetensors(path, tensors, {{"lorikeet.config", config_text(model.spec)}});
}

}  // namespace lorikeet::testing
