// LoRA files for the tests of the tools on them: the golden ones, and made ones in a folder that goes with the test.
#pragma once
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "base/progress.h"
#include "base/scratch.h"
#include "io/tensor_file.h"
#include "lora/apply.h"
#include "lora/models.h"
#include "lora/reader.h"
#include "lora/surgery/change.h"
#include "lora/surgery/draft.h"

namespace lorikeet::testing {

class LoraFolder : public ::testing::Test {
 protected:
  LoraFolder() { torch::manual_seed(1); }
  std::filesystem::path at(const std::string& name) const { return folder_ / name; }
  int files() const { return static_cast<int>(folder_.count()); }

  static const LayerMap& model(const std::string& name) {
    static std::map<std::string, LayerMap> models;
    const auto found = models.find(name);
    return found != models.end() ? found->second : models.emplace(name, tiny_model(name)).first->second;
  }

  static LoraReader bound(const std::filesystem::path& path, const std::string& model_name) {
    return LoraReader(LoraFile::open(path), model(model_name), model_name);
  }
  // Without the model's weights.
  static LoraReader unbound(const std::filesystem::path& path, const std::string& model_name) {
    return LoraReader::by_shapes(LoraFile::open(path), model(model_name));
  }

  // ΔW and Δb of every layer.
  struct Delta {
    Tensor weight, bias;
  };
  static std::map<std::string, Delta> deltas(const LoraReader& reader) {
    std::map<std::string, Delta> all;
    for (const std::string& path : paths_of(reader)) {
      const Change change = read_change(reader, path);
      all[path] = {change.matrix(), change.bias};
    }
    return all;
  }

  static void expect_near(const std::map<std::string, Delta>& found, const std::map<std::string, Delta>& wanted, double tolerance) {
    ASSERT_EQ(found.size(), wanted.size());
    for (const auto& [path, delta] : wanted) {
      ASSERT_TRUE(found.contains(path)) << path;
      const Delta& other = found.at(path);
      const double scale = std::max(delta.weight.abs().max().item<double>(), 1e-30);
      EXPECT_LE((other.weight - delta.weight).abs().max().item<double>(), tolerance * scale) << path;
      ASSERT_EQ(other.bias.defined(), delta.bias.defined()) << path;
      if (!delta.bias.defined()) continue;
      EXPECT_LE(relative_error(other.bias, delta.bias), tolerance) << path;
    }
  }

  // A plain LoRA on some layers of the tiny sd1 model, in kohya's spelling.
  std::filesystem::path made_lora(const std::string& name, int64_t rank, double alpha,
                                  const std::map<std::string, std::string>& metadata = {},
                                  const std::map<std::string, Tensor>& more = {}) const {
    std::map<std::string, Tensor> tensors = more;
    for (const std::string module : {"down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q", "mid_block_attentions_0_proj_in",
                                     "up_blocks_1_attentions_0_transformer_blocks_0_ff_net_2", "down_blocks_1_resnets_0_conv1"}) {
      const Layer& layer = *layer_of(module);
      Shape down = layer.base_weight().sizes().vec();
      const Shape up = down.size() == 4 ? Shape{down[0], rank, 1, 1} : Shape{down[0], rank};
      down[0] = rank;
      const std::string key = "lora_unet_" + module;
      tensors[key + ".lora_down.weight"] = (0.1 * torch::randn(down)).to(torch::kHalf);
      tensors[key + ".lora_up.weight"] = (0.1 * torch::randn(up)).to(torch::kHalf);
      tensors[key + ".alpha"] = torch::tensor(alpha, torch::kHalf);
    }
    write_safetensors(at(name), tensors, metadata);
    return at(name);
  }

  static std::shared_ptr<Layer> layer_of(const std::string& kohya_body) {
    for (const auto& [path, layer] : model("sd1")) {
      std::string body = path.substr(path.find('.') + 1);
      std::replace(body.begin(), body.end(), '.', '_');
      if (body == kohya_body) return layer;
    }
    throw Error(ErrorKind::internal, "no layer " + kohya_body);
  }

  ScratchFolder folder_;
  Progress progress_;
};

}  // namespace lorikeet::testing
