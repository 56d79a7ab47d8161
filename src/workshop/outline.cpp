#include "workshop/outline.h"

#include <vector>

#include "base/text.h"

namespace lorikeet {
namespace {

// Has every parameter that is asked for, in that shape, and no memory for it.
class ShapesOnly : public WeightSource {
 public:
  Tensor find(const std::string&) const override { return {}; }
  Tensor find_shaped(const std::string&, const Shape& shape) const override {
    Shape whole = shape;
    for (int64_t& side : whole)
      if (side < 0) side = 1280;  // SDXL's projected width, the only size that a network leaves open
    return torch::zeros({}).expand(whole);
  }
  std::string describe(const std::string& name) const override { return name; }
};

LayerMap layers_of(const WeightSource& source, const UNetConfig& unet, const std::vector<ClipConfig>& text_encoders) {
  torch::NoGradGuard no_grad;
  LayerMap layers;
  const Weights weights(source, layers, Compute{torch::kMeta, torch::kFloat});
  for (const ClipConfig& text : text_encoders) ClipTextModel(text, weights / text.component);
  UNet(unet, weights / "unet");
  return layers;
}

struct KnownModel {
  std::string_view family;
  UNetConfig unet;
  std::vector<ClipConfig> text_encoders;
};

// Configurations: CompVis/stable-diffusion v1-inference.yaml, Stability-AI/stablediffusion v2-inference-v.yaml (all 24 layers of the text
// encoder), Stability-AI/generative-models sd_xl_base.yaml.
const std::vector<KnownModel>& known_models() {
  static const std::vector<KnownModel> models{
      {"sd1", {}, {ClipConfig{}}},
      {"sd2",
       {.heads = {5, 10, 20, 20}, .context = 1024, .linear_projection = true},
       {ClipConfig{.width = 1024, .layers = 24, .heads = 16, .intermediate = 4096, .quick_gelu = false}}},
      {"sdxl",
       {.channels = {320, 640, 1280},
        .depth = {0, 2, 10},
        .middle_depth = 10,
        .heads = {5, 10, 20},
        .context = 2048,
        .linear_projection = true,
        .added_width = 2816},
       {ClipConfig{}, ClipConfig{.component = "text_encoder_2",
                                 .width = 1280,
                                 .layers = 32,
                                 .heads = 20,
                                 .intermediate = 5120,
                                 .quick_gelu = false,
                                 .projection = true}}}};
  return models;
}

}  // namespace

LayerMap outline(const Checkpoint& checkpoint, const ModelSpec& spec) { return layers_of(checkpoint, spec.unet, spec.text_encoders); }

LayerMap known_layers(std::string_view family) {
  LayerMap layers;
  for (const bool own : {true, false})
    for (const KnownModel& model : known_models())
      if ((!family.empty() && starts_with(family, model.family)) == own)
        layers.merge(layers_of(ShapesOnly(), model.unet, model.text_encoders));
  return layers;
}

}  // namespace lorikeet
