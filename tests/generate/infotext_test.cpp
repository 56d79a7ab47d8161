// Infotext against what stable-diffusion-webui 1.10 writes (its modules/processing.py, create_infotext) and reads.
#include "generate/infotext.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "sampling/sampler.h"
#include "sampling/schedules.h"

namespace lorikeet {
int fuzz_infotext(const uint8_t* data, size_t size);
}

using namespace lorikeet;

namespace {
InfotextFacts facts() {
  InfotextFacts result;
  result.seed = 965400086;
  result.subseed = 7;
  result.model = "v1-5-pruned-emaonly";
  result.model_hash = "6ce0161689";
  return result;
}

template <class T>
const T& one_of(const std::vector<T>& values, std::mt19937& random) {
  return values[random() % values.size()];
}

const std::vector<std::string> kTexts{"a cat",
                                      "",
                                      "a, b: c",
                                      "line one\nline two",
                                      "with \"quotes\" and \\ back\\slashes",
                                      "Steps: 20, Sampler: Euler, Seed: 1",
                                      "x\nNegative prompt: not really\ny",
                                      "Negative prompt:",
                                      "日本語, ein Käfer 🦜",
                                      " white space ",
                                      "\n\nempty lines\n\n",
                                      "512x512",
                                      "\"quoted\"",
                                      "<lora:monet:0.7> (a:1.2)",
                                      "tab\there\r\nand carriage return",
                                      "ends with backslash\\"};

// Any request that infotext has words for.
Request random_request(std::mt19937& random) {
  Request r;
  const auto chance = [&] { return random() % 3 == 0; };
  const auto real = [&](double from, double to) {
    return std::round((from + (to - from) * static_cast<double>(random() % 10001) / 10000) * 1e4) / 1e4;
  };
  r.prompts = {one_of(kTexts, random)};
  r.negative_prompt = one_of(kTexts, random);
  r.seed = static_cast<int64_t>(random()) << (random() % 20);
  r.steps = 1 + static_cast<int>(random() % 150);
  r.sampler = samplers()[random() % samplers().size()].name;
  r.schedule = schedules()[random() % schedules().size()].name;
  r.cfg_scale = real(0, 30);
  r.width = 8 * (8 + static_cast<int>(random() % 100));
  r.height = 8 * (8 + static_cast<int>(random() % 100));
  if (chance()) r.vae = one_of<std::string>({"vae-ft-mse", "a, b", "512x512"}, random);
  if (chance()) r.subseed_strength = real(0.01, 1), r.subseed = static_cast<int64_t>(random());
  if (chance()) r.seed_resize_from_w = 512, r.seed_resize_from_h = 768;
  if (chance()) r.clip_skip = static_cast<int>(random() % 12);
  if (chance()) r.ensd = 31337;
  r.rng = static_cast<Rng>(random() % 3);
  r.tiling = chance();
  if (chance()) r.eta = real(0, 1);
  if (chance()) r.s_churn = real(0, 10), r.s_tmin = real(0, 1), r.s_tmax = real(2, 100), r.s_noise = real(0, 2);
  if (chance()) r.cfg_rescale = real(0.01, 1);
  if (chance()) {
    r.enable_hr = true;
    r.denoising_strength = real(0, 1);
    r.hr_upscaler = static_cast<HrUpscaler>(random() % 8);
    if (chance())
      r.hr_resize_x = 1024, r.hr_resize_y = chance() ? 0 : 768;
    else
      r.hr_scale = real(1, 4);
    if (chance()) r.hr_second_pass_steps = 9;
    if (chance()) r.hr_sampler = "ddim", r.hr_schedule = "karras";
    if (chance()) r.hr_prompt = one_of(kTexts, random), r.hr_negative_prompt = one_of(kTexts, random);
    if (chance()) r.hr_cfg = real(0.5, 9);
  } else if (chance()) {
    r.init_image.path = "a.png";
    r.denoising_strength = real(0, 1);
    if (chance()) {
      r.mask_image.path = "b.png";
      r.mask_blur = static_cast<int>(random() % 20);
      r.inpainting_mask_invert = chance();
      r.inpainting_fill = static_cast<InpaintingFill>(random() % 4);
      r.inpaint_full_res = chance();
      if (r.inpaint_full_res) r.inpaint_full_res_padding = static_cast<int>(random() % 100);
    }
  }
  return r;
}
}  // namespace

TEST(Infotext, APlainPictureReadsAsInA1111) {
  Request r;
  r.prompts = {"a lighthouse at dusk"};
  r.negative_prompt = "blurry";
  r.sampler = "euler_a";
  r.width = r.height = 512;
  EXPECT_EQ(write_infotext(r, facts()),
            "a lighthouse at dusk\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, Schedule type: Automatic, CFG scale: 7, Seed: "
            "965400086, "
            "Size: 512x512, Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, Version: lorikeet 0.1.0");
}

TEST(Infotext, KeysComeInA1111sOrder) {
  Request r;
  r.prompts = {"x <lora:a:b:1>"};
  r.width = r.height = 512;
  r.enable_hr = true;
  r.denoising_strength = 0.7;
  r.hr_second_pass_steps = 10;
  r.subseed_strength = 0.25;
  r.clip_skip = 2;
  r.rng = Rng::cpu;
  r.tiling = true;
  r.ensd = 31337;
  r.eta = 0.5;
  r.vae = "mse";
  r.hr_prompt = "a, b";
  InfotextFacts f = facts();
  f.vae_hash = "735e4c3a44";
  f.lora_hashes = {{"a:b", "0123456789abcdef"}, {"c", "ba9876543210"}};
  f.ti_hashes = {{"neg", "aaaaaaaaaaaa"}};
  EXPECT_EQ(
      write_infotext(r, f),
      "x <lora:a:b:1>\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Automatic, CFG scale: 7, Seed: 965400086, Size: 512x512, Model hash: "
      "6ce0161689, Model: v1-5-pruned-emaonly, VAE hash: 735e4c3a44, VAE: mse, Variation seed: 7, Variation seed strength: 0.25, Denoising "
      "strength: 0.7, Clip skip: 2, ENSD: 31337, RNG: CPU, Tiling: True, Hires prompt: \"a, b\", Hires upscale: 2, Hires steps: 10, Hires "
      "upscaler: Latent, Lora hashes: \"ab: 0123456789ab, c: ba9876543210\", TI hashes: \"neg: aaaaaaaaaaaa\", Eta: 0.5, Version: lorikeet "
      "0.1.0");
}

TEST(Infotext, InpaintingTellsOfItsMask) {
  Request r;
  r.init_image.path = "a.png";
  r.mask_image.path = "b.png";
  r.inpainting_mask_invert = true;
  r.inpaint_full_res = true;
  r.inpainting_fill = InpaintingFill::latent_noise;
  const std::string text = write_infotext(r, facts());
  EXPECT_NE(
      text.find(
          "Denoising strength: 0.75, Mask mode: Inpaint not masked, Mask blur: 4, Inpaint area: Only masked, Masked area padding: 32, "
          "Masked content: latent noise, Version"),
      std::string::npos)
      << text;
  const Infotext read = parse_infotext(text);
  EXPECT_TRUE(read.from_picture && read.inpainted);
}

TEST(Infotext, TellsWhichOtherPicturesAreNeededToMakeItAgain) {
  const Infotext from_words = parse_infotext("a fox\nSteps: 20, Seed: 1"), from_picture = parse_infotext("a fox\nSteps: 20, Seed: 1, Denoising strength: 0.5"),
                 enlarged = parse_infotext("a fox\nSteps: 20, Seed: 1, Denoising strength: 0.5, Hires upscale: 2, Hires upscaler: Latent");
  EXPECT_FALSE(from_words.from_picture || enlarged.from_picture || from_picture.inpainted);
  EXPECT_TRUE(from_picture.from_picture);
  EXPECT_EQ(note_of_other_pictures(false, false), "");
  EXPECT_NE(note_of_other_pictures(true, true).find("--init-image and --mask"), std::string::npos);
  EXPECT_EQ(note_of_other_pictures(true, false).find("mask"), std::string::npos);
  EXPECT_EQ(note_of_other_pictures(false, true).find("--init-image"), std::string::npos);
}

TEST(Infotext, WhatIsWrittenIsReadBackForAnyRequest) {
  std::mt19937 random(11);
  for (int round = 0; round < 3000; ++round) {
    Request r = random_request(random);
    InfotextFacts f = facts();
    f.seed = r.seed;
    f.subseed = r.subseed;
    const std::string text = write_infotext(r, f);
    Infotext read = parse_infotext(text);
    read.request.init_image = r.init_image;  // pictures are not in the text
    read.request.mask_image = r.mask_image;
    ASSERT_EQ(read.request, r) << text;
    EXPECT_EQ(read.model, f.model);
  }
}

TEST(Infotext, APictureOfA1111IsRead) {
  const Infotext t = parse_infotext(
      "girl with an artist's beret, ((eyeshadow)),\nsecond line <lora:monet v2:0.7>\nNegative prompt: ugly, fat,\nblurry\nSteps: 30, "
      "Sampler: DPM++ 2M "
      "Karras, CFG scale: 7.5, Seed: 965400086, Size: 512x768, Model hash: 45dee52b, Model: \"a, b\", Denoising strength: 0.7, Clip skip: "
      "2, Hires "
      "resize: 1024x1536, Hires steps: 15, Hires upscaler: Latent (nearest-exact), Lora hashes: \"monet v2: 0123456789ab, x: "
      "e3b0c44298fc\", ControlNet "
      "0: \"Module: canny, Weight: 1\", Version: v1.10.1\n");
  EXPECT_EQ(t.request.prompts[0], "girl with an artist's beret, ((eyeshadow)),\nsecond line <lora:monet v2:0.7>");
  EXPECT_EQ(t.request.negative_prompt, "ugly, fat,\nblurry");
  Request r = t.request;
  validate(r);
  EXPECT_EQ(r.sampler, "dpmpp_2m");
  EXPECT_EQ(r.cfg_scale, 7.5);
  EXPECT_EQ(r.width, 512);
  EXPECT_EQ(r.height, 768);
  EXPECT_TRUE(r.enable_hr);
  EXPECT_EQ(r.hr_resize_x, 1024);
  EXPECT_EQ(r.hr_resize_y, 1536);
  EXPECT_EQ(r.hr_upscaler, HrUpscaler::latent_nearest_exact);
  EXPECT_EQ(r.clip_skip, 2);
  EXPECT_EQ(t.model, "a, b");
  EXPECT_EQ(t.version, "v1.10.1");
  EXPECT_EQ(t.lora_hashes, (NamedHashes{{"monet v2", "0123456789ab"}}));
  ASSERT_EQ(t.notes.size(), 1u);
  EXPECT_EQ(t.notes[0], "not repeated: ControlNet 0");
}

TEST(Infotext, SdNextsHashesAndAddNetsFieldsAreRead) {
  const Infotext next = parse_infotext(
      "a cat <lora:fox:1>\nSteps: 20, Seed: 1, Size: 512x512, LoRA networks: fox:1.0, LoRA hashes: fox:0123456789AB, App: SD.Next");
  EXPECT_EQ(next.lora_hashes, (NamedHashes{{"fox", "0123456789ab"}}));
  const Infotext addnet = parse_infotext(
      "a cat\nSteps: 20, Sampler: Euler a, Seed: 1, AddNet Enabled: True, AddNet Module 1: LoRA, AddNet Model 1: fox(0123abcd), AddNet "
      "Weight A 1: "
      "0.8, AddNet Weight B 1: 0.8, AddNet Module 2: LoRA, AddNet Model 2: owl");
  EXPECT_EQ(addnet.request.prompts[0], "a cat\n<lora:fox:0.8><lora:owl:1.0>");
}

TEST(Infotext, TextWithoutParametersIsAPrompt) {
  const Infotext t = parse_infotext("just a prompt, nothing: else");
  EXPECT_EQ(t.request.prompts[0], "just a prompt, nothing: else");
  EXPECT_TRUE(t.parameters.empty());
  EXPECT_EQ(parse_infotext("").request, Request());
}

// What Python's re gives for the pattern of infotext_utils.py on the same lines.
TEST(Infotext, PairsAreFoundAsByThePattern) {
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(infotext_pairs("Steps: 20, CFG scale: 7"), (Pairs{{"Steps", "20"}, {"CFG scale", "7"}}));
  EXPECT_EQ(infotext_pairs("a: 1"), Pairs{});  // a key has two characters or more
  EXPECT_EQ(infotext_pairs("ab:\"x, \\\"y\\\"\", cd: \"z"), (Pairs{{"ab", "\"x, \\\"y\\\"\""}, {"cd", "\"z"}}));
  EXPECT_EQ(infotext_pairs("(foo bar: 1), -baz: 2"), (Pairs{{"foo bar", "1)"}, {"baz", "2"}}));
  EXPECT_EQ(infotext_pairs("ab: , cd: 2"), (Pairs{{"ab", ""}, {"cd", "2"}}));
  EXPECT_EQ(infotext_pairs("x, y, Steps: 20: 3"), (Pairs{{"Steps", "20: 3"}}));
  EXPECT_EQ(infotext_pairs("ab: \"q\" z, cd: 1"), (Pairs{{"ab", "\"q\" z"}, {"cd", "1"}}));
  EXPECT_EQ(infotext_pairs("ab: \"\", cd: 1"), (Pairs{{"ab", "\"\""}, {"cd", "1"}}));
}

TEST(Infotext, PairsOfRandomLinesAreThoseOfPythonsPattern) {
  std::ifstream file(LORIKEET_GOLDEN_DIR "/infotext/pairs.json");
  const auto cases = nlohmann::json::parse(file);
  ASSERT_GT(cases.size(), 500u);
  for (const auto& one : cases) {
    const std::string line = one[0];
    EXPECT_EQ(infotext_pairs(line), (one[1].get<std::vector<std::pair<std::string, std::string>>>())) << line;
  }
}

TEST(Infotext, LorasInTagsAreRenamed) {
  EXPECT_EQ(rename_loras("a <lora:x:1> <lora:y:2> <lora:x> <lora", {{"x", "new"}}), "a <lora:new:1> <lora:y:2> <lora:new> <lora");
}

TEST(Infotext, RandomBytesNeverBreakTheReader) {
  std::mt19937 random(3);
  const std::string alphabet = "\"\\,:x1 \n-/é<>(SizeSteps";
  for (int round = 0; round < 20000; ++round) {
    std::string text;
    for (unsigned i = random() % 60; i > 0; --i) text += alphabet[random() % alphabet.size()];
    EXPECT_EQ(fuzz_infotext(reinterpret_cast<const uint8_t*>(text.data()), text.size()), 0);
  }
  const std::string long_text(100000, 'a');
  std::string long_dashes(100000, '-');
  long_dashes += ':';
  EXPECT_EQ(parse_infotext(long_text).request.prompts[0].size(), 100000u);
  EXPECT_TRUE(infotext_pairs(long_dashes).empty());  // quadratic in a naive search
}
