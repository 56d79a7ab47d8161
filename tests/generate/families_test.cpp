// The whole way on models of other kinds than the shared tiny one: inpainting checkpoints, SDXL, broken weights; and what the models
// folders bring along: embeddings, separate autoencoders.
#include <fstream>

#include "generate/engine.h"
#include "generate/generate.h"
#include "generate/pixels.h"
#include "io/hash.h"
#include "io/tensor_file.h"
#include "model/tiny.h"

namespace lorikeet::families_test {
namespace {

namespace fs = std::filesystem;
using namespace testing;

// A models folder with one checkpoint in it.
struct Models {
  ScratchFolder folder;
  TinyModel model;

  explicit Models(std::string_view family, bool inpainting = false) : model(tiny_model(family, inpainting)) {
    for (const char* kind : {"checkpoints", "loras", "embeddings", "vae"}) fs::create_directories(folder / kind);
    write(file_of(model));
  }
  void write(const Tensors& tensors) const { write_single_file(folder / "checkpoints" / "model.safetensors", model, tensors); }
  Engine engine() const {
    EngineOptions options{.checkpoint = folder / "checkpoints" / "model.safetensors", .device = "cpu", .precision = "f32"};
    options.folders.add_root(folder.path());
    return Engine(std::move(options));
  }
};

Request small(const std::string& prompt) {
  Request request;
  request.prompts = {prompt};
  request.width = request.height = 64;
  request.steps = 3;
  request.seed = 5;
  return request;
}

GenerateResult run(Engine& engine, const Request& request) {
  Progress progress;
  return generate(engine, request, progress);
}

Picture picture(Engine& engine, const Request& request) { return run(engine, request).pictures.at(0).picture; }

// A LoRA module of rank 2, strong enough to be seen.
void add_module(Tensors& tensors, const std::string& name, int64_t in, int64_t out) {
  torch::manual_seed(3);
  tensors[name + ".lora_down.weight"] = torch::randn({2, in});
  tensors[name + ".lora_up.weight"] = torch::randn({out, 2});
  tensors[name + ".alpha"] = torch::tensor(2.0f);
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Inpainting, ACheckpointOfNineChannelsMakesAllKindsOfPictures) {
  for (const std::string_view family : {"sd1", "sd2", "sdxl"}) {
    SCOPED_TRACE(family);
    const Models models(family, /*inpainting=*/true);
    Engine engine = models.engine();
    ASSERT_TRUE(engine.spec().inpainting());
    const auto start = std::make_shared<Picture>(picture(engine, small("a house")));

    Request again = small("a tree");
    again.init_image.picture = start;
    again.denoising_strength = 0.7;
    const Picture whole = picture(engine, again);
    EXPECT_NE(whole, *start);

    auto mask = std::make_shared<Picture>(Picture{64, 64, 1, std::vector<uint8_t>(64 * 64, 0)});
    for (int y = 0; y < 64; ++y) std::fill_n(mask->pixels.begin() + y * 64 + 32, 32, uint8_t{255});
    again.mask_image.picture = mask;
    again.mask_blur = 0;
    const Tensor before = image_of(*start), after = image_of(picture(engine, again));
    EXPECT_TRUE(torch::equal(before.slice(2, 0, 32), after.slice(2, 0, 32)));
    EXPECT_FALSE(torch::equal(before.slice(2, 32), after.slice(2, 32)));
    // The network sees mask and picture: the painted half is not that of the run without them.
    EXPECT_FALSE(torch::equal(image_of(whole).slice(2, 32), after.slice(2, 32)));
  }
}

TEST(Sdxl, MakesAPictureWithALoraInTheSpellingOfTheOriginalCheckpoint) {
  const Models models("sdxl");
  Tensors lora;
  add_module(lora, "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_q", 32, 32);
  add_module(lora, "lora_unet_middle_block_1_transformer_blocks_1_attn2_to_v", 48, 32);
  add_module(lora, "lora_te1_text_model_encoder_layers_0_mlp_fc1", 16, 32);
  add_module(lora, "lora_te2_text_model_encoder_layers_1_self_attn_q_proj", 32, 32);
  write_safetensors(models.folder / "loras" / "style.safetensors", lora, {});
  Engine engine = models.engine();
  const Picture base = picture(engine, small("a house"));
  const GenerateResult styled = run(engine, small("a house<lora:style:1>"));
  ASSERT_EQ(styled.loras.size(), 1u);
  EXPECT_EQ(styled.loras[0].matched, 4);
  EXPECT_TRUE(styled.loras[0].unmatched.empty());
  EXPECT_NE(styled.pictures[0].picture, base);
  EXPECT_EQ(picture(engine, small("a house")), base);
}

TEST(Sdxl, AnEmptyNegativePromptIsZerosAndNotAnEncodedEmptyText) {
  const Models sdxl("sdxl"), sd1("sd1");
  for (const Models* models : {&sdxl, &sd1}) {
    Engine engine = models->engine();
    Request request = small("a house");
    const Picture empty = picture(engine, request);
    request.negative_prompt = " ";  // the same tokens as no text at all
    EXPECT_EQ(picture(engine, request) == empty, models == &sd1);
  }
}

TEST(Sd2, ThePredictionIsFoundByATrialWhenNothingTellsIt) {
  Models models("sd2");
  models.model.spec.prediction = "";
  Tensors tensors = file_of(models.model);
  // What the output lies above its input by, as the trial sees it: near for one that predicts epsilon, far below for v.
  for (const auto& [shift, wanted] : {std::pair{0.0, "epsilon"}, std::pair{-9.0, "v"}}) {
    tensors["model.diffusion_model.out.2.bias"].fill_(shift);
    models.write(tensors);
    Engine engine = models.engine();
    EXPECT_EQ(engine.prediction().name, wanted);
    EXPECT_EQ(picture(engine, small("a house")).width_px, 64);
  }
}

TEST(Broken, WeightsThatAreNotNumbersAreAnErrorAndNotABlackPicture) {
  for (const char* key : {"model.diffusion_model.out.2.weight", "first_stage_model.decoder.conv_out.weight"}) {
    const Models models("sd1");
    Tensors tensors = file_of(models.model);
    tensors[key] = torch::full_like(tensors.at(key), std::nan(""));
    models.write(tensors);
    Engine engine = models.engine();
    const std::string text = error_of([&] { run(engine, small("a house")); });
    EXPECT_TRUE(has(text, "NaN")) << key << ": " << text;
  }
}

TEST(Embeddings, OnesThatCannotBeUsedAreNamedWhenThePromptAsksForThem) {
  const Models models("sd1");
  write_safetensors(models.folder / "embeddings" / "wide.safetensors", {{"emb_params", torch::ones({2, 99})}}, {});
  std::ofstream(models.folder / "embeddings" / "torn.pt") << "not a file of tensors";
  Engine engine = models.engine();
  EXPECT_TRUE(run(engine, small("a widely known house")).warnings.empty());
  Request request = small("a (Wide:1.2) house");
  request.negative_prompt = "torn, blurry";
  const auto warnings = run(engine, request).warnings;
  ASSERT_EQ(warnings.size(), 2u);
  EXPECT_TRUE(has(warnings[0], "embedding wide was passed over") && has(warnings[0], "99 wide")) << warnings[0];
  EXPECT_TRUE(has(warnings[1], "embedding torn was passed over")) << warnings[1];
}

TEST(Embeddings, EachPictureListsItsOwn) {
  const Models models("sd1");
  write_safetensors(models.folder / "embeddings" / "dot.safetensors", {{"emb_params", torch::ones({1, 16})}}, {});
  Engine engine = models.engine();
  Request request = small("a dot");
  request.prompts.emplace_back("a house");
  const auto pictures = run(engine, request).pictures;
  ASSERT_EQ(pictures.size(), 2u);
  EXPECT_TRUE(has(pictures[0].infotext, "TI hashes: \"dot: ")) << pictures[0].infotext;
  EXPECT_FALSE(has(pictures[1].infotext, "TI hashes")) << pictures[1].infotext;
}

TEST(Infotext, TellsTheSeparateAutoencoderAndTheLorasOfTheSecondPass) {
  const Models models("sd1");
  Tensors vae, lora;
  for (const auto& [key, tensor] : file_of(tiny_model("sd1", false, /*seed=*/2))) {
    if (key.starts_with("first_stage_model.")) vae[key.substr(18)] = tensor;
  }
  write_safetensors(models.folder / "vae" / "other.safetensors", vae, {});
  add_module(lora, "lora_unet_mid_block_attentions_0_proj_in", 32, 32);
  write_safetensors(models.folder / "loras" / "second.safetensors", lora, {});
  Engine engine = models.engine();
  Request request = small("a house");
  const GeneratedPicture own = run(engine, request).pictures[0];
  EXPECT_FALSE(has(own.infotext, "VAE")) << own.infotext;
  request.vae = "other.safetensors";
  request.enable_hr = true;
  request.hr_scale = 1.5;
  request.denoising_strength = 0.5;
  request.hr_prompt = "a house<lora:second:1>";
  const GeneratedPicture both = run(engine, request).pictures[0];
  EXPECT_TRUE(has(both.infotext, "VAE hash: " + auto_v2(models.folder / "vae" / "other.safetensors") + ", VAE: other.safetensors"))
      << both.infotext;
  EXPECT_TRUE(has(both.infotext, "Lora hashes: \"second: ")) << both.infotext;
}

}  // namespace
}  // namespace lorikeet::families_test
