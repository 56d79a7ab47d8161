// What can stand in a LoRA's tag, on the whole way to the picture: block weights, steps, multipliers over the steps, regions.
#include <gtest/gtest.h>

#include <fstream>

#include "generate/denoiser.h"
#include "generate/engine.h"
#include "generate/generate.h"
#include "generate/infotext.h"
#include "generate/latents.h"
#include "generate/lora_plan.h"
#include "generate/pixels.h"
#include "generate/prompts.h"
#include "io/tensor_file.h"
#include "model/tiny.h"
#include "sampling/noise.h"
#include "sampling/run_plan.h"

namespace lorikeet::tag_test {
namespace {

namespace fs = std::filesystem;
using testing::error_of;

std::string kohya(const std::string& path) {
  std::string name = path;
  std::ranges::replace(name, '.', '_');
  return name.starts_with("unet_") ? "lora_" + name : "lora_te_" + name.substr(std::string("text_encoder_").size());
}

// Rank 2 on every linear and convolution (placeless: also on those of the time step); strong enough to be seen.
void write_lora(const fs::path& path, const LayerMap& layers, uint64_t seed, bool placeless) {
  torch::manual_seed(seed);
  std::map<std::string, Tensor> tensors;
  for (const auto& [layer_path, layer] : layers) {
    const Tensor& weight = layer->base_weight();
    const bool known = layer->geometry().op == LayerOp::linear || layer->geometry().op == LayerOp::conv2d;
    if (!known || layer_path.starts_with("vae.") || (!placeless && is_placeless(layer_path))) continue;
    Shape down = weight.sizes().vec(), up(static_cast<size_t>(weight.dim()), 1);
    down[0] = 2;
    up[0] = weight.size(0);
    up[1] = 2;
    const double scale = 0.3 / std::sqrt(static_cast<double>(weight.numel() / weight.size(0)));
    tensors[kohya(layer_path) + ".lora_down.weight"] = torch::randn(down);
    tensors[kohya(layer_path) + ".lora_up.weight"] = torch::randn(up) * scale;
  }
  write_safetensors(path, tensors, {});
}

// A models folder with a tiny SD1 and two LoRAs: "one" on all its layers, "two" on those that have places.
struct Models {
  testing::ScratchFolder folder;
  std::optional<Engine> engine;

  Models() {
    for (const char* kind : {"checkpoints", "loras"}) fs::create_directories(folder / kind);
    const testing::TinyModel model = testing::tiny_model("sd1");
    testing::write_single_file(folder / "checkpoints" / "model.safetensors", model, testing::file_of(model));
    EngineOptions options{.checkpoint = folder / "checkpoints" / "model.safetensors", .device = "cpu", .precision = "f32"};
    options.folders.add_root(folder.path());
    engine.emplace(std::move(options));
    write_lora(folder / "loras" / "one.safetensors", engine->layers(), 1, true);
    write_lora(folder / "loras" / "two.safetensors", engine->layers(), 2, false);
  }
};

Models& models() {
  static Models shared;
  return shared;
}

Request small(const std::string& prompt) {
  Request request;
  request.prompts = {prompt};
  request.width = request.height = 64;
  request.steps = 4;
  request.seed = 7;
  request.sampler = "euler";
  request.schedule = "uniform";
  return request;
}

GenerateResult run(const Request& request) {
  Progress progress;
  return generate(*models().engine, request, progress);
}

Picture picture(const Request& request) { return run(request).pictures.at(0).picture; }
Picture picture(const std::string& prompt) { return picture(small(prompt)); }

double distance(const Picture& a, const Picture& b) { return image_of(a).sub(image_of(b)).abs().mean().item<double>() * 255; }

Request at_run_time(const std::string& prompt) {
  Request request = small(prompt);
  request.lora_apply = LoraApply::runtime;
  return request;
}

// --- block weights ---

TEST(BlockWeightTag, OnesAreThePlainTagAndZerosAreTheBase) {
  const Picture base = picture("a house"), plain = picture("a house<lora:one:0.8>");
  EXPECT_GT(distance(base, plain), 0.5);
  EXPECT_EQ(picture("a house<lora:one:0.8:lbw=ALL>"), plain);
  EXPECT_EQ(picture("a house<lora:one:0.8:lbw=1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1>"), plain);
  EXPECT_EQ(picture("a house<lora:one:0.8:lbw=0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0>"), base);
  EXPECT_EQ(picture("a house<lora:one:0.8:lbw=NONE>"), base);
  EXPECT_EQ(picture("a house<lora:one:1.6:lbw=ALL0.5>"), plain);
  const Picture middle = picture("a house<lora:one:0.8:lbw=MIDD>");
  EXPECT_NE(middle, plain);
  EXPECT_NE(middle, base);
}

TEST(BlockWeightTag, PresetsComeFromTheFileBesideTheLoras) {
  const fs::path file = models().folder / "loras" / "lbwpresets.txt";
  std::ofstream(file) << "MINE:0,0,0,0,0,0,0,1,0,0,0,0,0,0,0,0,0\n";
  EXPECT_EQ(picture("a house<lora:one:1:lbw=MINE>"), picture("a house<lora:one:1:lbw=MID>"));
  fs::remove(file);
  const std::string error = error_of([] { picture("a house<lora:one:1:lbw=MINE>"); });
  EXPECT_NE(error.find("no block weights \"MINE\""), std::string::npos) << error;
  EXPECT_NE(error.find("<lora:one:1:lbw=MINE>"), std::string::npos) << error;
}

TEST(BlockWeightTag, AVectorForAnotherFamilyIsAWarning) {
  const auto result = run(small("a house<lora:one:1:lbw=1,1,1,1,1,1,1,1,1,1,1,1>"));
  ASSERT_EQ(result.warnings.size(), 1U);
  EXPECT_NE(result.warnings[0].find("are for SDXL"), std::string::npos) << result.warnings[0];
}

// --- steps and curves ---

// A run by hand: Euler's steps, each with the LoRAs of `prompts[step]`, all with the text of `text`.
Picture by_hand(const std::string& text, const std::vector<std::string>& prompts, bool merged) {
  torch::NoGradGuard no_grad;
  Engine& engine = *models().engine;
  const Request request = small(text);
  GenerateResult result;
  NamedHashes used;
  const PassFacts facts{1, {64, 64}};
  const auto loras_of = [&](const std::string& prompt) {
    LoraSteps plan = plan_loras(resolve_prompt(engine, prompt, request, result).loras, facts);
    plan.merged = merged;
    return std::make_shared<const LoraSteps>(plan);
  };
  const PicturePrompts encoded =
      encode_prompts(engine, resolve_prompt(engine, text, request, result), "", {request.steps, {}}, request, loras_of(text), used);
  const Sampler& sampler = find_sampler("euler");
  const RunPlan plan =
      plan_run(sampler, find_schedule("uniform"), request.steps, range_of(engine.noise_schedule(), engine.spec().xl_steps));
  NoiseSettings settings{.source = &find_random_source("gpu")};
  settings.seeds = {7};
  settings.subseeds = {0};
  PictureNoise noise(settings, {engine.spec().vae.latent_channels, 8, 8}, torch::kCPU);
  Tensor x = start(sampler, plan, noise.next());
  for (size_t i = 0; i + 1 < plan.sigmas.size(); ++i) {
    DenoiserInputs inputs{.guidance = {request.cfg_scale, 0}, .size = {64, 64}};
    inputs.pictures = {encoded};
    inputs.pictures[0].loras = loras_of(prompts[i]);
    const Tensor x0 = Denoiser(engine, inputs)(x, plan.sigmas[i]).x0;
    x = x + (x - x0) / plan.sigmas[i] * (plan.sigmas[i + 1] - plan.sigmas[i]);
  }
  Progress progress;
  return picture_of(decode_latent(engine.vae(""), engine.spec().latent, x, VaeTiling::off, progress));
}

TEST(StepTag, StartAndStopAreTheRunsPutTogetherByHand) {
  const std::string on = "a house<lora:one:0.8>", off = "a house<lora:one:0.8:0>";  // the text encoder's part stays on
  for (const bool merged : {true, false}) {
    const auto made = [&](const std::string& prompt) {
      Request request = small(prompt);
      request.lora_apply = merged ? LoraApply::merged : LoraApply::runtime;
      return image_of(picture(request));
    };
    const auto expect_near = [&](const std::string& prompt, const std::vector<std::string>& steps) {
      // The sampler computes its derivative in another order; a pixel on the edge of two values may fall to the other side.
      EXPECT_LE((made(prompt) - image_of(by_hand(on, steps, merged))).abs().max().item<double>(), 1.01 / 255) << prompt;
    };
    expect_near("a house<lora:one:0.8>", {on, on, on, on});
    expect_near("a house<lora:one:0.8:start=3>", {off, off, on, on});
    expect_near("a house<lora:one:0.8:stop=0.5>", {on, on, off, off});
    expect_near("a house<lora:one:0.8:step=2-4>", {off, on, on, off});
    expect_near("a house<lora:one:te=0.8:unet=0.8@1,0@2,0.8@3,0.8@4>", {on, off, on, on});
  }
  EXPECT_GT(distance(picture("a house<lora:one:0.8:start=3>"), picture(on)), 0.2);
  EXPECT_GT(distance(picture("a house<lora:one:0.8:start=3>"), picture(off)), 0.2);
}

TEST(StepTag, ALoraThatNeverWorksIsTheBaseAndIsTold) {
  const auto result = run(small("a house<lora:one:te=0:unet=1:start=5>"));
  EXPECT_EQ(result.pictures[0].picture, picture("a house"));
  ASSERT_EQ(result.warnings.size(), 1U);
  EXPECT_NE(result.warnings[0].find("never works"), std::string::npos) << result.warnings[0];
}

TEST(CurveTag, EqualValuesAreThePlainTagBitForBit) {
  for (const LoraApply way : {LoraApply::automatic, LoraApply::merged, LoraApply::runtime}) {
    Request curve = small("a house<lora:one:0.7@0,0.7@1>"), plain = small("a house<lora:one:0.7>");
    curve.lora_apply = plain.lora_apply = way;
    EXPECT_EQ(picture(curve), picture(plain));
  }
}

TEST(CurveTag, ARampDiffersFromItsEndsAndZeroAtEveryStepIsTheBase) {
  const Picture base = picture("a house"), whole = picture("a house<lora:one:te=0:unet=1>"),
                ramp = picture("a house<lora:one:te=0:unet=0@0,1@1>");
  EXPECT_GT(distance(ramp, base), 0.2);
  EXPECT_GT(distance(ramp, whole), 0.2);
  EXPECT_EQ(picture("a house<lora:one:te=0:unet=0@0,0@1>"), base);
  EXPECT_EQ(picture("a house<lora:one:0@0,1@5:unet=0@0,0@1>"), base);  // the text encoder has the first step's, which is 0
}

TEST(CurveTag, BothWaysOfApplyingGiveTheSamePicture) {
  Request request = small("a house<lora:one:0.2@0,1@1>");
  request.lora_apply = LoraApply::merged;
  const Picture merged = picture(request);
  request.lora_apply = LoraApply::runtime;
  EXPECT_LT(distance(merged, picture(request)), 0.05);  // sums in another order
}

TEST(CurveTag, StepsAreTheSamplersNotTheModelsCalls) {
  // Heun calls the model twice a step; with start=3 of 3 steps its first two steps, four calls, are the base's.
  Request request = at_run_time("a house<lora:one:te=0:unet=1:start=3>");
  request.sampler = "heun";
  request.steps = 3;
  Request base = request, shorter = request;
  base.prompts = {"a house"};
  shorter.prompts = {"a house<lora:one:te=0:unet=1:start=4>"};
  EXPECT_NE(picture(request), picture(base));
  EXPECT_EQ(picture(shorter), picture(base));
}

TEST(CurveTag, TheSecondPassHasItsOwn) {
  Request request = small("a house<lora:one:0.8:hr=0>");
  request.enable_hr = true;
  request.hr_scale = 1.5;
  request.denoising_strength = 0.6;
  Request both = request, by_prompt = request;
  both.prompts = {"a house<lora:one:0.8>"};
  by_prompt.prompts = {"a house<lora:one:0.8>"};
  by_prompt.hr_prompt = "a house";
  EXPECT_EQ(picture(request), picture(by_prompt));
  EXPECT_NE(picture(request), picture(both));
}

// --- regions ---

TEST(RegionTag, TheWholePictureIsNoRegion) { EXPECT_EQ(picture("a house<lora:one:0.8:x=0-1:y=0-1>"), picture("a house<lora:one:0.8>")); }

TEST(RegionTag, ItChangesItsPartMoreThanTheRest) {
  const Picture base = picture("a house"), half = picture("a house<lora:one:te=0:unet=1:x=0-0.5>");
  const auto change = [&](int from, int to) { return (image_of(half) - image_of(base)).abs().slice(2, from, to).mean().item<double>(); };
  EXPECT_GT(change(0, 32), change(32, 64));  // a region is no fence: attention and norms see the whole picture
  EXPECT_NE(half, picture("a house<lora:one:te=0:unet=1>"));
}

TEST(RegionTag, TwoHalvesOfOneLoraAreTheWholeUpToRounding) {
  const Picture whole = picture(at_run_time("a house<lora:two:te=0:unet=0.5>"));
  EXPECT_LT(distance(whole, picture("a house<lora:two:te=0:unet=0.5:x=0-0.5><lora:two:te=0:unet=0.5:x=0.5-1>")), 0.05);
}

TEST(RegionTag, AMaskComesFromTheLorasFolderOrFromTheRequest) {
  Picture left{64, 64, 1, std::vector<uint8_t>(64 * 64, 0)};
  for (int y = 0; y < 64; ++y) std::fill_n(left.pixels.begin() + y * 64, 32, uint8_t{255});
  write_picture(models().folder / "loras" / "left.png", left);
  const Picture wanted = picture("a house<lora:one:0.8:x=0-0.5>");
  EXPECT_EQ(picture("a house<lora:one:0.8:mask=left.png>"), wanted);
  PictureSource pixels;
  pixels.picture = std::make_shared<Picture>(left);
  Request request = small("a house<lora:one:0.8:mask=west>");
  request.region_masks = {"west=" + pixels.text()};
  EXPECT_EQ(picture(request), wanted);
}

TEST(RegionTag, AMaskNeverLeavesTheFolders) {
  Picture white{8, 8, 1, std::vector<uint8_t>(64, 255)};
  write_picture(models().folder / "outside.png", white);
  const std::string outside = (models().folder / "outside.png").string();
  for (const std::string& name : {std::string("../outside.png"), outside})
    EXPECT_NE(error_of([&] { picture("a house<lora:one:1:mask=" + name + ">"); }).find("leads out of the folders"), std::string::npos)
        << name;
  EXPECT_NE(error_of([&] { picture("a house<lora:one:1:mask=none.png>"); }).find("no mask \"none.png\""), std::string::npos);
  Request request = small("a house<lora:one:1:mask=west>");
  request.region_masks = {"west=" + outside};
  EXPECT_NE(error_of([&] { picture(request); }).find("is no picture"), std::string::npos);
}

TEST(RegionTag, CannotBeMergedAndAnEmptyOneIsTold) {
  Request request = small("a house<lora:one:1:x=0-0.5>");
  request.lora_apply = LoraApply::merged;
  EXPECT_NE(error_of([&] { picture(request); }).find("cannot be merged"), std::string::npos);
  write_picture(models().folder / "loras" / "black.png", Picture{8, 8, 1, std::vector<uint8_t>(64, 0)});
  const auto result = run(small("a house<lora:one:te=0:unet=1:mask=black.png>"));
  EXPECT_EQ(result.pictures[0].picture, picture("a house"));
  EXPECT_NE(result.warnings.at(0).find("time step's embedding"), std::string::npos) << result.warnings[0];
  EXPECT_NE(result.warnings.at(1).find("its region is empty"), std::string::npos) << result.warnings[1];
}

TEST(RegionTag, WorksWithHiresFix) {
  Request request = small("a house<lora:one:0.8:x=0-0.5>");
  request.enable_hr = true;
  request.hr_scale = 1.5;
  request.denoising_strength = 0.5;
  EXPECT_EQ(picture(request).width_px, 96);
}

// --- all of them ---

TEST(Tag, EachPictureOfABatchIsTheOneThatItWouldBeAlone) {
  const std::vector<std::string> prompts{"a house<lora:one:0.8:x=0-0.5><lora:two:0.6:x=0.5-1>",
                                         "a tree",
                                         "a boat<lora:one:0@0,1@1>",
                                         "a cat<lora:two:0.7:start=2>",
                                         "a dog<lora:two:0.7:lbw=MIDD>",
                                         "a boat<lora:one:0.8:y=0-0.4:stop=0.5>"};
  for (const LoraApply way : {LoraApply::automatic, LoraApply::runtime}) {
    Request together = small("");
    together.prompts = prompts;
    together.lora_apply = way;
    const auto pictures = run(together).pictures;
    ASSERT_EQ(pictures.size(), prompts.size());
    for (size_t i = 0; i < prompts.size(); ++i) {
      Request alone = small(prompts[i]);
      alone.seed = 7 + static_cast<int64_t>(i);
      alone.lora_apply = way;
      EXPECT_EQ(pictures[i].picture, picture(alone)) << prompts[i];
    }
  }
  EXPECT_EQ(picture("a house"), picture(at_run_time("a house")));  // the base again, bit for bit
}

TEST(Tag, InfotextKeepsItAsTypedAndMakesThePictureAgain) {
  const std::string tag = "<lora:one:te=0.5:unet=0@0,1@0.5:lbw=1,0,0,0,1,1,1,1,1,1,1,1,0,0,0,0,0:x=0-0.5:step=1-4>";
  const auto made = run(small("a house " + tag)).pictures[0];
  const Request again = parse_infotext(made.infotext).request;
  EXPECT_EQ(again.prompts[0], "a house " + tag);
  EXPECT_EQ(made.picture, picture(again));
}

TEST(Tag, AnUnknownArgumentIsAnErrorBeforeAnyWork) {
  const std::string error = error_of([] { picture("a house<lora:one:1:blocks=MIDD>"); });
  EXPECT_NE(error.find("'blocks=' is not known"), std::string::npos) << error;
}

TEST(Tag, NoRanksOrFewerAreAnError) {
  for (const char* dyn : {"dyn=0", "dyn=-1"}) EXPECT_NE(error_of([&] { picture(std::string("a house<lora:one:1:") + dyn + ">"); }).find("dyn=1 or more"), std::string::npos);
}

// --- the plan ---

LoraSteps plan_of(const std::string& prompt, int steps, LoraApply asked = LoraApply::automatic) {
  GenerateResult result;
  const PassFacts facts{steps, {64, 64}, false, 2 * steps};
  std::vector<LoraSteps> plans{plan_loras(resolve_prompt(*models().engine, prompt, small(prompt), result).loras, facts)};
  choose_ways(plans, facts, asked, /*on_cpu=*/true, 1);
  return plans[0];
}

TEST(LoraPlan, PiecesAreMergedRampsAndRegionsRunBesideTheLayers) {
  EXPECT_TRUE(plan_of("a", 20).merged);
  EXPECT_TRUE(plan_of("a<lora:one:1>", 1).merged);
  EXPECT_TRUE(plan_of("a<lora:one:1:step=5-10>", 20).merged);
  EXPECT_EQ(plan_of("a<lora:one:1:step=5-10>", 20).changes(), 2);
  EXPECT_FALSE(plan_of("a<lora:one:0@0,1@1>", 20).merged);
  EXPECT_EQ(plan_of("a<lora:one:0@0,1@1>", 20).changes(), 19);
  EXPECT_FALSE(plan_of("a<lora:one:1:x=0-0.5>", 20).merged);
  EXPECT_TRUE(plan_of("a<lora:one:0@0,1@1>", 20, LoraApply::merged).merged);
  EXPECT_EQ(plan_of("a<lora:one:1>", 20).sets.size(), 1U);
  EXPECT_EQ(plan_of("a<lora:one:0.5@0.2,0.5@0.7>", 20).sets.size(), 1U);
}

}  // namespace
}  // namespace lorikeet::tag_test
