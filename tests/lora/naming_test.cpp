#include "lora/naming.h"

#include <gtest/gtest.h>

#include <set>

#include "base/text.h"
#include "lora/apply.h"
#include "lora/models.h"

namespace lorikeet {
namespace {

using testing::golden;
using testing::read_json;
using testing::tiny_model;

TEST(EveryNaming, spells_no_two_layers_alike) {
  for (const char* model : {"sd1", "sd2", "sdxl"}) {
    const LayerMap layers = tiny_model(model);
    for (const LoraNaming& naming : lora_namings()) {
      std::map<std::pair<std::string, int>, std::string> seen;
      for (const auto& [path, layer] : layers) {
        for (const LoraKey& key : naming.spell(path)) {
          const auto [entry, fresh] = seen.try_emplace({key.key, key.part}, path);
          EXPECT_TRUE(fresh || entry->second == path) << naming.name << ": " << key.key << " is " << entry->second << " and " << path;
        }
      }
      EXPECT_FALSE(seen.empty() && std::string(model) == "sd1") << naming.name;
    }
  }
}

TEST(EveryNaming, what_it_spells_is_found_again) {
  for (const char* model : {"sd1", "sd2", "sdxl"}) {
    const LayerMap layers = tiny_model(model);
    const LoraKeyTable table(layers);
    for (const auto& [path, layer] : layers) {
      for (const LoraNaming& naming : lora_namings()) {
        for (const LoraKey& key : naming.spell(path)) {
          int found = 0;
          for (const LoraPlace& place : table.find(key.key)) found += place.path == path && place.part == key.part;
          EXPECT_EQ(found, 1) << key.key;
          for (const LoraPlace& place : table.find(key.key))
            EXPECT_TRUE(place.path == path || place.part >= 0) << key.key << " is also " << place.path;
        }
      }
    }
  }
}

// The layer that a full-size model's kohya name stands for, by the names and shapes that the single-file key list gives.
void expect_all_known(const LayerMap& layers, const std::string& list) {
  const LoraKeyTable table(layers);
  for (const auto& entry : read_json(list)) {
    const std::string name = entry[0];
    ASSERT_EQ(table.find(name).size(), 1U) << name;
    EXPECT_EQ(layers.at(table.find(name)[0].path)->base_weight().numel(), [&] {
      int64_t numel = 1;
      for (const int64_t size : entry[2]) numel *= size;
      return numel;
    }()) << name;
  }
}

// The diffusers paths of a full-size model: the tiny models have the same blocks, with fewer text layers and transformer blocks.
nlohmann::json full_size(const std::string& name) {
  nlohmann::json shapes;
  const auto single = read_json("sd15_full/" + name + "_keys.json");
  const LayerMap tiny = tiny_model(name == "sd15" ? "sd1" : "sdxl");
  std::set<std::string> paths;
  for (const auto& [path, layer] : tiny) {
    paths.insert(path);
    for (int deep = 1; deep < 32; ++deep) {
      const std::string block = ".transformer_blocks.0.", layers = ".layers.0.";
      if (path.find(block) != std::string::npos)
        paths.insert(replace_all(path, block, ".transformer_blocks." + std::to_string(deep) + "."));
      if (path.find(layers) != std::string::npos) paths.insert(replace_all(path, layers, ".layers." + std::to_string(deep) + "."));
    }
  }
  for (const std::string& path : paths) {
    for (const LoraKey& key : lora_namings()[5].spell(path)) {  // the original checkpoint's names
      std::string weight = key.key + (key.part < 0 ? ".weight" : "_weight");
      if (!single.contains(weight) && single.contains(key.key)) weight = key.key;
      if (!single.contains(weight)) continue;
      Shape shape = single[weight].get<Shape>();
      if (key.part >= 0) shape[0] /= 3;
      shapes[path + ".weight"] = shape;
    }
  }
  return shapes;
}

TEST(KohyaNames, of_a_full_size_sd15_are_all_known) {
  expect_all_known(testing::shaped_model(full_size("sd15"), true), "sd15_full/sd15_lora_modules.json");
}

TEST(KohyaNames, of_a_full_size_sdxl_are_all_known) {
  expect_all_known(testing::shaped_model(full_size("sdxl"), true), "sd15_full/sdxl_lora_modules.json");
}

TEST(LoraKeys, are_split_into_module_and_tensor) {
  const auto check = [](const char* key, const char* module, const char* tensor) {
    EXPECT_EQ(split_lora_key(key).module, module) << key;
    EXPECT_EQ(split_lora_key(key).tensor, tensor) << key;
  };
  check("lora_unet_mid_block_attentions_0_proj_in.lora_down.weight", "lora_unet_mid_block_attentions_0_proj_in", "lora_down.weight");
  check("unet.a.attn1.processor.to_q_lora.up.weight", "unet.a.attn1.processor.to_q", "lora_up.weight");
  check("unet.a.attn1.to_q.lora.up.weight", "unet.a.attn1.to_q", "lora_up.weight");
  check("text_encoder.a.q_proj.lora_linear_layer.down.weight", "text_encoder.a.q_proj", "lora_down.weight");
  check("base_model.model.a.to_q.lora_A.weight", "base_model.model.a.to_q", "lora_down.weight");
  check("base_model.model.a.to_q.lora_B.default.weight", "base_model.model.a.to_q", "lora_up.weight");
  check("a.to_q.lora_magnitude_vector.default", "a.to_q", "lora_magnitude_vector");
  check("unet:17:up", "unet:17", "lora_up.weight");
  check("lora_unet_a.weight", "lora_unet_a", "weight");
  check("lora_unet_a.a1.weight", "lora_unet_a", "a1.weight");
  check("some_other_tensor", "some_other_tensor", "");
}

// OpenCLIP's fused projection: the file's one module serves q, k and v, each with its third of the rows.
TEST(OpenClipNames, of_the_fused_projection_give_each_its_rows) {
  const LayerMap layers = tiny_model("sdxl");
  const LoraKeyTable table(layers);
  const auto places = table.find("lora_te2_transformer_resblocks_1_attn_in_proj");
  ASSERT_EQ(places.size(), 3U);
  for (const LoraPlace& place : places) {
    const char letter = "qkv"[place.part];
    EXPECT_TRUE(ends_with(place.path, std::string("layers.1.self_attn.") + letter + "_proj")) << place.path;
  }
}

}  // namespace
}  // namespace lorikeet
