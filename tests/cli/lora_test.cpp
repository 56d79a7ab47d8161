// "lorikeet lora": every verb on the golden files, as a person would type it.
#include <gtest/gtest.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/lora_inputs.h"
#include "cli/lora_verbs.h"
#include "io/hash.h"
#include "io/picture.h"
#include "io/tensor_file.h"
#include "run.h"

using namespace lorikeet;
using nlohmann::json;
namespace fs = std::filesystem;

namespace lora_test {
namespace {
const std::string kModel = LORIKEET_GOLDEN_DIR "/sd1/diffusers", kLoras = LORIKEET_GOLDEN_DIR "/lora";
const std::string kPlain = "a2_kohya_rank8_fp32_sd1", kDora = "g2_dora_per_output_sd1";

class LoraCommand : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("lorikeet_lora_cli_" + std::to_string(getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  // With the golden LoRAs to be found by name.
  Ran lora(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "lora");
    arguments.insert(arguments.end(), {"--lora-dir", kLoras});
    return run(arguments);
  }
  std::string picture(const std::string& model, const std::string& prompt, const std::string& name) {
    const Ran ran = run({"generate", "-m",  model,         "--lora-dir", kLoras,   "-s", "2",  "-W",   "64", "-H",      "64",
                         "--device", "cpu", "--precision", "f32",        "--seed", "7",  "-p", prompt, "-o", path(name)});
    EXPECT_EQ(ran.code, 0) << ran.err;
    return path(name);
  }
  fs::path folder_;
};
}  // namespace

TEST_F(LoraCommand, InfoAndCheckTellWhatAFileIs) {
  const Ran info = lora({"info", kPlain});
  ASSERT_EQ(info.code, 0) << info.err;
  for (const char* part : {"lora 8", "AutoV3", "MID", "IN01", "TE00", "largest σ"}) EXPECT_TRUE(has(info.out, part)) << part << info.out;
  const json described = json::parse(lora({"info", kPlain, "--json"}).out);
  EXPECT_EQ(described["matched"], 72);
  EXPECT_EQ(described["layers"].size(), 72u);
  EXPECT_EQ(described["hashes"]["sha256"], sha256_file(kLoras + "/" + kPlain + ".safetensors"));
  const Ran check = lora({"check", kPlain, "-m", kModel});
  ASSERT_EQ(check.code, 0) << check.err;
  for (const char* part : {"72 of 72 modules", "at most about", " %"}) EXPECT_TRUE(has(check.out, part)) << part << check.out;
  EXPECT_TRUE(has(lora({"info", kDora}).out, "depends on the checkpoint"));
  EXPECT_FALSE(has(lora({"info", kDora, "-m", kModel}).out, "faults"));
}

TEST_F(LoraCommand, TheHeatMapIsAPictureOrADrawing) {
  EXPECT_EQ(lora({"info", kPlain, "--heat-map", path("map.png")}).code, 0);
  EXPECT_GT(read_picture(path("map.png")).picture.width_px, 600);
  EXPECT_EQ(lora({"check", kPlain, "-m", kModel, "--heat-map", path("map.svg")}).code, 0);
  std::ifstream stream(path("map.svg"));
  const std::string svg((std::istreambuf_iterator<char>(stream)), {});
  EXPECT_TRUE(has(svg, "<svg") && has(svg, "cross") && has(svg, "OUT11"));
  EXPECT_EQ(lora({"info", kPlain, "--heat-map", path("map.txt")}).code, 2);
}

TEST_F(LoraCommand, APictureFromTheBakedCheckpointIsTheOneWithTheTags) {
  const Ran baked = lora({"bake", "-m", kModel, kPlain + ":0.8", kDora + ":0.5:1", "--dtype", "f32", "-o", path("baked")});
  ASSERT_EQ(baked.code, 0) << baked.err;
  const auto tags = picture(kModel, "a cat <lora:" + kPlain + ":0.8> <lora:" + kDora + ":0.5:1>", "tags.png");
  EXPECT_EQ(read_picture(picture(path("baked"), "a cat", "baked.png")).picture, read_picture(tags).picture);
  EXPECT_NE(read_picture(picture(kModel, "a cat", "plain.png")).picture, read_picture(tags).picture);
}

TEST_F(LoraCommand, MixedFilesAreMadeAgainFromTheirRecipe) {
  const std::string b = "a4_kohya_varrank_sd1";
  for (const std::vector<std::string>& method :
       std::vector<std::vector<std::string>>{{"--method", "svd", "--rank", "3"}, {"--method", "dare", "--rank", "4", "--seed", "5"}, {}}) {
    std::vector<std::string> arguments{"mix", kPlain + ":0.7",        b + ":0.3:lbw=1,1,1,1,1,1,1,0,1,1,1,1,1,1,1,1,1",
                                       "-o",  path("ab.safetensors"), "--force"};
    arguments.insert(arguments.end(), method.begin(), method.end());
    const Ran mixed = lora(arguments);
    ASSERT_EQ(mixed.code, 0) << mixed.err;
    const Ran again = lora({"mix", "--recipe", path("ab.safetensors"), "-o", path("again.safetensors"), "--force"});
    ASSERT_EQ(again.code, 0) << again.err;
    EXPECT_EQ(sha256_file(path("again.safetensors")), sha256_file(path("ab.safetensors")));
  }
  const Ran nowhere = run({"lora", "mix", "--recipe", path("ab.safetensors"), "--lora-dir", path("."), "-o", path("x.safetensors")});
  EXPECT_TRUE(has(nowhere.err, "the recipe wants")) << nowhere.err;
}

TEST_F(LoraCommand, ResizeConvertCompareAndEditWorkTogether) {
  EXPECT_EQ(lora({"resize", kPlain, "--rank", "8", "--rule", "sv_fro=0.9", "-o", path("small.safetensors")}).code, 0);
  EXPECT_EQ(lora({"convert", path("small.safetensors"), "--to", "diffusers", "--dtype", "f16", "-o", path("d.safetensors")}).code, 0);
  const Ran back = lora({"convert", path("d.safetensors"), "--to", "kohya", "-o", path("k.safetensors"), "--json"});
  ASSERT_EQ(back.code, 0) << back.err;
  EXPECT_EQ(json::parse(back.out)["hashes"]["stated"], auto_v3(path("k.safetensors")));
  const json compared = json::parse(lora({"compare", path("small.safetensors"), path("k.safetensors"), "--json"}).out);
  EXPECT_NEAR(compared["total"]["cosine"].get<double>(), 1, 1e-5);  // float16
  EXPECT_EQ(lora({"edit", path("k.safetensors"), "--set", "ss_output_name=fox", "--trigger", "red fox"}).code, 0);
  const json info = json::parse(lora({"info", path("k.safetensors"), "--json"}).out);
  EXPECT_EQ(info["alias"], "fox");
  EXPECT_EQ(info["trigger_phrase"], "red fox");
  EXPECT_EQ(info["history"].size(), 4u);
  const Ran plain = lora({"convert", kDora, "-m", kModel, "--kind", "lora", "--rank", "4", "-o", path("p.safetensors")});
  EXPECT_TRUE(has(plain.out, "relative error")) << plain.err;
}

TEST_F(LoraCommand, ABakedCheckpointGivesItsLoraBack) {
  ASSERT_EQ(lora({"bake", "-m", kModel, kPlain, "--dtype", "f32", "-o", path("baked")}).code, 0);
  const Ran ran =
      lora({"extract", "--base", kModel, "--tuned", path("baked"), "--rank", "8", "--dtype", "f32", "-o", path("back.safetensors")});
  ASSERT_EQ(ran.code, 0) << ran.err;
  const json compared = json::parse(lora({"compare", kPlain, path("back.safetensors"), "--json"}).out);
  for (const auto& layer : compared["layers"]) {
    EXPECT_NEAR(layer["cosine"].get<double>(), 1, 1e-6) << layer["name"];
    EXPECT_NEAR(layer["norm_second"].get<double>() / layer["norm_first"].get<double>(), 1, 1e-4) << layer["name"];
  }
  EXPECT_EQ(compared["layers"].size(), 72u);
  EXPECT_TRUE(compared["only_first"].empty() && compared["only_second"].empty());
}

TEST_F(LoraCommand, BadInputIsOneClearErrorAndNothingIsWritten) {
  for (const auto& [arguments, part] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"mix", kPlain, "e1_kohya_ldm_sdxl", "-o", path("x.safetensors")}, "error"},
           {{"resize", kPlain, "-o", path("x.safetensors")}, "which rank"},
           {{"resize", kPlain, "--rank", "4"}, "where to"},
           {{"resize", kPlain, "--rank", "4", "--block-ranks", "OTU=1", "-o", path("x.safetensors")}, "there is no block \"OTU\""},
           {{"convert", kPlain, "-o", path("x.pt")}, "under another extension"},
           {{"resize", kPlain, "--rank", "4", "-o", kLoras + "/" + kPlain + ".safetensors"}, "is one of the inputs"},
           {{"convert", kPlain, "--to", "webui", "-o", path("x.safetensors")}, "there is no spelling"},
           {{"convert", kPlain, "--dtype", "f8", "-o", path("x.safetensors")}, "no type of numbers"},
           {{"info", kModel + "/unet/diffusion_pytorch_model.safetensors"}, "is a checkpoint or a part of one"},
           {{"bake", "-m", kModel, "-o", path("x")}, "which LoRAs"},
           {{"bake", "-m", kModel, kPlain + ":much", "-o", path("x")}, "is no multiplier"},
           {{"extract", "--base", kModel, "--tuned", kModel, "--rank", "4", "-o", path("x.safetensors")}, "do not differ"},
           {{"extract", "--base", kModel, "--rank", "4", "-o", path("x.safetensors")}, "which checkpoints"},
           {{"compare", kPlain}, "two files"},
           {{"edit", kPlain}, "what is to be changed"},
           {{"resise", kPlain}, "resize"},
           {{"info", "edge_truncated"}, "edge_truncated"}}) {
    const Ran ran = lora(arguments);
    EXPECT_NE(ran.code, 0) << arguments[0];
    EXPECT_TRUE(has(ran.err, part)) << ran.err;
  }
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(LoraCommand, ASliderIsTrainedInstalledAndUsed) {
  fs::create_directories(path("models/loras"));
  std::vector<std::string> command{"lora", "slider", "-m", kModel, "--target", "person", "--positive", "old person", "--steps", "2",
                                   "--rank", "2", "-W", "64", "-H", "64", "--denoising-steps", "2", "--out", "age", "--run-dir", path("run"),
                                   "--sample-every", "2", "--precision", "f32", "--device", "cpu", "--models", path("models"), "-q"};
  EXPECT_TRUE(has(run(command).err, "--negative"));
  EXPECT_TRUE(has(run({"lora", "slider", "--images", "x"}).err, "there is no option --images"));
  command.insert(command.end(), {"--negative", "young person"});
  const Ran trained = run(command);
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_TRUE(fs::exists(path("run/samples/step-000002.png")));
  EXPECT_EQ(read_picture(path("run/samples/step-000002.png")).picture.width_px, 3 * 64);
  ASSERT_TRUE(fs::exists(path("models/loras/age.safetensors")));
  const Ran info = run({"lora", "info", path("models/loras/age.safetensors")});
  EXPECT_TRUE(has(info.out, "multipliers above 0 give \"old person\", below 0 \"young person\"")) << info.out << info.err;
  const auto made = [&](const std::string& tag) {
    const Ran ran = run({"generate", "-m", kModel, "--models", path("models"), "-s", "1", "-W", "64", "-H", "64", "--device", "cpu",
                         "--precision", "f32", "--seed", "7", "-p", "person" + tag, "-o", path("x.png")});
    EXPECT_EQ(ran.code, 0) << ran.err;
    return read_picture(path("x.png")).picture.pixels.size();
  };
  EXPECT_EQ(made(" <lora:age:-1.5>"), made(" <lora:age:2>"));
}

TEST(LoraVerbs, EveryVerbHasHelpAndCompletion) {
  const std::string bash = run({"completion", "bash"}).out, fish = run({"completion", "fish"}).out, zsh = run({"completion", "zsh"}).out;
  const Ran help = run({"lora", "--help"});
  for (const Command& verb : lora_verbs()) {
    EXPECT_TRUE(has(help.out, verb.name)) << verb.name;
    const std::string word(verb.name.substr(5));
    const Ran own = run({"lora", word, "--help"});
    EXPECT_EQ(own.code, 0);
    CLI::App app;
    app.set_help_flag("");
    const RunCommand keeps_the_options_alive = verb.define(app);
    for (const CLI::Option* option : app.get_options())
      for (const std::string& name : option->get_lnames()) {
        if (name.starts_with("no-")) continue;  // help shows one side of a switch
        EXPECT_TRUE(has(own.out, "--" + name) || has(own.out, "--[no-]" + name)) << word << " " << name;
        for (const std::string* script : {&bash, &fish, &zsh}) EXPECT_TRUE(has(*script, name)) << word << " " << name;
      }
    for (const std::string* script : {&bash, &fish, &zsh}) EXPECT_TRUE(has(*script, word)) << word;
  }
  const fs::path script = fs::temp_directory_path() / ("lorikeet_lora_completion_" + std::to_string(getpid()));
  std::ofstream(script)
      << bash
      << "COMP_WORDS=(lorikeet lora res); COMP_CWORD=2; _lorikeet; [[ ${COMPREPLY[0]} == resize ]] || exit 1\n"
         "COMP_WORDS=(lorikeet lora mix --meth); COMP_CWORD=3; _lorikeet 2>/dev/null; [[ ${COMPREPLY[0]} == --method ]] || exit 2\n"
         "COMP_WORDS=(lorikeet lora mix --method ti); COMP_CWORD=4; _lorikeet; [[ ${COMPREPLY[0]} == ties ]] || exit 3\n";
  EXPECT_EQ(std::system(("bash " + script.string()).c_str()), 0);
  fs::remove(script);
}

}  // namespace lora_test
