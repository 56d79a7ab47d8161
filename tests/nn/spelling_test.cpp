#include "nn/spelling.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "base/text.h"

namespace lorikeet {
namespace {

nlohmann::json read_json(const std::string& path) {
  std::ifstream stream(std::string(LORIKEET_GOLDEN_DIR) + "/" + path);
  return nlohmann::json::parse(stream);
}

// Numbers that every family's blocks have, and more: what a checkpoint lacks is not spelled for it.
std::vector<std::string> resnet(const std::string& at, bool time) {
  std::vector<std::string> paths;
  for (const char* name : {"norm1", "conv1", "norm2", "conv2", "conv_shortcut"}) paths.push_back(at + "." + name);
  if (time) paths.push_back(at + ".time_emb_proj");
  return paths;
}

void append(std::vector<std::string>& all, std::vector<std::string> more) { all.insert(all.end(), more.begin(), more.end()); }

std::vector<std::string> attention(const std::string& at) {
  std::vector<std::string> paths{at + ".norm", at + ".proj_in", at + ".proj_out"};
  for (int i = 0; i < 10; ++i) {
    const std::string block = at + ".transformer_blocks." + std::to_string(i);
    for (const char* name : {"norm1", "norm2", "norm3", "ff.net.0.proj", "ff.net.2"}) paths.push_back(block + "." + name);
    for (const char* attn : {".attn1", ".attn2"})
      for (const char* name : {".to_q", ".to_k", ".to_v", ".to_out.0"}) paths.push_back(block + attn + name);
  }
  return paths;
}

std::vector<std::string> unet_paths() {
  std::vector<std::string> all{"conv_in",
                               "conv_norm_out",
                               "conv_out",
                               "time_embedding.linear_1",
                               "time_embedding.linear_2",
                               "add_embedding.linear_1",
                               "add_embedding.linear_2"};
  for (int i = 0; i < 4; ++i) {
    const std::string down = "down_blocks." + std::to_string(i), up = "up_blocks." + std::to_string(i);
    for (int j = 0; j < 3; ++j) {
      if (j < 2) append(all, resnet(down + ".resnets." + std::to_string(j), true));
      if (j < 2) append(all, attention(down + ".attentions." + std::to_string(j)));
      append(all, resnet(up + ".resnets." + std::to_string(j), true));
      append(all, attention(up + ".attentions." + std::to_string(j)));
    }
    append(all, {down + ".downsamplers.0.conv", up + ".upsamplers.0.conv"});
  }
  for (int j = 0; j < 2; ++j) append(all, resnet("mid_block.resnets." + std::to_string(j), true));
  append(all, attention("mid_block.attentions.0"));
  return all;
}

std::vector<std::string> vae_paths() {
  std::vector<std::string> all{"quant_conv", "post_quant_conv"};
  for (const std::string side : {"encoder", "decoder"}) {
    append(all, {side + ".conv_in", side + ".conv_norm_out", side + ".conv_out", side + ".mid_block.attentions.0.group_norm"});
    for (const char* name : {"to_q", "to_k", "to_v", "to_out.0"}) all.push_back(side + ".mid_block.attentions.0." + name);
    for (int j = 0; j < 2; ++j) append(all, resnet(side + ".mid_block.resnets." + std::to_string(j), false));
    for (int i = 0; i < 4; ++i) {
      const std::string block = side + (side == "encoder" ? ".down_blocks." : ".up_blocks.") + std::to_string(i);
      for (int j = 0; j < 3; ++j) append(all, resnet(block + ".resnets." + std::to_string(j), false));
      all.push_back(block + (side == "encoder" ? ".downsamplers.0.conv" : ".upsamplers.0.conv"));
    }
  }
  return all;
}

// Every key of the checkpoint below `prefix` is spelled by exactly one path, parameter by parameter.
template <class Spell>
void expect_all_spelled(const nlohmann::json& keys, const std::string& prefix, const std::vector<std::string>& paths, const Spell& spell) {
  std::map<std::string, std::string> spelled;
  for (const std::string& path : paths) {
    for (const char* parameter : {".weight", ".bias"}) {
      int found = 0;
      for (const std::string& key : spell(path + parameter)) {
        if (!keys.contains(prefix + key)) continue;
        ++found;
        const auto [entry, fresh] = spelled.try_emplace(prefix + key, path);
        EXPECT_TRUE(fresh) << key << " is " << entry->second << " and " << path;
      }
      EXPECT_LE(found, 1) << path;
    }
  }
  for (const auto& [key, shape] : keys.items())
    EXPECT_TRUE(!starts_with(key, prefix) || spelled.contains(key)) << key << " is spelled by no path";
}

TEST(Spelling, covers_every_unet_and_vae_key_of_the_full_size_checkpoints) {
  for (const char* model : {"sd15", "sd21", "sdxl"}) {
    SCOPED_TRACE(model);
    const auto keys = read_json("sd15_full/" + std::string(model) + "_keys.json");
    ASSERT_GT(keys.size(), 1000U);
    expect_all_spelled(keys, "model.diffusion_model.", unet_paths(), [](const std::string& path) { return ldm_unet_spellings(path); });
    expect_all_spelled(keys, "first_stage_model.", vae_paths(),
                       [](const std::string& path) { return std::vector{ldm_vae_spelling(path)}; });
  }
}

// OpenCLIP: all keys but the logit scale; the three projections share one.
TEST(Spelling, covers_every_open_clip_key) {
  for (const auto& [model, prefix] :
       {std::pair<std::string, std::string>{"sd21", "cond_stage_model.model."}, {"sdxl", "conditioner.embedders.1.model."}}) {
    const auto keys = read_json("sd15_full/" + model + "_keys.json");
    std::set<std::string> spelled;
    std::vector<std::string> paths{"text_model.embeddings.token_embedding", "text_model.embeddings.position_embedding",
                                   "text_model.final_layer_norm", "text_projection"};
    for (int i = 0; i < 32; ++i)
      for (const char* name : {"layer_norm1", "layer_norm2", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                               "self_attn.out_proj", "mlp.fc1", "mlp.fc2"})
        paths.push_back("text_model.encoder.layers." + std::to_string(i) + "." + name);
    for (const std::string& path : paths)
      for (const char* parameter : {".weight", ".bias"}) spelled.insert(prefix + open_clip_spelling(path + parameter));
    for (const auto& [key, shape] : keys.items())
      EXPECT_TRUE(!starts_with(key, prefix) || spelled.contains(key) || ends_with(key, "logit_scale")) << key;
  }
}

TEST(Spelling, leaves_unknown_paths_as_they_are) {
  EXPECT_EQ(ldm_unet_spellings("elsewhere.0.conv"), std::vector<std::string>{"elsewhere.0.conv"});
  EXPECT_EQ(ldm_unet_spellings(""), std::vector<std::string>{""});
  EXPECT_EQ(ldm_vae_spelling("quant_conv.weight"), "quant_conv.weight");
  EXPECT_EQ(open_clip_spelling("logit_scale"), "logit_scale");
}

}  // namespace
}  // namespace lorikeet
