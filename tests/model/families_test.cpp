// Contracts of the list of model families: a row is tested by existing.
#include <fstream>
#include <nlohmann/json.hpp>

#include "io/tensor_file.h"
#include "model/fresh_weights.h"
#include "model/tiny.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;
using namespace testing;
using nlohmann::json;

void expect_same(const ModelSpec& found, const ModelSpec& wanted) {
  EXPECT_EQ(found.family, wanted.family);
  EXPECT_EQ(found.prediction, wanted.prediction);
  EXPECT_EQ(found.zero_terminal_snr, wanted.zero_terminal_snr);
  EXPECT_EQ(found.inpainting(), wanted.inpainting());
  EXPECT_DOUBLE_EQ(found.latent.scale, wanted.latent.scale);
  const auto numbers = [](const UNetConfig& c) {
    return std::vector<int64_t>{c.in_channels, c.out_channels,      c.middle_depth, c.layers,
                                c.context,     c.linear_projection, c.groups,       c.added_width};
  };
  EXPECT_EQ(numbers(found.unet), numbers(wanted.unet));
  EXPECT_EQ(found.unet.channels, wanted.unet.channels);
  EXPECT_EQ(found.unet.depth, wanted.unet.depth);
  EXPECT_EQ(found.unet.heads, wanted.unet.heads);
  if (wanted.unet.added_width) {  // nothing reads it otherwise
    EXPECT_EQ(found.unet.time_id_width, wanted.unet.time_id_width);
  }
  EXPECT_EQ(found.vae.channels, wanted.vae.channels);
  EXPECT_EQ(found.vae.groups, wanted.vae.groups);
  EXPECT_EQ(found.vae.latent_channels, wanted.vae.latent_channels);
  ASSERT_EQ(found.text_encoders.size(), wanted.text_encoders.size());
  for (size_t i = 0; i < wanted.text_encoders.size(); ++i) {
    const ClipConfig &a = found.text_encoders[i], &b = wanted.text_encoders[i];
    EXPECT_EQ(a.component, b.component);
    const auto text_numbers = [](const ClipConfig& c) {
      return std::vector<int64_t>{c.vocabulary, c.width,      c.layers,     c.heads, c.intermediate, c.positions,
                                  c.quick_gelu, c.projection, c.padding_id, c.skip,  c.final_norm};
    };
    EXPECT_EQ(text_numbers(a), text_numbers(b)) << a.component;
  }
}

void expect_recognised(const fs::path& path, const TinyModel& model) {
  const auto checkpoint = Checkpoint::open(path);
  for (const ModelFamily& family : model_families()) {
    EXPECT_EQ(family.recognise(*checkpoint).has_value(), family.id == model.spec.family) << family.id << " asked about " << path;
  }
  expect_same(recognise_model(*checkpoint), model.spec);
  for (const auto& [name, tensor] : model.weights) {
    const Tensor found = checkpoint->find(name);
    ASSERT_TRUE(found.defined()) << name;
    EXPECT_TRUE(torch::equal(found.reshape(tensor.sizes()), tensor)) << name;
  }
}

// diffusers' folder: a file and a config.json a component.
void write_folder(const fs::path& folder, const TinyModel& model) {
  std::map<std::string, Tensors> components;
  for (const auto& [name, tensor] : model.weights) components[name.substr(0, name.find('.'))][name.substr(name.find('.') + 1)] = tensor;
  json config = json::parse(config_text(model.spec));
  config["vae"]["scaling_factor"] = config["scaling_factor"];
  for (const auto& [component, tensors] : components) {
    fs::create_directories(folder / component);
    const bool text = component.starts_with("text_encoder");
    write_safetensors(folder / component / (text ? "model.safetensors" : "diffusion_pytorch_model.safetensors"), tensors, {});
    std::ofstream(folder / component / "config.json") << config[component];
  }
  fs::create_directories(folder / "scheduler");
  std::ofstream(folder / "scheduler" / "scheduler_config.json")
      << json{{"prediction_type", config["prediction_type"]}, {"rescale_betas_zero_snr", model.spec.zero_terminal_snr}};
  std::ofstream(folder / "model_index.json") << "{}";
}

TEST(Families, EachIsRecognisedAsItselfAndByNoOtherInEitherLayout) {
  const ScratchFolder scratch;
  for (const ModelFamily& family : model_families()) {
    for (const bool inpainting : {false, true}) {
      SCOPED_TRACE(std::string(family.id) + (inpainting ? " inpainting" : ""));
      const TinyModel model = tiny_model(family.id, inpainting);
      const fs::path file = scratch / (std::string(family.id) + ".safetensors"),
                     folder = scratch / (std::string(family.id) + std::to_string(inpainting));
      write_single_file(file, model, file_of(model));
      expect_recognised(file, model);
      write_folder(folder, model);
      expect_recognised(folder, model);
    }
  }
}

TEST(Families, TheConfigurationMayLieBesideTheFile) {
  const ScratchFolder scratch;
  for (const ModelFamily& family : model_families()) {
    const TinyModel model = tiny_model(family.id);
    const std::string name(family.id);
    write_safetensors(scratch / (name + ".safetensors"), file_of(model), {});
    std::ofstream(scratch / (name + ".config.json")) << config_text(model.spec);
    expect_recognised(scratch / (name + ".safetensors"), model);
  }
}

TEST(Families, WhatPredictsVSaysSoByAKeyOrByTheConfiguration) {
  const ScratchFolder scratch;
  for (const ModelFamily& family : model_families()) {
    SCOPED_TRACE(family.id);
    TinyModel model = tiny_model(family.id);
    Tensors tensors = file_of(model);
    model.spec.prediction = "";
    write_single_file(scratch / "silent.safetensors", model, tensors);
    // The shapes of Stable Diffusion 2 do not tell; the others are what nearly all of their kind are.
    EXPECT_EQ(recognise_model(*Checkpoint::open(scratch / "silent.safetensors")).prediction, family.id == "sd2" ? "" : "epsilon");
    tensors["v_pred"] = tensors["ztsnr"] = torch::zeros({0});
    write_single_file(scratch / "keys.safetensors", model, tensors);
    model.spec.prediction = "v";
    model.spec.zero_terminal_snr = true;
    write_single_file(scratch / "config.safetensors", model, file_of(model));
    write_folder(scratch / std::string(family.id), model);
    for (const auto& path : {scratch / "keys.safetensors", scratch / "config.safetensors", scratch / std::string(family.id)}) {
      const ModelSpec spec = recognise_model(*Checkpoint::open(path));
      EXPECT_EQ(spec.prediction, "v") << path;
      EXPECT_TRUE(spec.zero_terminal_snr) << path;
    }
  }
}

TEST(Families, TheSizeOfItsPicturesIsTheFamilysUnlessTheFileTells) {
  const ScratchFolder scratch;
  const auto size_in = [&](const TinyModel& model, const std::string& resolution) {
    std::map<std::string, std::string> metadata{{"lorikeet.config", config_text(model.spec)}};
    if (!resolution.empty()) metadata["modelspec.resolution"] = resolution;
    write_safetensors(scratch / "a.safetensors", file_of(model), metadata);
    return recognise_model(*Checkpoint::open(scratch / "a.safetensors")).native_size_px;
  };
  EXPECT_EQ(size_in(tiny_model("sd1"), ""), 512);
  EXPECT_EQ(size_in(tiny_model("sd2"), ""), 768);
  EXPECT_EQ(size_in(tiny_model("sdxl"), ""), 1024);
  const TinyModel sd1 = tiny_model("sd1");
  EXPECT_EQ(size_in(sd1, "128x128"), 128);
  EXPECT_EQ(size_in(sd1, "768x1344"), 1024);  // of that area
  for (const char* nonsense : {"512", "x", "0x0", "-512x-512", "1x1", "99999x99999", "512 pixels", "9223372036854775807x9223372036854775807"})
    EXPECT_EQ(size_in(sd1, nonsense), 512) << nonsense;
  write_folder(scratch / "folder", sd1);
  json config = json::parse(std::ifstream(scratch / "folder" / "unet" / "config.json"));
  config["sample_size"] = 96;  // latents of 8 px each
  std::ofstream(scratch / "folder" / "unet" / "config.json") << config;
  EXPECT_EQ(recognise_model(*Checkpoint::open(scratch / "folder")).native_size_px, 96 * sd1.spec.vae.factor());
}

TEST(Families, APredictionTypeThatIsNotKnownIsRefused) {
  const ScratchFolder scratch;
  TinyModel model = tiny_model("sd1");
  model.spec.prediction = "sample";
  write_single_file(scratch / "a.safetensors", model, file_of(model));
  const std::string text = error_of([&] { recognise_model(*Checkpoint::open(scratch / "a.safetensors")); });
  EXPECT_NE(text.find("the prediction type 'sample' is not supported"), std::string::npos) << text;
}

TEST(Families, WhatIsNoCheckpointIsCalledByItsName) {
  const ScratchFolder scratch;
  const auto refusal = [&](const Tensors& tensors) {
    write_safetensors(scratch / "file.safetensors", tensors, {});
    return error_of([&] { recognise_model(*Checkpoint::open(scratch / "file.safetensors")); });
  };
  const Tensor one = torch::ones({2, 2});
  const TinyModel sdxl = tiny_model("sdxl");
  Tensors vae, refiner, headless;
  for (const auto& [key, tensor] : file_of(sdxl)) {
    if (key.starts_with("first_stage_model.")) vae[key] = tensor;
    if (key.starts_with("model.diffusion_model.") || key.starts_with("first_stage_model.")) refiner[key] = headless[key] = tensor;
    if (key.starts_with("conditioner.embedders.1.")) refiner["conditioner.embedders.0." + key.substr(24)] = tensor;
  }
  const std::pair<Tensors, std::string> cases[] = {
      {{{"lora_unet_mid_block_attentions_0_proj_in.lora_down.weight", one}}, "the file is a LoRA, not a checkpoint"},
      {{{"unet.mid_block.attentions.0.proj_in.lora_A.weight", one}}, "<lora:file:1>"},
      {vae, "the file is a VAE, not a checkpoint"},
      {refiner, "SDXL refiner"},
      {headless, "no text encoder that is known"},
      {{{"double_blocks.0.img_attn.qkv.weight", one}}, "the family Flux,"},
      {{{"model.diffusion_model.double_blocks.0.img_attn.qkv.weight", one}}, "the family Flux,"},
      {{{"model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight", one}}, "the family Stable Diffusion 3,"},
      {{{"motion_modules.0.proj", one}}, "AnimateDiff"},
      {{{"emb_params", one}}, "textual-inversion embedding"},
      {{{"something.weight", one}}, "no Stable Diffusion checkpoint"}};
  for (const auto& [tensors, wanted] : cases) {
    const std::string text = refusal(tensors);
    EXPECT_NE(text.find(wanted), std::string::npos) << tensors.begin()->first << ": " << text;
    EXPECT_NE(text.find("file.safetensors"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace lorikeet
