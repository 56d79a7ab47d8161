// Which layers a run trains, against kohya's own lists of modules for the full-size models.
#include "training/targets.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "lora/write.h"
#include "model/clip.h"
#include "model/tiny.h"
#include "model/unet.h"

namespace lorikeet {
namespace {

using testing::error_of;

// Weights that take no memory, whatever their size.
class NoWeights : public WeightSource {
 public:
  Tensor find(const std::string&) const override { return {}; }
  Tensor find_shaped(const std::string&, const Shape& shape) const override {
    Shape known = shape;
    for (int64_t& side : known) side = side < 0 ? 1280 : side;
    return torch::zeros({}).expand(known);
  }
  std::string describe(const std::string& name) const override { return name; }
};

struct Widths {
  UNetConfig unet;
  std::vector<ClipConfig> text_encoders;
};

Widths sd15() { return {UNetConfig{}, {ClipConfig{}}}; }

// Stability-AI/generative-models, configs/inference/sd_xl_base.yaml.
Widths sdxl() {
  const UNetConfig unet{.channels = {320, 640, 1280},
                        .depth = {0, 2, 10},
                        .middle_depth = 10,
                        .heads = {5, 10, 20},
                        .context = 2048,
                        .linear_projection = true,
                        .added_width = 2816};
  const ClipConfig second{
      .component = "text_encoder_2", .width = 1280, .layers = 32, .heads = 20, .intermediate = 5120, .projection = true};
  return {unet, {ClipConfig{}, second}};
}

// The layers of a full-size model, on the device that has none.
LayerMap layers_of(const Widths& widths) {
  LayerMap layers;
  const NoWeights source;
  const Weights weights(source, layers, Compute{torch::kMeta, torch::kFloat});
  UNet(widths.unet, weights / "unet");
  for (const ClipConfig& text : widths.text_encoders) ClipTextModel(text, weights / text.component);
  return layers;
}

const LayerMap& sd15_layers() {
  static const LayerMap layers = layers_of(sd15());
  return layers;
}

TrainConfig with_targets(const std::string& targets) {
  TrainConfig config;
  config.targets = targets;
  return config;
}

std::set<std::string> keys(const std::map<std::string, int64_t>& selected, size_t text_encoders) {
  std::set<std::string> keys;
  for (const auto& [path, rank] : selected) keys.insert(kohya_style(text_encoders).module(path));
  return keys;
}

std::set<std::string> kohyas(const std::string& model) {
  std::ifstream stream(std::string(LORIKEET_GOLDEN_DIR) + "/sd15_full/" + model + "_lora_modules.json");
  std::set<std::string> names;
  for (const auto& entry : nlohmann::json::parse(stream)) names.insert(entry[0].get<std::string>());
  return names;
}

TEST(Targets, OfAttentionAndFeedForwardAreKohyasForSd15) {
  const auto selected = selected_layers(sd15_layers(), with_targets("attention+ff"));
  EXPECT_EQ(selected.size(), 264U);
  EXPECT_EQ(keys(selected, 1), kohyas("sd15"));
}

TEST(Targets, OfAttentionAndFeedForwardAreKohyasForSdxl) {
  EXPECT_EQ(keys(selected_layers(layers_of(sdxl()), with_targets("attention+ff")), 2), kohyas("sdxl"));
}

// 16 transformer blocks of 4 projections; attention also attn1, and 12 text layers.
TEST(Targets, OfAttentionAloneAreItsProjections) {
  EXPECT_EQ(selected_layers(sd15_layers(), with_targets("cross-attention")).size(), 16U * 4);
  EXPECT_EQ(selected_layers(sd15_layers(), with_targets("attention")).size(), 16U * 8 + 12 * 4);
}

TEST(Targets, OfAllHaveEveryConvolutionAndTimeEmbedding) {
  const auto all = selected_layers(sd15_layers(), with_targets("all"));
  for (const char* path : {"unet.conv_in", "unet.conv_out", "unet.time_embedding.linear_1", "unet.down_blocks.0.downsamplers.0.conv",
                           "unet.up_blocks.0.upsamplers.0.conv", "unet.down_blocks.1.resnets.0.conv_shortcut",
                           "unet.mid_block.resnets.1.time_emb_proj", "text_encoder.text_model.encoder.layers.11.mlp.fc2"})
    EXPECT_TRUE(all.contains(path)) << path;
  EXPECT_FALSE(all.contains("unet.conv_norm_out"));
  EXPECT_FALSE(all.contains("text_encoder.text_model.embeddings.token_embedding"));
  TrainConfig locon;
  locon.kind = "locon";
  EXPECT_EQ(selected_layers(sd15_layers(), locon), all);
}

TEST(Targets, GrowFromPresetToPreset) {
  std::set<std::string> smaller;
  for (const TargetPreset& preset : target_presets()) {
    std::set<std::string> paths;
    for (const auto& [path, rank] : selected_layers(sd15_layers(), with_targets(std::string(preset.name)))) paths.insert(path);
    EXPECT_GT(paths.size(), smaller.size()) << preset.name;
    for (const std::string& path : smaller) EXPECT_TRUE(paths.contains(path)) << path;
    smaller = paths;
  }
}

TEST(Targets, KeepToThePartsThatAreTrained) {
  TrainConfig config;
  config.train_text_encoder = false;
  EXPECT_EQ(selected_layers(sd15_layers(), config).size(), 192U);
  config.train_text_encoder = true;
  config.train_unet = false;
  EXPECT_EQ(selected_layers(sd15_layers(), config).size(), 72U);
}

TEST(Targets, MayBeARegularExpression) {
  EXPECT_EQ(selected_layers(sd15_layers(), with_targets("regex:attn2\\.to_[kv]$")).size(), 16U * 2);
  // Norms have no matrix that a low rank could change; whole differences fit them.
  TrainConfig norms = with_targets("regex:unet\\.conv_norm_out");
  EXPECT_NE(error_of([&] { selected_layers(sd15_layers(), norms); }), "");
  norms.kind = "full";
  EXPECT_EQ(selected_layers(sd15_layers(), norms).size(), 1U);
}

TEST(Ranks, OfLargerConvolutionsAreTheirOwn) {
  TrainConfig config = with_targets("all");
  config.rank = 16;
  config.conv_rank = 4;
  const auto ranks = selected_layers(sd15_layers(), config);
  EXPECT_EQ(ranks.at("unet.conv_in"), 4);
  EXPECT_EQ(ranks.at("unet.mid_block.resnets.0.conv1"), 4);
  EXPECT_EQ(ranks.at("unet.down_blocks.1.resnets.0.conv_shortcut"), 16);  // 1×1
  EXPECT_EQ(ranks.at("unet.mid_block.attentions.0.proj_in"), 16);
}

TEST(Ranks, OfBlocksTakeTheLastMatchAndLeaveOutRank0) {
  TrainConfig config;
  config.block_ranks = {"up_blocks=32", "up_blocks\\.1=2", "text_encoder=0"};
  const auto ranks = selected_layers(sd15_layers(), config);
  EXPECT_EQ(ranks.size(), 192U);
  EXPECT_EQ(ranks.at("unet.up_blocks.2.attentions.0.proj_in"), 32);
  EXPECT_EQ(ranks.at("unet.up_blocks.1.attentions.0.proj_in"), 2);
  EXPECT_EQ(ranks.at("unet.down_blocks.1.attentions.0.proj_in"), config.rank);
}

TEST(Targets, ThatAreWrongAreAnErrorThatShowsPaths) {
  const auto error = [](const TrainConfig& config) { return error_of([&] { selected_layers(sd15_layers(), config); }); };
  EXPECT_NE(error(with_targets("atention")).find("did you mean attention"), std::string::npos);
  EXPECT_NE(error(with_targets("regex:attn2[")).find("no regular expression"), std::string::npos);
  const std::string nothing = error(with_targets("regex:attn3"));
  EXPECT_NE(nothing.find("select none of the"), std::string::npos);
  EXPECT_NE(nothing.find("unet.down_blocks"), std::string::npos) << nothing;
  TrainConfig config;
  config.block_ranks = {"attn3=4"};
  EXPECT_NE(error(config).find("meets none"), std::string::npos);
  for (const char* text : {"attn2", "=4", "attn2=", "attn2=-1", "attn2=x"}) {
    config.block_ranks = {text};
    EXPECT_NE(error(config).find("no rank of a block"), std::string::npos) << text;
  }
  config.block_ranks = {".=0"};
  EXPECT_NE(error(config).find("nothing is left"), std::string::npos);
  config.block_ranks.clear();
  config.train_unet = config.train_text_encoder = false;
  EXPECT_NE(error(config).find("neither"), std::string::npos);
}

}  // namespace
}  // namespace lorikeet
