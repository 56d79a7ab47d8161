// Checkpoints as they come: broken ones, diffusers' own folder, separate autoencoders.
#include "model/checkpoint.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "io/tensor_file.h"
#include "model/tiny.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;
using namespace testing;

// What opening a file of these tensors and building its networks says.
std::string fault_of(const fs::path& path, const TinyModel& model, const Tensors& tensors) {
  write_single_file(path, model, tensors);
  return error_of([&] {
    const auto checkpoint = Checkpoint::open(path);
    const ModelSpec spec = recognise_model(*checkpoint);
    LayerMap layers;
    const Weights weights(*checkpoint, layers, Compute{});
    for (const ClipConfig& text : spec.text_encoders) ClipTextModel(text, weights / text.component);
    UNet(spec.unet, weights / "unet");
    Vae(spec.vae, weights / "vae");
  });
}

TEST(Checkpoint, AMissingTensorAndAWrongShapeAreNamedAsTheFileSpellsThem) {
  const ScratchFolder scratch;
  for (const ModelFamily& family : model_families()) {
    SCOPED_TRACE(family.id);
    const TinyModel model = tiny_model(family.id);
    const Tensors whole = file_of(model);
    EXPECT_EQ(fault_of(scratch / "whole.safetensors", model, whole), "");
    for (const std::string key : {"model.diffusion_model.out.2.bias", "model.diffusion_model.middle_block.2.in_layers.2.weight",
                                  "first_stage_model.decoder.mid.attn_1.q.weight"}) {
      Tensors tensors = whole;
      ASSERT_EQ(tensors.erase(key), 1u) << key;
      const std::string missing = fault_of(scratch / "missing.safetensors", model, tensors);
      EXPECT_NE(missing.find("the checkpoint lacks " + key + " (missing.safetensors)"), std::string::npos) << missing;
      tensors[key] = torch::zeros({5});
      const std::string wrong = fault_of(scratch / "wrong.safetensors", model, tensors);
      EXPECT_NE(wrong.find(key + " (wrong.safetensors) has the shape [5]"), std::string::npos) << wrong;
      tensors[key] = torch::zeros(whole.at(key).sizes(), torch::kInt);
      const std::string whole_numbers = fault_of(scratch / "int.safetensors", model, tensors);
      EXPECT_NE(whole_numbers.find(key + " (int.safetensors) holds"), std::string::npos) << whole_numbers;
    }
  }
}

TEST(Checkpoint, HeadsThatDoNotDivideTheWidthAreRefusedWithWhatToDo) {
  const ScratchFolder scratch;
  TinyModel model = tiny_model("sd1");
  model.spec.unet.heads = {3, 4, 4, 4};
  const std::string text = fault_of(scratch / "a.safetensors", model, file_of(model));
  EXPECT_NE(text.find("cannot have 3 heads"), std::string::npos) << text;
  EXPECT_NE(text.find("config.json"), std::string::npos) << text;
}

TEST(Checkpoint, ADiffusersFolderIsReadByItsOwnConfiguration) {
  const fs::path folder = fs::path(LORIKEET_GOLDEN_DIR) / "sd1" / "diffusers";
  const auto config = [&](const char* component) { return nlohmann::json::parse(std::ifstream(folder / component / "config.json")); };
  const ModelSpec spec = recognise_model(*Checkpoint::open(folder));
  const auto unet = config("unet"), vae = config("vae"), text = config("text_encoder");
  EXPECT_EQ(spec.family, "sd1");
  EXPECT_EQ(spec.prediction, "epsilon");
  EXPECT_FALSE(spec.zero_terminal_snr);
  EXPECT_EQ(spec.unet.channels, unet.at("block_out_channels").get<std::vector<int64_t>>());
  EXPECT_EQ(spec.unet.heads, std::vector<int64_t>(4, unet.at("attention_head_dim")));  // diffusers' slip of names
  EXPECT_EQ(spec.unet.depth, (std::vector<int64_t>{1, 1, 1, 0}));
  EXPECT_EQ(spec.unet.context, unet.at("cross_attention_dim"));
  EXPECT_EQ(spec.unet.groups, unet.at("norm_num_groups"));
  EXPECT_EQ(spec.unet.linear_projection, unet.at("use_linear_projection"));
  EXPECT_EQ(spec.vae.channels, vae.at("block_out_channels").get<std::vector<int64_t>>());
  EXPECT_EQ(spec.vae.groups, vae.at("norm_num_groups"));
  EXPECT_DOUBLE_EQ(spec.latent.scale, vae.at("scaling_factor").get<double>());
  ASSERT_EQ(spec.text_encoders.size(), 1u);
  EXPECT_EQ(spec.text_encoders[0].width, text.at("hidden_size"));
  EXPECT_EQ(spec.text_encoders[0].layers, text.at("num_hidden_layers"));
  EXPECT_EQ(spec.text_encoders[0].heads, text.at("num_attention_heads"));
  EXPECT_EQ(spec.text_encoders[0].intermediate, text.at("intermediate_size"));
  EXPECT_EQ(spec.text_encoders[0].vocabulary, text.at("vocab_size"));
  EXPECT_TRUE(spec.text_encoders[0].quick_gelu);
}

TEST(Checkpoint, AFolderWithoutAPartSaysWhichOne) {
  const ScratchFolder scratch;
  EXPECT_NE(error_of([&] { Checkpoint::open(scratch.path()); }).find("without a model_index.json"), std::string::npos);
  fs::copy(fs::path(LORIKEET_GOLDEN_DIR) / "sd1" / "diffusers", scratch / "model", fs::copy_options::recursive);
  fs::remove_all(scratch / "model" / "vae");
  const std::string text = error_of([&] { Checkpoint::open(scratch / "model"); });
  EXPECT_NE(text.find("the folder has no vae weights"), std::string::npos) << text;
}

TEST(Checkpoint, ASeparateAutoencoderTakesThePlaceOfItsOwnInEveryLayout) {
  const ScratchFolder scratch;
  const TinyModel model = tiny_model("sd1"), other = tiny_model("sd1", false, /*seed=*/2);
  write_single_file(scratch / "model.safetensors", model, file_of(model));
  Tensors diffusers, prefixed, bare;
  for (const auto& [name, tensor] : other.weights) {
    if (name.starts_with("vae.")) diffusers[name.substr(4)] = tensor;
  }
  for (const auto& [key, tensor] : file_of(other)) {
    if (!key.starts_with("first_stage_model.")) continue;
    prefixed[key] = tensor;
    bare[key.substr(18)] = tensor;
  }
  fs::create_directories(scratch / "folder");
  write_safetensors(scratch / "diffusers.safetensors", diffusers, {});
  write_safetensors(scratch / "prefixed.safetensors", prefixed, {});
  write_safetensors(scratch / "bare.safetensors", bare, {});
  write_safetensors(scratch / "folder" / "diffusion_pytorch_model.safetensors", diffusers, {});
  for (const char* vae : {"diffusers.safetensors", "prefixed.safetensors", "bare.safetensors", "folder"}) {
    const auto checkpoint = Checkpoint::open(scratch / "model.safetensors", scratch / vae);
    EXPECT_EQ(recognise_model(*checkpoint).vae.channels, other.spec.vae.channels) << vae;
    for (const auto& [name, own] : model.weights) {
      const Tensor& tensor = name.starts_with("vae.") ? other.weights.at(name) : own;
      EXPECT_TRUE(torch::equal(checkpoint->find(name).reshape(tensor.sizes()), tensor)) << vae << " " << name;
    }
  }
  write_safetensors(scratch / "none.safetensors", {{"weight", torch::ones({1})}}, {});
  const std::string text = error_of([&] { Checkpoint::open(scratch / "model.safetensors", scratch / "none.safetensors"); });
  EXPECT_NE(text.find("the file holds no autoencoder"), std::string::npos) << text;
  EXPECT_NE(text.find("none.safetensors"), std::string::npos) << text;
}

}  // namespace
}  // namespace lorikeet
