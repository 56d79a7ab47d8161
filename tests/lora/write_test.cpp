// Written LoRA files: keys as the programs that made the reference files wrote them, and back again to the same change of the weights.
#include "lora/write.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/scratch.h"
#include "base/text.h"
#include "io/hash.h"
#include "io/tensor_file.h"
#include "lora/apply.h"
#include "lora/models.h"
#include "lora/naming.h"

namespace lorikeet::write_test {
namespace {

using testing::error_of;
using testing::golden;
using testing::read_json;
using testing::tiny_model;

std::string scratch(const std::string& name) { return ::testing::TempDir() + "/" + name; }

std::vector<NamedTensor> low_rank(const Layer& layer, int64_t rank, double alpha) {
  const Tensor& weight = layer.base_weight();
  Shape down = weight.sizes().vec();
  down[0] = rank;
  const Shape up = weight.dim() == 4 ? Shape{weight.size(0), rank, 1, 1} : Shape{weight.size(0), rank};
  return {{"lora_down.weight", torch::randn(down)}, {"lora_up.weight", torch::randn(up)}, {"alpha", torch::tensor(alpha, torch::kFloat)}};
}

// One adapter on each matrix and convolution whose path holds one of the parts; ranks and alphas differ.
LoraContents contents_for(const LayerMap& layers) {
  torch::manual_seed(3);
  LoraContents contents;
  int64_t i = 0;
  for (const auto& [path, layer] : layers) {
    if (layer->geometry().op != LayerOp::linear && layer->geometry().op != LayerOp::conv2d) continue;
    if (path.find("mid_block") == std::string::npos && path.find("layers.0.") == std::string::npos) continue;
    // √7 is no number of half precision.
    contents.modules[path] = low_rank(*layer, 2 + i % 3, i % 2 == 0 ? 4 : std::sqrt(7.0));
    ++i;
  }
  return contents;
}

Tensor delta_of(const Layer& layer, const std::vector<NamedTensor>& tensors) {
  TensorGroup group("module", tensors);
  return load_adapter(group, layer)->merge(torch::zeros(layer.base_weight().sizes()), 1);
}

// Everything in the file belongs to a layer, and changes it exactly as the contents say.
void expect_same(const std::string& path, const LoraContents& contents, const LayerMap& layers) {
  const auto loaded = load_lora(*LoraFile::open(path), layers, "");
  EXPECT_TRUE(loaded->report.unmatched.empty() && loaded->report.unused.empty()) << path;
  ASSERT_EQ(loaded->adapters.size(), contents.modules.size());
  for (const auto& [layer, tensors] : contents.modules) {
    const Tensor wanted = delta_of(*layers.at(layer), tensors);
    EXPECT_TRUE(torch::equal(loaded->adapters.at(layer)->merge(torch::zeros_like(wanted), 1), wanted)) << layer;
  }
}

TEST(EveryStyle, IsReadBackToTheSameChangeBitForBit) {
  const std::map<std::string, std::vector<const char*>> styles{{"sd1", {"kohya", "peft"}}, {"sdxl", {"kohya-xl", "peft"}}};
  for (const auto& [model, names] : styles) {
    const LayerMap layers = tiny_model(model);
    const LoraContents contents = contents_for(layers);
    ASSERT_GT(contents.modules.size(), 20U);
    for (const char* name : names) {
      SCOPED_TRACE(model + " " + name);
      const std::string path = scratch("style_" + model + name + ".safetensors");
      write_lora(path, contents, find_lora_style(name), torch::kFloat);
      expect_same(path, contents, layers);
    }
  }
}

// The alphas stand twice in a PEFT file's surroundings: in its metadata, and in the config beside it.
TEST(PeftStyle, NeedsNotTheConfigBesideIt) {
  const LayerMap layers = tiny_model("sdxl");
  const LoraContents contents = contents_for(layers);
  const std::string path = scratch("peft_alone.safetensors"), beside = scratch("peft_alone.adapter_config.json");
  write_lora(path, contents, find_lora_style("peft"), torch::kFloat);
  std::ifstream stream(beside);
  const auto config = nlohmann::json::parse(stream);
  EXPECT_EQ(config.at("target_modules").size(), contents.modules.size());
  EXPECT_GT(config.at("rank_pattern").size(), 0U);
  EXPECT_GT(config.at("alpha_pattern").size(), 0U);
  ASSERT_TRUE(std::filesystem::remove(beside));
  expect_same(path, contents, layers);
}

TEST(PeftStyle, HoldsDora) {
  const LayerMap layers = tiny_model("sd1");
  LoraContents contents;
  for (const char* path : {"unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q", "unet.mid_block.resnets.0.conv1"}) {
    const Layer& layer = *layers.at(path);
    contents.modules[path] = low_rank(layer, 2, 2);
    Shape magnitude(static_cast<size_t>(layer.base_weight().dim()), 1);
    magnitude[0] = layer.base_weight().size(0);
    contents.modules[path].push_back({"dora_scale", torch::rand(magnitude) + 0.5});
  }
  const std::string path = scratch("peft_dora.safetensors");
  write_lora(path, contents, find_lora_style("peft"), torch::kFloat);
  expect_same(path, contents, layers);
  EXPECT_TRUE(TensorFile::open(path)->contains("unet.mid_block.resnets.0.conv1.lora_magnitude_vector"));
}

// A file that another program wrote, read and written by us, has that program's keys, types and numbers again.
void expect_as_written_by_others(const std::string& file, const std::string& model, std::string_view style) {
  SCOPED_TRACE(file);
  const auto loaded = load_lora(*LoraFile::open(golden("lora/" + file + ".safetensors")), tiny_model(model), "");
  LoraContents contents;
  for (const auto& [path, adapter] : loaded->adapters) contents.modules[path] = adapter->tensors();
  const std::string path = scratch("again_" + file + ".safetensors");
  write_lora(path, contents, find_lora_style(style), torch::kHalf);
  const auto ours = TensorFile::open(path), theirs = TensorFile::open(golden("lora/" + file + ".safetensors"));
  for (const auto& [key, entry] : theirs->tensors()) {
    ASSERT_TRUE(ours->contains(key)) << key;
    EXPECT_EQ(ours->tensors().at(key).stored_dtype, entry.stored_dtype) << key;
    EXPECT_TRUE(torch::equal(ours->read(key), theirs->read(key))) << key;
  }
  EXPECT_EQ(ours->tensors().size(), theirs->tensors().size());
}

TEST(EveryStyle, WritesWhatTheReferenceProgramsWrote) {
  expect_as_written_by_others("a1_kohya_linear_sd1", "sd1", "kohya");
  expect_as_written_by_others("e1_kohya_ldm_sdxl", "sdxl", "kohya-xl");
  expect_as_written_by_others("d1_peft_sd1", "sd1", "peft");
  expect_as_written_by_others("d3_peft_sdxl", "sdxl", "peft");
}

// kohya's own lists for the full-size models; deeper blocks than the tiny ones' are spelled by the same rule.
TEST(KohyaStyles, SpellTheModulesOfTheFullSizeModels) {
  const std::map<std::string, std::string> styles{{"sd15", "kohya"}, {"sdxl", "kohya-xl"}};
  for (const auto& [model, style] : styles) {
    std::map<std::string, std::string> spelled;
    for (const auto& [path, layer] : tiny_model(model == "sd15" ? "sd1" : "sdxl")) {
      for (int deep = 0; deep < 32; ++deep) {
        std::string deeper = replace_all(path, ".transformer_blocks.0.", ".transformer_blocks." + std::to_string(deep) + ".");
        deeper = replace_all(deeper, ".layers.0.", ".layers." + std::to_string(deep) + ".");
        const std::string key = find_lora_style(style).module(deeper);
        const auto [entry, fresh] = spelled.try_emplace(key, deeper);
        EXPECT_TRUE(key.empty() || entry->second == deeper) << key << " is " << deeper << " and " << entry->second;
      }
    }
    for (const auto& entry : read_json("sd15_full/" + model + "_lora_modules.json")) EXPECT_TRUE(spelled.contains(entry[0])) << entry[0];
  }
}

// kohya's rule (library/train_util.py, precalculate_safetensors_hashes): the second hash is of 64 KiB of the file with its ss_ entries
// alone.
TEST(Hashes, AreThoseThatAnotherProgramComputes) {
  LoraContents contents;
  const auto layer = testing::layer_for("unet.mid_block.attentions.0.proj_in", torch::zeros({512, 512}), Tensor());
  contents.modules[layer->path()] = low_rank(*layer, 600, 600);  // over 1 MiB
  contents.metadata = {{"ss_network_dim", "600"}, {"modelspec.title", "a title"}};
  const std::string path = scratch("hashed.safetensors"), reduced = scratch("reduced.safetensors");
  write_lora(path, contents, find_lora_style("kohya"), torch::kFloat);
  const auto file = TensorFile::open(path);
  std::map<std::string, Tensor> tensors;
  for (const auto& [key, entry] : file->tensors()) tensors[key] = file->read(key);
  write_safetensors(reduced, tensors, {{"ss_network_dim", "600"}});
  EXPECT_EQ(file->metadata().at("sshs_model_hash"), auto_v3(path));
  EXPECT_EQ(file->metadata().at("modelspec.hash_sha256"), "0x" + auto_v3(path));
  EXPECT_EQ(file->metadata().at("sshs_legacy_hash"), legacy_model_hash(reduced));
  EXPECT_EQ(file->metadata().at("modelspec.title"), "a title");
}

TEST(Writing, NamesTheModuleThatIsNotFiniteAndKeepsTheOldFile) {
  const auto layer = testing::layer_for("unet.mid_block.attentions.0.proj_in", torch::zeros({6, 5}), Tensor());
  LoraContents contents;
  contents.modules[layer->path()] = low_rank(*layer, 2, 2);
  const std::string path = scratch("finite.safetensors");
  write_lora(path, contents, find_lora_style("kohya"), torch::kFloat);
  const std::string hash = sha256_file(path);
  contents.modules[layer->path()][1].tensor[3][1] = std::numeric_limits<float>::quiet_NaN();
  const auto write = [&](Dtype dtype) { return error_of([&] { write_lora(path, contents, find_lora_style("kohya"), dtype); }); };
  EXPECT_NE(write(torch::kFloat).find("lora_unet_mid_block_attentions_0_proj_in.lora_up.weight holds NaN"), std::string::npos);
  contents.modules[layer->path()][1].tensor[3][1] = 1e5;
  EXPECT_NE(write(torch::kHalf).find("too large for float16"), std::string::npos);
  EXPECT_EQ(sha256_file(path), hash);
  EXPECT_EQ(write(torch::kBFloat16), "");
}

TEST(Writing, KeepsAnAlphaThatHalfPrecisionWouldRound) {
  const LayerMap layers = tiny_model("sd1");
  const std::string layer = "unet.mid_block.attentions.0.proj_in";
  for (const auto& [alpha, type] : {std::pair(8.0, "F16"), {std::sqrt(7.0), "F32"}}) {
    LoraContents contents;
    contents.modules[layer] = low_rank(*layers.at(layer), 2, alpha);
    const std::string path = scratch("alpha.safetensors");
    write_lora(path, contents, find_lora_style("kohya"), torch::kHalf);
    EXPECT_EQ(TensorFile::open(path)->tensors().at("lora_unet_mid_block_attentions_0_proj_in.alpha").stored_dtype, type);
    EXPECT_EQ(load_lora(*LoraFile::open(path), layers, "")->adapters.at(layer)->alpha(), static_cast<float>(alpha));
  }
}

TEST(Writing, BundlesEmbeddingsInKohyasFormatOnly) {
  const LayerMap layers = tiny_model("sd1");
  LoraContents contents;
  contents.modules["unet.mid_block.attentions.0.proj_in"] = low_rank(*layers.at("unet.mid_block.attentions.0.proj_in"), 2, 2);
  contents.embeddings["my.word"]["emb_params"] = torch::randn({3, 16});
  const std::string path = scratch("bundle.safetensors");
  write_lora(path, contents, find_lora_style("kohya"), torch::kFloat);
  EXPECT_TRUE(torch::equal(TensorFile::open(path)->read("bundle_emb.my.word.emb_params"), contents.embeddings["my.word"]["emb_params"]));
  EXPECT_NE(error_of([&] { write_lora(path, contents, find_lora_style("peft"), torch::kFloat); }).find("cannot bundle"),
            std::string::npos);
}

TEST(Writing, RefusesWhatAStyleHasNoWordFor) {
  LoraContents contents;
  contents.modules["vae.decoder.conv_in"] = {{"diff", torch::zeros({2, 2})}};
  const auto write = [&](std::string_view style) {
    return error_of([&] { write_lora(scratch("no"), contents, find_lora_style(style), torch::kFloat); });
  };
  EXPECT_NE(write("kohya").find("no word for the layer vae.decoder.conv_in"), std::string::npos);
  contents.modules.clear();
  contents.modules["unet.conv_in"] = {{"diff", torch::zeros({2, 2})}};
  EXPECT_NE(write("peft").find("no word for unet.conv_in.diff"), std::string::npos);
  EXPECT_NE(error_of([] { find_lora_style("khoya"); }).find("kohya"), std::string::npos);
}

}  // namespace
}  // namespace lorikeet::write_test
