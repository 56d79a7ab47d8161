// The whole way from a request to pictures, on the tiny model that the build makes (random weights).
#include "generate/generate.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "generate/engine.h"
#include "generate/infotext.h"
#include "generate/pixels.h"

namespace lorikeet {
namespace {

Engine& engine() {
  static Engine shared = [] {
    EngineOptions options{.checkpoint = LORIKEET_TINY_DIR "/checkpoints/tiny.safetensors", .device = "cpu", .precision = "f32"};
    options.folders.add_root(LORIKEET_TINY_DIR);
    return Engine(std::move(options));
  }();
  return shared;
}

Request small(const std::string& prompt) {
  Request request;
  request.prompts = {prompt};
  request.negative_prompt = "blurry";
  request.width = request.height = 64;
  request.steps = 4;
  request.seed = 7;
  return request;
}

GenerateResult run(const Request& request) {
  Progress progress;
  return generate(engine(), request, progress);
}

Picture picture(const Request& request) { return run(request).pictures.at(0).picture; }

// Mean absolute difference in 8-bit steps.
double distance(const Picture& a, const Picture& b) {
  return image_of(a).sub(image_of(b)).abs().mean().item<double>() * 255;
}

TEST(Generate, TheSameSeedGivesTheSamePictureAndAnotherSeedAnother) {
  Request request = small("a house");
  const Picture first = picture(request);
  EXPECT_EQ(first.width_px, 64);
  EXPECT_EQ(first, picture(request));
  request.seed = 8;
  EXPECT_GT(distance(first, picture(request)), 1);
}

TEST(Generate, WithoutASizeItIsTheOneThatTheCheckpointWasTrainedAt) {
  Request request = small("a house");
  request.width = 0;  // the tiny model says nothing of its own, so that it is the family's
  request.steps = 1;
  const GeneratedPicture made = run(request).pictures.at(0);
  EXPECT_EQ(made.picture.width_px, 512);
  EXPECT_EQ(made.picture.height_px, 64);
  EXPECT_NE(made.infotext.find("Size: 512x64"), std::string::npos) << made.infotext;
  request.width = 32;
  EXPECT_THROW(run(request), Error);
}

TEST(Generate, APromptAndGuidanceChangeThePicture) {
  const Picture base = picture(small("a house"));
  EXPECT_NE(base, picture(small("a (house:1.6)")));
  Request unguided = small("a house");
  unguided.cfg_scale = 1;
  EXPECT_NE(base, picture(unguided));
}

TEST(Generate, ALoraChangesThePictureMoreWithItsMultiplierAndIsGoneAfterwards) {
  const Picture base = picture(small("a house"));
  const double weak = distance(base, picture(small("a house<lora:tiny-style:0.2>")));
  const double strong = distance(base, picture(small("a house<lora:tiny-style:1>")));
  EXPECT_GT(weak, 0.05);
  EXPECT_GT(strong, weak);
  EXPECT_EQ(base, picture(small("a house<lora:tiny-style:0>")));  // 0 is exactly off
  EXPECT_EQ(base, picture(small("a house")));                     // the base again, bit for bit
}

TEST(Generate, TheMultiplierDefaultsToOneAndTheSameLoraTwiceIsSummed) {
  const Picture whole = picture(small("a house<lora:tiny-style>"));
  EXPECT_EQ(whole, picture(small("a house<lora:tiny-style:1>")));
  EXPECT_EQ(whole, picture(small("a house<lora:tiny-style:0.5><lora:tiny-style:0.5>")));
}

TEST(Generate, APromptEditDoesNotReachIntoATag) {
  EXPECT_EQ(picture(small("[a house<lora:tiny-style:0.5>:a tree:0.5]")), picture(small("[a house:a tree:0.5]<lora:tiny-style:0.5>")));
}

TEST(Generate, EachPictureOfABatchIsTheOneThatItWouldBeAlone) {
  const std::vector<std::string> prompts{"a house<lora:tiny-style:0.8>", "a tree", "a boat<lora:tiny-style:-0.5>"};
  for (const LoraApply way : {LoraApply::automatic, LoraApply::merged, LoraApply::runtime}) {
    Request together = small("");
    together.prompts = prompts;
    together.batch_size = 2;
    together.lora_apply = way;
    const auto pictures = run(together).pictures;
    ASSERT_EQ(pictures.size(), 6u);
    for (size_t i = 0; i < 6; ++i) {
      Request alone = small(prompts[i / 2]);
      alone.seed = 7 + static_cast<int64_t>(i);
      alone.lora_apply = way;
      EXPECT_EQ(pictures[i].seed, alone.seed);
      EXPECT_EQ(pictures[i].picture, picture(alone)) << "picture " << i;
    }
  }
}

TEST(Generate, BothWaysOfApplyingALoraGiveTheSamePicture) {
  Request request = small("a house<lora:tiny-style:0.9>");
  request.lora_apply = LoraApply::merged;
  const Picture merged = picture(request);
  request.lora_apply = LoraApply::runtime;
  // Sums in another order differ in the last bits of float32; a pixel on the edge between two values may fall to the other side.
  EXPECT_LT(distance(merged, picture(request)), 0.05);
}

TEST(Generate, ALoraThatIsNotThereIsAnErrorWithTheNearNames) {
  try {
    run(small("a house<lora:tiny-stile:1>"));
    FAIL() << "did not throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::not_found);
    EXPECT_NE(std::string(error.what()).find("tiny-style"), std::string::npos) << error.what();
  }
  Request allowed = small("a house<lora:tiny-stile:1>");
  allowed.allow_missing = true;
  const auto result = run(allowed);
  ASSERT_EQ(result.warnings.size(), 1u);
  EXPECT_EQ(result.pictures[0].picture, picture(small("a house")));
}

TEST(Generate, TheReportCountsTheModules) {
  const auto result = run(small("a house<lora:tiny-style:1>"));
  ASSERT_EQ(result.loras.size(), 1u);
  EXPECT_EQ(result.loras[0].matched, 12);
  EXPECT_EQ(result.loras[0].total, 12);
  EXPECT_TRUE(result.loras[0].unmatched.empty());
}

TEST(Generate, AMalformedMultiplierIsAClearError) {
  for (const char* bad : {"a<lora:tiny-style:abc>", "a<lora:tiny-style:inf>", "a<lora:tiny-style:1:1:x>"}) {
    EXPECT_THROW(run(small(bad)), Error) << bad;
  }
}

TEST(Generate, InfotextMakesThePictureAgain) {
  Request request = small("a house, (red:1.2) <lora:tiny-style:0.7>");
  request.sampler = "euler_a";
  request.schedule = "karras";
  request.subseed = 3;
  request.subseed_strength = 0.25;
  const auto made = run(request).pictures[0];
  EXPECT_NE(made.infotext.find("Lora hashes: \"tiny-style: "), std::string::npos) << made.infotext;
  Request again = parse_infotext(made.infotext).request;
  EXPECT_EQ(made.picture, picture(again));
}

TEST(Generate, EverySamplerAndScheduleMakesAPicture) {
  const Picture reference = picture(small("a house"));
  for (const Choice& sampler : sampler_choices()) {
    Request request = small("a house");
    request.steps = 3;
    request.sampler = sampler.name;
    EXPECT_EQ(picture(request).pixels.size(), reference.pixels.size()) << sampler.name;
  }
  for (const Choice& schedule : schedule_choices()) {
    Request request = small("a house");
    request.steps = 3;
    request.schedule = schedule.name;
    EXPECT_EQ(picture(request).pixels.size(), reference.pixels.size()) << schedule.name;
  }
}

TEST(Generate, ImageToImageStaysNearerToTheStartWithLessStrength) {
  Request request = small("a house");
  const auto start = std::make_shared<Picture>(picture(request));
  request.prompts = {"a tree"};
  request.seed = 99;
  request.init_image.picture = start;
  request.denoising_strength = 0.2;
  const double little = distance(*start, picture(request));
  request.denoising_strength = 1;
  EXPECT_LT(little, distance(*start, picture(request)));
}

TEST(Generate, InpaintingLeavesTheRestOfThePictureAlone) {
  Request request = small("a house");
  const auto start = std::make_shared<Picture>(picture(request));
  auto mask = std::make_shared<Picture>(Picture{64, 64, 1, std::vector<uint8_t>(64 * 64, 0)});
  for (int y = 0; y < 64; ++y) std::fill_n(mask->pixels.begin() + y * 64 + 32, 32, uint8_t{255});
  request.prompts = {"a tree"};
  request.init_image.picture = start;
  request.mask_image.picture = mask;
  request.mask_blur = 0;
  for (const auto fill : {InpaintingFill::fill, InpaintingFill::original, InpaintingFill::latent_noise, InpaintingFill::latent_nothing}) {
    for (const bool only_masked : {false, true}) {
      request.inpainting_fill = fill;
      request.inpaint_full_res = only_masked;
      const Tensor before = image_of(*start), after = image_of(picture(request));
      EXPECT_TRUE(torch::equal(before.slice(2, 0, 32), after.slice(2, 0, 32)));
      EXPECT_FALSE(torch::equal(before.slice(2, 32), after.slice(2, 32)));
    }
  }
}

TEST(Generate, HiresFixMakesALargerPicture) {
  Request request = small("a house");
  request.enable_hr = true;
  request.hr_scale = 1.5;
  request.denoising_strength = 0.5;
  for (const auto upscaler : {HrUpscaler::latent, HrUpscaler::latent_nearest_exact, HrUpscaler::lanczos}) {
    request.hr_upscaler = upscaler;
    const Picture large = picture(request);
    EXPECT_EQ(large.width_px, 96);
    EXPECT_EQ(large.height_px, 96);
  }
  request.hr_resize_x = 128;
  request.hr_resize_y = 96;
  EXPECT_EQ(picture(request).width_px, 128);
}

TEST(Generate, TilesOfTheAutoencoderFitTogether) {
  Request request = small("a house");
  request.width = 640;
  request.steps = 1;
  request.vae_tiling = VaeTiling::off;
  const Picture whole = picture(request);
  request.vae_tiling = VaeTiling::on;
  const Picture tiled = picture(request);
  // Attention and group norms see a tile only, so tones shift a little; a misplaced tile would differ by tens.
  EXPECT_LT(distance(whole, tiled), 12);
  EXPECT_NE(whole, tiled);
}

TEST(Generate, SeamlessPicturesAreOtherPicturesAndCanBeSwitchedOff) {
  Request request = small("a house");
  const Picture base = picture(request);
  request.tiling = true;
  const Picture seamless = picture(request);
  EXPECT_NE(base, seamless);
  EXPECT_EQ(base, picture(small("a house")));
}

TEST(Generate, CancellingEndsItBetweenTwoSteps) {
  struct Impatient : Progress {
    void step(int done) override {
      if (done == 2) cancel();
      EXPECT_LE(done, 2);
    }
  } progress;
  try {
    generate(engine(), small("a house"), progress);
    FAIL() << "did not throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::cancelled);
  }
}

TEST(Generate, BadRequestsAreRefusedBeforeAnyWork) {
  const std::pair<const char*, void (*)(Request&)> cases[] = {
      {"width", [](Request& r) { r.width = 100; }},         {"steps", [](Request& r) { r.steps = 0; }},
      {"sampler", [](Request& r) { r.sampler = "eular"; }}, {"clip_skip", [](Request& r) { r.clip_skip = 9; }},
      {"mask", [](Request& r) { r.mask_image.picture = std::make_shared<Picture>(Picture{1, 1, 1, {0}}); }}};
  for (const auto& [name, spoil] : cases) {
    Request request = small("a house");
    spoil(request);
    EXPECT_THROW(run(request), Error) << name;
  }
}

}  // namespace
}  // namespace lorikeet
