// lorikeet plot on the tiny model of the golden files.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "io/picture.h"
#include "run.h"

using namespace lorikeet;
namespace fs = std::filesystem;

namespace plot_test {
namespace {
const std::string kModel = LORIKEET_GOLDEN_DIR "/sd1/diffusers", kLoras = LORIKEET_GOLDEN_DIR "/lora";

class PlotCommand : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("lorikeet_plot_" + std::to_string(getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  Ran plot(std::vector<std::string> more) {
    std::vector<std::string> all{
        "plot", "-m",          kModel, "--lora-dir", kLoras,           "-s", "1", "-W", "64", "-H", "64", "--device",
        "cpu",  "--precision", "f32",  "-o",         path("sheet.png")};
    all.insert(all.end(), more.begin(), more.end());
    return run(all);
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  fs::path folder_;
};
}  // namespace

TEST_F(PlotCommand, ASheetAndItsCellsAreWritten) {
  const Ran ran = plot({"-p", "a house", "--x", "lora:a2_kohya_rank8_fp32_sd1=0,1", "--y", "seed=1,2", "--cells", path("cells"), "--title",
                        "two by two", "--json"});
  ASSERT_EQ(ran.code, 0) << ran.err;
  const auto json = nlohmann::json::parse(ran.out);
  ASSERT_EQ(json["cells"].size(), 4u);
  const PictureFile sheet = read_picture(path("sheet.png"));
  EXPECT_GT(sheet.picture.width_px, 2 * 64);
  EXPECT_TRUE(has(text_named(sheet.text, "parameters"), "Script: X/Y/Z plot, X Type: LoRA a2_kohya_rank8_fp32_sd1, X Values: \"0,1\""))
      << text_named(sheet.text, "parameters");
  const PictureFile last = read_picture(json["cells"][3]["path"].get<std::string>());
  EXPECT_EQ(last.picture.width_px, 64);
  EXPECT_TRUE(has(text_named(last.text, "parameters"), "<lora:a2_kohya_rank8_fp32_sd1:1>"));
  EXPECT_TRUE(has(text_named(last.text, "parameters"), "Seed: 2"));
}

TEST_F(PlotCommand, WhatIsWrongIsToldBeforeAnyWork) {
  for (const std::vector<std::string>& bad : {std::vector<std::string>{"-p", "a"},
                                              {"-p", "a", "--x", "stepz=1,2"},
                                              {"-p", "a", "--x", "steps=0,1"},
                                              {"-p", "a", "--x", "sampler=eulr"},
                                              {"-p", "a", "-p", "b", "--x", "steps=1"},
                                              {"-p", "a", "--x", "steps=1", "-o", "folder"}}) {
    const Ran ran = plot(bad);
    EXPECT_EQ(ran.code, 2) << ran.err;
    EXPECT_FALSE(fs::exists(path("sheet.png")));
  }
}

TEST_F(PlotCommand, HelpNamesEveryKindOfAxis) {
  const Ran help = run({"plot", "-h"});
  for (const char* part : {"prompt_sr", "{WORD}", "lora:NAME", "model", "--cells"}) EXPECT_TRUE(has(help.out, part)) << part;
}

}  // namespace plot_test
