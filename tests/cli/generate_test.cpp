// The commands on the tiny model of the golden files: pictures are made, told of, and made again.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "io/picture.h"
#include "run.h"

using namespace lorikeet;
using nlohmann::json;
namespace fs = std::filesystem;

namespace generate_test {
namespace {
const std::string kModel = LORIKEET_GOLDEN_DIR "/sd1/diffusers", kLoras = LORIKEET_GOLDEN_DIR "/lora";

class GenerateCommand : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("lorikeet_cli_" + std::to_string(getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  // The smallest run: two steps at 64 x 64.
  Ran generate(std::vector<std::string> more) {
    std::vector<std::string> all{"generate", "-m", kModel, "--lora-dir", kLoras, "-s",          "2",  "-W",
                                 "64",       "-H", "64",   "--device",   "cpu",  "--precision", "f32"};
    all.insert(all.end(), more.begin(), more.end());
    return run(all);
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  fs::path folder_;
};
}  // namespace

TEST_F(GenerateCommand, APictureIsMadeAndMadeAgainFromItself) {
  const Ran first =
      generate({"-p", "a cat <lora:a2_kohya_rank8_fp32_sd1:0.8>", "-n", "blurry, dark", "--seed", "7", "-o", path("one.png")});
  ASSERT_EQ(first.code, 0) << first.err;
  EXPECT_EQ(first.out, path("one.png") + "\n");
  EXPECT_TRUE(has(first.err, "a2_kohya_rank8_fp32_sd1: ")) << first.err;
  EXPECT_TRUE(has(first.err, " modules (lora")) << first.err;
  const PictureFile one = read_picture(path("one.png"));
  EXPECT_EQ(one.picture.width_px, 64);
  const Ran again = run({"generate", "--from", path("one.png"), "-m", kModel, "--lora-dir", kLoras, "--device", "cpu", "--precision", "f32",
                         "-o", path("two.png")});
  ASSERT_EQ(again.code, 0) << again.err;
  const PictureFile two = read_picture(path("two.png"));
  EXPECT_EQ(two.picture, one.picture);
  EXPECT_EQ(two.text, one.text);
  const Ran other =
      run({"generate", "--from", path("one.png"), "-m", kModel, "--lora-dir", kLoras, "--seed", "8", "-o", path("three.png")});
  ASSERT_EQ(other.code, 0) << other.err;
  EXPECT_NE(read_picture(path("three.png")).picture, one.picture);
}

TEST_F(GenerateCommand, JsonTellsPicturesSeedsLorasAndTimes) {
  const Ran ran = generate({"-p", "a", "-p", "b", "--seed", "5", "-o", path("out"), "--json", "--format", "webp"});
  ASSERT_EQ(ran.code, 0) << ran.err;
  const json result = json::parse(ran.out);
  ASSERT_EQ(result["pictures"].size(), 2u);
  EXPECT_EQ(result["pictures"][1]["seed"], 6);
  EXPECT_TRUE(has(result["pictures"][0]["infotext"], "Seed: 5"));
  const std::string path = result["pictures"][1]["path"];
  EXPECT_TRUE(path.ends_with("00001-6.webp")) << path;
  EXPECT_TRUE(has(text_named(read_picture_text(path), "parameters"), "Seed: 6"));
  for (const char* key : {"loras", "warnings", "seconds", "load_seconds"}) EXPECT_TRUE(result.contains(key)) << key;
}

TEST_F(GenerateCommand, AMissingLoraIsAnErrorAndWritesNothing) {
  const Ran ran = generate({"-p", "a <lora:a2_kohya_rank8_fp32_sd:1>", "-o", path("x.png")});
  EXPECT_NE(ran.code, 0);
  EXPECT_TRUE(has(ran.err, "a2_kohya_rank8_fp32_sd1")) << ran.err;
  EXPECT_FALSE(fs::exists(path("x.png")));
  EXPECT_EQ(generate({"-p", "a <lora:none:1>", "--allow-missing", "-o", path("y.png")}).code, 0);
}

TEST_F(GenerateCommand, APreviewIsWritten) {
  ASSERT_EQ(generate({"-p", "a", "-o", path("x.png"), "--preview", path("preview.png")}).code, 0);
  EXPECT_EQ(read_picture(path("preview.png")).picture.channels, 3);
}

TEST_F(GenerateCommand, ThePictureWithoutSettingsAndTheWrongFileAreNamed) {
  write_picture(path("plain.png"), Picture{8, 8, 3, std::vector<uint8_t>(192)});
  const Ran plain = run({"generate", "--from", path("plain.png"), "-m", kModel});
  EXPECT_EQ(plain.code, 2);
  EXPECT_TRUE(has(plain.err, "carries no settings")) << plain.err;
  EXPECT_EQ(run({"generate", "-p", "x", "-m", path("plain.png")}).code, 2);
  EXPECT_EQ(run({"generate", "-p", "x", "-m", kLoras + "/a2_kohya_rank8_fp32_sd1.safetensors"}).code, 2);
}

TEST_F(GenerateCommand, InspectTellsWhatAFileIs) {
  write_picture(path("p.png"), Picture{8, 8, 3, std::vector<uint8_t>(192)},
                {{"parameters", "a cat\nSteps: 20, Sampler: Euler a, Seed: 3, Size: 512x512"}});
  const Ran picture = run({"inspect", path("p.png")});
  EXPECT_TRUE(has(picture.out, "kind: picture") && has(picture.out, "prompt: a cat") && has(picture.out, "Sampler: Euler a"))
      << picture.out;
  const json lora = json::parse(run({"inspect", kLoras + "/a2_kohya_rank8_fp32_sd1.safetensors", "--json"}).out);
  EXPECT_EQ(lora["kind"], "LoRA");
  EXPECT_EQ(lora["ranks"].begin().key(), "8");
  EXPECT_EQ(lora["hashes"]["AutoV3"].get<std::string>().size(), 12u);
  const json model = json::parse(run({"inspect", kModel, "--json"}).out);
  EXPECT_EQ(model["kind"], "checkpoint");
  EXPECT_EQ(model["family"], "sd1");
  const json embedding = json::parse(run({"inspect", LORIKEET_GOLDEN_DIR "/embeddings/webui.pt", "--json"}).out);
  EXPECT_EQ(embedding["kind"], "embedding");
  EXPECT_EQ(run({"inspect", kLoras + "/edge_truncated.safetensors"}).code, 2);
  EXPECT_EQ(run({"inspect", "no_such_thing"}).code, 1);
  EXPECT_EQ(run({"inspect"}).code, 2);
}

TEST_F(GenerateCommand, LorasAreListedAndABadFileIsALineOfTheList) {
  const Ran table = run({"lora", "list", "--lora-dir", kLoras});
  EXPECT_EQ(table.code, 0);
  EXPECT_TRUE(has(table.out, "a2_kohya_rank8_fp32_sd1") && has(table.out, "lora 8")) << table.out;
  EXPECT_TRUE(has(table.out, "edge_truncated") && has(table.out, "cannot be read"));
  const json list = json::parse(run({"lora", "list", "--lora-dir", kLoras, "--json"}).out);
  const auto found = std::find_if(list.begin(), list.end(), [](const json& one) { return one["name"] == "a2_kohya_rank8_fp32_sd1"; });
  ASSERT_NE(found, list.end());
  EXPECT_EQ((*found)["kinds"].begin().key(), "lora");
}

}  // namespace generate_test
