#include "lora/file.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "io/tensor_file.h"
#include "lora/models.h"

namespace lorikeet {
namespace {

using testing::golden;

std::string written(const std::string& name, const std::map<std::string, Tensor>& tensors,
                    const std::map<std::string, std::string>& metadata = {}) {
  const std::string path = ::testing::TempDir() + "/" + name + ".safetensors";
  write_safetensors(path, tensors, metadata);
  return path;
}

std::map<std::string, Tensor> one_module(const std::string& module, int64_t inputs) {
  return {{module + ".lora_up.weight", torch::zeros({8, 4})}, {module + ".lora_down.weight", torch::zeros({4, inputs})}};
}

std::string error_of(const std::string& path) {
  try {
    LoraFile::open(path);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(LoraFile, says_when_it_is_given_something_else) {
  const auto expect = [](const std::string& path, const std::string& words) {
    EXPECT_NE(error_of(path).find(words), std::string::npos) << error_of(path);
  };
  expect(golden("sd1/diffusers/unet/diffusion_pytorch_model.safetensors"), "is a checkpoint or a part of one, not a LoRA");
  expect(written("checkpoint", {{"model.diffusion_model.input_blocks.0.0.weight", torch::zeros({4, 4})}}), "is a checkpoint");
  expect(written("kohya_ti", {{"emb_params", torch::zeros({2, 768})}}), "textual-inversion embedding, not a LoRA");
  expect(written("sdxl_ti", {{"clip_l", torch::zeros({2, 768})}, {"clip_g", torch::zeros({2, 1280})}}), "textual-inversion embedding");
  expect(written("diffusers_ti", {{"<cat>", torch::zeros({768})}}), "textual-inversion embedding");
  expect(written("other", {{"a", torch::zeros({2})}, {"b", torch::zeros({2})}}), "none of the tensors that make a LoRA (first key: a)");
  expect(golden("lora/edge_no_tensors.safetensors"), "holds no tensors");
}

TEST(LoraFile, finds_the_family_in_shapes_before_names) {
  const auto family = [](const std::string& module, int64_t inputs) {
    return guess_family(*LoraFile::open(written("family", one_module(module, inputs))));
  };
  EXPECT_EQ(family("lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k", 768), "sd1");
  EXPECT_EQ(family("lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k", 1024), "sd2");
  EXPECT_EQ(family("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_v", 2048), "sdxl");
  EXPECT_EQ(family("lora_te2_text_model_encoder_layers_0_mlp_fc1", 1280), "sdxl");
  EXPECT_EQ(family("lora_te_text_model_encoder_layers_0_mlp_fc1", 1024), "sd2");
  EXPECT_EQ(family("lora_unet_double_blocks_0_img_attn_qkv", 3072), "flux");
  EXPECT_EQ(family("lora_unet_mid_block_attentions_0_proj_in", 1280), "");
}

TEST(LoraFile, sums_up_its_header) {
  auto tensors = one_module("lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k", 768);
  tensors.merge(one_module("lora_te_text_model_encoder_layers_0_mlp_fc1", 768));
  tensors["lora_unet_conv_in.diff"] = torch::zeros({4, 4, 3, 3});
  tensors["bundle_emb.my fox.emb_params"] = torch::ones({2, 768});
  const auto file =
      LoraFile::open(written("summary", tensors,
                             {{"ss_base_model_version", "sd_v1"},
                              {"ss_output_name", "fox_v2"},
                              {"modelspec.trigger_phrase", "fxx fox"},
                              {"ss_tag_frequency", R"({"10_fox": {"fox": 10, "snow": 4}, "2_more": {"snow": 9, "night": 1}})"}}));
  const LoraSummary summary = file->summary();
  EXPECT_EQ(summary.name, "summary");
  EXPECT_EQ(summary.alias, "fox_v2");
  EXPECT_EQ(summary.family, "sd1");
  EXPECT_EQ(summary.claimed_family, "sd1");
  EXPECT_EQ(summary.claimed_base, "sd_v1");
  EXPECT_EQ(summary.modules, 3);
  EXPECT_TRUE(summary.unet && summary.text_encoder);
  EXPECT_EQ(summary.kinds, (std::map<std::string, int>{{"lora", 2}, {"full", 1}}));
  EXPECT_EQ(summary.ranks, (std::map<int64_t, int>{{4, 2}}));
  EXPECT_EQ(summary.embeddings, std::vector<std::string>{"my fox"});
  EXPECT_EQ(summary.trigger_phrase, "fxx fox");
  EXPECT_EQ(summary.tags, (std::vector<std::pair<std::string, int64_t>>{{"snow", 13}, {"fox", 10}, {"night", 1}}));
  EXPECT_TRUE(torch::equal(file->read_embeddings()["my fox"]["emb_params"], torch::ones({2, 768})));
}

TEST(LoraFile, survives_metadata_that_is_no_json) {
  const auto file = LoraFile::open(written("nojson", one_module("lora_unet_conv_in", 4), {{"ss_tag_frequency", "{\"a\": [1, {"}}));
  EXPECT_TRUE(file->summary().tags.empty());
}

TEST(LoraFile, recognises_every_kind_of_the_golden_files_from_the_header) {
  const std::map<std::string, std::string> kinds{
      {"a1_kohya_linear_sd1", "lora"},   {"b2_locon_cp_sd1", "lora"},  {"f1_loha_sd1", "loha"},    {"f5_lokr_both_lowrank_sd1", "lokr"},
      {"f7_full_diff_sd1", "full"},      {"f8_ia3_sd1", "ia3"},        {"f9_norm_sd1", "norm"},    {"f10_glora_sd1", "glora"},
      {"g1_dora_per_input_sd1", "dora"}, {"g3_dora_peft_sd1", "dora"}, {"g4_oft_kohya_sd1", "oft"}};
  for (const auto& [name, kind] : kinds) {
    const auto file = LoraFile::open(golden("lora/" + name + ".safetensors"));
    EXPECT_EQ(file->summary().kinds, (std::map<std::string, int>{{kind, static_cast<int>(file->modules().size())}})) << name;
  }
}

TEST(LoraFile, trusts_a_sound_hash_of_its_metadata_and_computes_it_else) {
  const auto tensors = one_module("lora_unet_conv_in", 4);
  const std::string stated(64, 'a');
  EXPECT_EQ(LoraFile::open(written("h1", tensors, {{"sshs_model_hash", stated}}))->hash(), stated);
  const std::string nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
  const std::string computed = LoraFile::open(written("h2", tensors))->hash();
  EXPECT_EQ(computed.size(), 64U);
  EXPECT_EQ(LoraFile::open(written("h3", tensors, {{"sshs_model_hash", nothing}}))->hash(), computed);
}

double alpha_of(const LoraFile& file, const std::string& module) {
  for (const auto& [name, tensor] : file.read(module))
    if (name == "alpha") return tensor.item<double>();
  return -1;
}

TEST(PeftConfig, gives_alpha_from_the_files_metadata_by_component_and_pattern) {
  std::map<std::string, Tensor> tensors;
  for (const char* module : {"unet.conv_in", "unet.a.to_q", "text_encoder.b"}) {
    tensors[std::string(module) + ".lora_A.weight"] = torch::zeros({4, 8});
    tensors[std::string(module) + ".lora_B.weight"] = torch::zeros({8, 4});
  }
  const auto file = LoraFile::open(
      written("peft", tensors, {{"lora_adapter_metadata", R"({"unet.lora_alpha": 8, "unet.alpha_pattern": {"^a\\.to_q": 2}, "unet.r": 4,
                                              "text_encoder.lora_alpha": 6, "text_encoder.use_rslora": true})"}}));
  EXPECT_EQ(alpha_of(*file, "unet.conv_in"), 8);
  EXPECT_EQ(alpha_of(*file, "unet.a.to_q"), 2);
  EXPECT_EQ(alpha_of(*file, "text_encoder.b"), 12);  // 6 / √4 = 12 / 4
}

// PEFT 0.8: re.match(r".*\.KEY$", module), the first of the keys in the file's order.
TEST(PeftConfig, patterns_are_regular_expressions_and_the_first_that_fits_counts) {
  const std::vector<std::string> modules{"unet.a.attn1.to_q", "unet.a.attn2.to_q", "unet.a.attn2.to_k", "unet.b.to_k", "unet.b.to_kk", "unet.b.c(d"};
  std::map<std::string, Tensor> tensors;
  for (const std::string& module : modules) {
    tensors[module + ".lora_A.weight"] = torch::zeros({4, 8});
    tensors[module + ".lora_B.weight"] = torch::zeros({8, 4});
  }
  const auto file = LoraFile::open(written("patterns", tensors, {{"lora_adapter_metadata", R"({"unet.lora_alpha": 8, "unet.alpha_pattern":
      {"attn2.to_k": 1, "to_k": 2, "attn[12]\\.to_q|nothing": 3, "to_q": 4, "c(d": 5, "(.*)*x{9999}(y+)+$": 6}})"}}));
  const std::vector<double> wanted{3, 3, 1, 2, 8, 5};
  for (size_t i = 0; i < modules.size(); ++i) EXPECT_EQ(alpha_of(*file, modules[i]), wanted[i]) << modules[i];
}

TEST(PeftConfig, that_is_broken_is_an_error) {
  const auto folder = std::filesystem::path(::testing::TempDir()) / "broken_peft";
  std::filesystem::create_directories(folder);
  write_safetensors(folder / "adapter_model.safetensors", {{"base_model.model.conv_in.lora_A.weight", torch::zeros({4, 8})}}, {});
  std::ofstream(folder / "adapter_config.json") << "{\"lora_alpha\": ";
  EXPECT_NE(error_of(folder / "adapter_model.safetensors").find("adapter_config.json beside the LoRA is not a JSON object"),
            std::string::npos);
}

TEST(LoraFile, gives_cloneofsimos_embeddings) {
  auto tensors = one_module("unet.conv_in", 4);
  tensors["<s1>"] = torch::ones({768});
  const auto file = LoraFile::open(written("clone", tensors, {{"<s1>", "<embed>"}}));
  EXPECT_TRUE(torch::equal(file->read_embeddings()["<s1>"]["emb_params"], torch::ones({1, 768})));
}

}  // namespace
}  // namespace lorikeet
