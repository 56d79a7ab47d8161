#include "lora/apply.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "io/tensor_file.h"
#include "lora/models.h"

namespace lorikeet {
namespace {

using testing::golden;
using testing::layer_for;
using testing::relative_error;

constexpr const char* kTarget = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_k";

const LayerMap& sd1() {
  static const LayerMap layers = testing::tiny_model("sd1");
  return layers;
}

std::shared_ptr<const LoadedLora> loaded(const std::string& name) {
  return load_lora(*LoraFile::open(golden("lora/" + name + ".safetensors")), sd1(), "sd1");
}

Tensor input_for(const Layer& layer, int64_t batch) {
  const Tensor& weight = layer.base_weight();
  switch (layer.geometry().op) {
    case LayerOp::conv2d: return torch::randn({batch, weight.size(1), 8, 8});
    case LayerOp::embedding: return torch::randint(weight.size(0), {batch, 7}, torch::kLong);
    case LayerOp::group_norm: return torch::randn({batch, weight.size(0), 8, 8});
    case LayerOp::layer_norm: return torch::randn({batch, 7, weight.size(0)});
    case LayerOp::linear: return torch::randn({batch, 7, weight.size(1)});
  }
  return {};
}

// What the layer gives with the set merged.
Tensor merged_output(const Layer& layer, const LoraTerms& terms, const Tensor& x) {
  const MergedLayer merged = merged_layer(layer, terms);
  const Tensor bias = merged.bias.defined() || !layer.base_bias().defined() ? merged.bias : layer.base_bias().to(torch::kFloat);
  return layer.plain(x, merged.weight, bias);
}

LoraTerms terms_of(const LoraSet& set, const std::string& path) {
  LoraTerms terms;
  for (const LoraUse& use : set)
    if (const auto found = use.lora->adapters.find(path); found != use.lora->adapters.end())
      terms.push_back({found->second, path.starts_with("unet.") ? use.unet : use.te});
  return terms;
}

// A set of every kind, plain LoRA and all others.
std::vector<LoraSet> some_sets() {
  return {{{loaded("a1_kohya_linear_sd1"), 0.8, 0.6}},
          {},
          {{loaded("b1_locon_sd1"), 1, 1}, {loaded("a2_kohya_rank8_fp32_sd1"), -0.3, 0.5}},
          {{loaded("f8_ia3_sd1"), 1, 1}, {loaded("a2_kohya_rank8_fp32_sd1"), 0.7, 0.7}},
          {{loaded("f1_loha_sd1"), 0.7, 0.7}, {loaded("f9_norm_sd1"), 0.5, 0.5}},
          {{loaded("g2_dora_per_output_sd1"), 0.9, 0.9}, {loaded("f7_full_diff_sd1"), 0.4, 0.4}}};
}

TEST(LoraApplier, each_row_of_a_batch_gets_what_its_own_set_merged_would_give) {
  const std::vector<LoraSet> sets = some_sets();
  const auto count = static_cast<int64_t>(sets.size());
  constexpr int64_t kRowsEach = 2;
  LoraApplier applier(sd1());
  applier.attach(sets);
  torch::manual_seed(3);
  int changed = 0;
  for (const auto& [path, layer] : sd1()) {
    const Tensor x = input_for(*layer, count * kRowsEach), y = layer->forward(x);
    changed += layer->run_time_terms().empty() ? 0 : 1;
    for (int64_t i = 0; i < count; ++i) {
      const Tensor wanted = merged_output(*layer, terms_of(sets[static_cast<size_t>(i)], path), x.narrow(0, i * kRowsEach, kRowsEach));
      // float32 sums in another order, over widths of up to 128 · 9.
      EXPECT_LE(relative_error(y.narrow(0, i * kRowsEach, kRowsEach), wanted), 2e-5) << path << " row " << i;
    }
  }
  EXPECT_GT(changed, 150);
  applier.clear();
  for (const auto& [path, layer] : sd1()) EXPECT_TRUE(layer->run_time_terms().empty());
}

TEST(LoraApplier, merging_gives_the_merged_weights_and_clearing_the_base_bit_for_bit) {
  const LoraSet set = some_sets()[3];
  LoraApplier applier(sd1());
  const Layer& layer = *sd1().at(kTarget);
  const Tensor x = input_for(layer, 2), base = layer.forward(x);
  applier.merge(set);
  EXPECT_TRUE(layer.is_merged());
  EXPECT_LE(relative_error(layer.forward(x), merged_output(layer, terms_of(set, kTarget), x)), 1e-5);
  applier.merge({});
  EXPECT_FALSE(layer.is_merged());
  EXPECT_TRUE(torch::equal(layer.forward(x), base));
}

TEST(LoraApplier, merged_or_attached_the_outputs_agree) {
  const LoraSet set = some_sets()[2];
  LoraApplier applier(sd1());
  torch::manual_seed(5);
  for (const auto& [path, layer] : sd1()) {
    const Tensor x = input_for(*layer, 2);
    applier.merge(set, path);
    const Tensor merged = layer->forward(x);
    applier.attach(std::vector<LoraSet>{set}, path);
    EXPECT_LE(relative_error(layer->forward(x), merged), 2e-5) << path;  // float32 sums in another order
  }
  applier.clear();
}

TEST(LoraApplier, a_component_is_changed_alone) {
  LoraApplier applier(sd1());
  applier.merge(some_sets()[0], "text_encoder");
  int unet = 0, text = 0;
  for (const auto& [path, layer] : sd1()) (path.starts_with("unet.") ? unet : text) += layer->is_merged() ? 1 : 0;
  EXPECT_EQ(unet, 0);
  EXPECT_EQ(text, 24);
  applier.clear();
}

TEST(LoraApplier, multipliers_of_0_leave_the_base_and_two_uses_are_summed) {
  LoraApplier applier(sd1());
  const auto lora = loaded("a2_kohya_rank8_fp32_sd1");
  applier.merge({{lora, 1, 0}});
  EXPECT_FALSE(sd1().at(kTarget)->is_merged());
  applier.merge({{lora, 1, 1}, {lora, -1, -1}});
  for (const auto& [path, layer] : sd1()) EXPECT_FALSE(layer->is_merged());
  const Layer& layer = *sd1().at(kTarget);
  const Tensor x = input_for(layer, 1);
  applier.merge({{lora, 1, 0.5}, {lora, 1, 0.25}});
  const Tensor twice = layer.forward(x);
  applier.merge({{lora, 1, 0.75}});
  EXPECT_TRUE(torch::equal(layer.forward(x), twice));
  applier.clear();
}

TEST(LoraApplier, dyn_keeps_the_first_ranks) {
  LoraApplier applier(sd1());
  const auto lora = loaded("a1_kohya_linear_sd1");
  const Layer& layer = *sd1().at(kTarget);
  const Tensor x = input_for(layer, 1);
  applier.merge({{lora, 1, 1, 2}});
  EXPECT_LE(relative_error(layer.forward(x), merged_output(layer, {{lora->adapters.at(kTarget)->truncated(2), 1.0}}, x)), 1e-5);
  applier.merge({{lora, 1, 1, 100}});
  EXPECT_LE(relative_error(layer.forward(x), merged_output(layer, {{lora->adapters.at(kTarget), 1.0}}, x)), 1e-5);
  applier.clear();
}

TEST(LoraApplier, block_weights_multiply_and_zero_leaves_the_base) {
  LoraApplier applier(sd1());
  const auto lora = loaded("b1_locon_sd1");
  const auto blocks = std::make_shared<const BlockWeights>(BlockWeights::parse("0,1,1,0.5,1,1,1,0,1,1,1,1,1,1,1,1,0.25"));
  applier.merge({{lora, 1, 0.8, {}, blocks}});
  int merged = 0, base = 0;
  for (const auto& [path, adapter] : lora->adapters) {
    const Layer& layer = *sd1().at(path);
    const double weight = blocks->at(path);
    EXPECT_EQ(layer.is_merged(), weight != 0) << path;
    (weight != 0 ? merged : base) += 1;
    if (weight == 0) continue;
    const Tensor x = input_for(layer, 1), wanted = merged_output(layer, {{adapter, 0.8 * weight}}, x);
    EXPECT_LE(relative_error(layer.forward(x), wanted), 1e-5) << path;
  }
  EXPECT_EQ(merged, 15);  // of the 24 modules that the file has
  EXPECT_EQ(base, 9);
  applier.clear();
}

// A1111's order: each change is computed from the weight as the ones before left it.
TEST(MergedLayer, is_sequential_for_kinds_that_depend_on_the_weight) {
  const auto ia3 = loaded("f8_ia3_sd1"), lora = loaded("a2_kohya_rank8_fp32_sd1");
  const Layer& layer = *sd1().at(kTarget);
  const Tensor base = layer.base_weight().to(torch::kFloat);
  const auto& factor = *ia3->adapters.at(kTarget);
  const auto& change = *lora->adapters.at(kTarget);
  const Tensor lora_first = merged_layer(layer, {{lora->adapters.at(kTarget), 1}, {ia3->adapters.at(kTarget), 1}}).weight;
  const Tensor ia3_first = merged_layer(layer, {{ia3->adapters.at(kTarget), 1}, {lora->adapters.at(kTarget), 1}}).weight;
  EXPECT_LE(relative_error(lora_first, factor.merge(change.merge(base, 1), 1)), 1e-6);
  EXPECT_LE(relative_error(ia3_first, change.merge(factor.merge(base, 1), 1)), 1e-6);
  EXPECT_GT(relative_error(lora_first, ia3_first), 1e-3);
}

std::string error_of(const LoraFile& file, const LayerMap& layers, const char* family) {
  try {
    load_lora(file, layers, family);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// Rows are merged a few at a time where the weight is large; no row may be left out or taken twice.
TEST(MergedLayer, of_a_large_weight_is_the_merged_weight) {
  const auto layer = layer_for("unet.large", torch::randn({301, 2000}).to(torch::kHalf), Tensor());
  TensorGroup group("module", {{"lora_up.weight", torch::randn({301, 3})}, {"lora_down.weight", torch::randn({3, 2000})}});
  const std::shared_ptr<const Adapter> adapter = load_adapter(group, *layer);
  const Tensor wanted = adapter->merge(layer->base_weight().to(torch::kFloat), 0.7);
  EXPECT_LE(relative_error(merged_layer(*layer, {{adapter, 0.7}}).weight, wanted), 1e-6);
  const Tensor rounded = merged_layer(*layer, {{adapter, 0.7}}, torch::kBFloat16).weight;
  EXPECT_EQ(rounded.scalar_type(), torch::kBFloat16);
  EXPECT_LE(relative_error(rounded, wanted), 4e-3);  // bfloat16 keeps 8 bits
}

TEST(LoadLora, of_another_family_says_so) {
  const auto file = LoraFile::open(golden("lora/e1_kohya_ldm_sdxl.safetensors"));
  const std::string text = error_of(*file, sd1(), "sd1");
  EXPECT_NE(text.find("is made for sdxl; this checkpoint is sd1"), std::string::npos) << text;
}

std::shared_ptr<const LoraFile> file_of(std::map<std::string, Tensor> tensors, const std::string& name = "test") {
  const std::string path = ::testing::TempDir() + "/" + name + ".safetensors";
  write_safetensors(path, tensors, {});
  return LoraFile::open(path);
}

TEST(LoadLora, that_fits_nowhere_names_its_first_module) {
  const std::string text = error_of(*file_of({{"lora_unet_elsewhere.lora_up.weight", torch::zeros({2, 1})},
                                              {"lora_unet_elsewhere.lora_down.weight", torch::zeros({1, 2})}}),
                                    sd1(), "sd1");
  EXPECT_NE(text.find("none of the 1 modules of test matches a layer of this sd1 model (first: lora_unet_elsewhere)"), std::string::npos)
      << text;
}

TEST(LoadLora, takes_one_file_in_several_spellings) {
  const auto up = [] { return torch::ones({32, 1}); };
  const auto down = [] { return torch::ones({1, 32}); };
  const auto lora =
      load_lora(*file_of({{"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_k.lora_up.weight", up()},
                          {"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_k.lora_down.weight", down()},
                          {"unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.up.weight", up()},
                          {"unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.down.weight", down()},
                          {"diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_v.lora_B.weight", up()},
                          {"diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_v.lora_A.weight", down()},
                          {"unet:3:up", up()},
                          {"unet:3:down", down()}}),
                sd1(), "sd1");
  EXPECT_EQ(lora->report.matched, 4);
  EXPECT_EQ(lora->adapters.size(), 4U);
  for (const char* name : {"to_q", "to_k", "to_v", "to_out.0"})
    EXPECT_TRUE(lora->adapters.contains("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1." + std::string(name)));
}

TEST(LoadLora, divides_openclips_fused_projection_among_q_k_and_v) {
  const LayerMap layers = testing::tiny_model("sdxl");
  const Tensor up = torch::randn({48, 2}), down = torch::randn({2, 16});
  const auto lora = load_lora(*file_of({{"lora_te2_transformer_resblocks_1_attn_in_proj.lora_up.weight", up},
                                        {"lora_te2_transformer_resblocks_1_attn_in_proj.lora_down.weight", down}}),
                              layers, "sdxl");
  EXPECT_EQ(lora->report.matched, 1);
  ASSERT_EQ(lora->adapters.size(), 3U);
  const auto& k = *lora->adapters.at("text_encoder_2.text_model.encoder.layers.1.self_attn.k_proj");
  EXPECT_LE(relative_error(k.merge(torch::zeros({16, 16}), 1), torch::matmul(up.narrow(0, 16, 16), down)), 1e-6);
}

TEST(CostRule, merges_long_runs_and_never_batches_of_several_sets) {
  EXPECT_TRUE(prefer_merged({.evaluations = 40, .pictures = 1}));
  EXPECT_FALSE(prefer_merged({.evaluations = 1, .pictures = 1}));
  EXPECT_FALSE(prefer_merged({.evaluations = 40, .pictures = 4, .sets_in_batch = 2}));
  EXPECT_FALSE(prefer_merged({.evaluations = 20, .pictures = 1, .changes = 19}));
  EXPECT_TRUE(prefer_merged({.evaluations = 1, .merged_now = true}));
  EXPECT_TRUE(prefer_merged({.evaluations = 1, .low_rank = false}));
}

}  // namespace
}  // namespace lorikeet
