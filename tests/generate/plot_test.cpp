// X/Y/Z plots: reading axes, what they do to a request, and the pictures and the sheet on the tiny model.
#include "generate/plot.h"

#include <gtest/gtest.h>

#include <functional>

#include "base/error.h"
#include "generate/engine.h"
#include "generate/infotext.h"

namespace lorikeet::plot_test {
namespace {

using Texts = std::vector<std::string>;

Engine& engine() {
  static Engine shared = [] {
    EngineOptions options{.checkpoint = LORIKEET_TINY_DIR "/checkpoints/tiny.safetensors", .device = "cpu", .precision = "f32"};
    options.folders.add_root(LORIKEET_TINY_DIR);
    return Engine(std::move(options));
  }();
  return shared;
}

PlotRequest plot(const std::string& prompt, std::initializer_list<const char*> axes) {
  PlotRequest plot;
  plot.base.prompts = {prompt};
  plot.base.width = plot.base.height = 64;
  plot.base.steps = 2;
  plot.base.seed = 7;
  size_t i = 0;
  for (const char* axis : axes) {
    if (*axis) plot.axes[i] = read_plot_axis(axis);
    ++i;
  }
  return plot;
}

Texts prompts_of(const PlotRequest& request) {
  Texts prompts;
  for (const PlannedCell& cell : plan_plot(request)) prompts.push_back(cell.request.prompts.at(0));
  return prompts;
}

std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::bad_input) << error.what();
    return error.what();
  }
  return "";
}

TEST(PlotAxis, ValuesArePartedByCommasAndQuotedOnesKeepThem) {
  EXPECT_EQ(read_plot_axis("sampler=euler, DPM++ 2M Karras").values, (Texts{"euler", "DPM++ 2M Karras"}));
  EXPECT_EQ(read_plot_axis("prompt=\"a cat, black\", \"say \"\"hi\"\"\" ,plain").values, (Texts{"a cat, black", "say \"hi\"", "plain"}));
  EXPECT_EQ(read_plot_axis("prompt_sr=a,").values, (Texts{"a"}));
  EXPECT_EQ(read_plot_axis("prompt_sr=a,,b").values, (Texts{"a", "", "b"}));
}

TEST(PlotAxis, RangesOfNumbersAreA1111sAndEndAtTheirEnd) {
  EXPECT_EQ(read_plot_axis("steps=1-3").values, (Texts{"1", "2", "3"}));
  EXPECT_EQ(read_plot_axis("seed=5, 1-6 (+2)").values, (Texts{"5", "1", "3", "5"}));
  EXPECT_EQ(read_plot_axis("steps=10-5 (-2)").values, (Texts{"10", "8", "6"}));
  EXPECT_EQ(read_plot_axis("steps=1-10 [4]").values, (Texts{"1", "4", "7", "10"}));
  EXPECT_EQ(read_plot_axis("steps=1-10 [3]").values, (Texts{"1", "5", "10"}));  // 5.5 is cut to a whole number
  EXPECT_EQ(read_plot_axis("cfg_scale=1-2 (+0.25)").values, (Texts{"1", "1.25", "1.5", "1.75", "2"}));
  EXPECT_EQ(read_plot_axis("lora:a=0-1 [5]").values, (Texts{"0", "0.25", "0.5", "0.75", "1"}));
  EXPECT_EQ(read_plot_axis("lora:a=-1-1 [3]").values, (Texts{"-1", "0", "1"}));
  EXPECT_EQ(read_plot_axis("lora:a=0-0.3 (+0.1)").values, (Texts{"0", "0.1", "0.2", "0.3"}));
  EXPECT_EQ(read_plot_axis("prompt_sr=1-3").values, (Texts{"1-3"}));  // a text is no range
  EXPECT_EQ(read_plot_axis("{m}=1-3, 0-1 [3]").values, (Texts{"1-3", "0", "0.5", "1"}));
  EXPECT_EQ(read_plot_axis("seed=-1").values, (Texts{"-1"}));
}

TEST(PlotAxis, SettingsAreFoundByEverySpelling) {
  for (const char* key : {"cfg_scale", "cfg-scale", "CFG scale"})
    EXPECT_EQ(axis_title(read_plot_axis(std::string(key) + "=7")), "CFG scale");
  EXPECT_EQ(axis_title(read_plot_axis("width=64,128")), "width");
  EXPECT_EQ(axis_title(read_plot_axis("lora:neon=1")), "LoRA neon");
  EXPECT_EQ(axis_title(read_plot_axis("{multiplier}=1")), "multiplier");
}

TEST(PlotAxis, WhatIsWrongIsNamed) {
  const std::pair<const char*, const char*> cases[] = {
      {"stepz=1", "did you mean steps?"}, {"steps", "values are missing"}, {"lora:=1", "cannot be"},
      {"lora:a=x", "no number"},          {"steps=5-1", "empty"},          {"steps=1-5 (+0)", "empty"},
      {"seed=0-100000", "more than"},     {"prompt=\"a", "not closed"},    {"batch_size=1,2", "changes nothing"}};
  for (const auto& [text, part] : cases)
    EXPECT_NE(message_of([&] { read_plot_axis(text); }).find(part), std::string::npos)
        << text << ": " << message_of([&] { read_plot_axis(text); });
}

TEST(PlotAxis, LabelsAreShort) {
  EXPECT_EQ(value_label("0.30000000000000004"), "0.3");
  EXPECT_EQ(value_label("<lora:neon:{m}> <lora:pixel:{m}>"), "neon + pixel");
  EXPECT_EQ(value_label("<lora:neon:0.5>"), "neon 0.5");
  EXPECT_EQ(value_label("<lora:neon:0:1:x=0-0.5><lora:pixel:lbw=MIDD>"), "neon 0:1 x=0-0.5 + pixel lbw=MIDD");
  EXPECT_EQ(value_label(" a cat <lora:neon:1>"), "a cat <lora:neon:1>");
}

TEST(Plot, ALoraAxisChangesItsTagOrAddsOne) {
  EXPECT_EQ(prompts_of(plot("a house <lora:neon:0> at night", {"lora:neon=0.5,1"})),
            (Texts{"a house <lora:neon:0.5> at night", "a house <lora:neon:1> at night"}));
  EXPECT_EQ(prompts_of(plot("a house", {"lora:neon=0.5"})), (Texts{"a house<lora:neon:0.5>"}));
  EXPECT_EQ(prompts_of(plot("<lora:a:1:0.2:8>x<lora:b:1><lora:a:3>", {"lora:a=0.5"})), (Texts{"<lora:a:0.5:0.5:8>x<lora:b:1>"}));
  EXPECT_EQ(prompts_of(plot("<lora:a:1:te=2:lbw=MIDD:x=0-0.5>", {"lora:a=0.5"})), (Texts{"<lora:a:0.5:lbw=MIDD:x=0-0.5>"}));
}

TEST(Plot, SearchAndReplaceReachesAllPrompts) {
  PlotRequest request = plot("a house and a house", {"prompt_sr=house,boat"});
  request.base.negative_prompt = "no house";
  const auto cells = plan_plot(request);
  EXPECT_EQ(cells[1].request.prompts[0], "a boat and a boat");
  EXPECT_EQ(cells[1].request.negative_prompt, "no boat");
  EXPECT_EQ(cells[0].request.prompts[0], "a house and a house");
}

TEST(Plot, WordsMayStandInValuesOfOtherAxes) {
  const Texts expected{"a <lora:n:0>", "a <lora:n:1>", "a <lora:n:0> <lora:p:0>", "a <lora:n:1> <lora:p:1>"};
  EXPECT_EQ(prompts_of(plot("a {l}", {"{m}=0,1", "{l}=<lora:n:{m}>, <lora:n:{m}> <lora:p:{m}>"})), expected);
  const Texts turned{expected[0], expected[2], expected[1], expected[3]};
  EXPECT_EQ(prompts_of(plot("a {l}", {"{l}=<lora:n:{m}>, <lora:n:{m}> <lora:p:{m}>", "{m}=0,1"})), turned);
}

TEST(Plot, AnAxisWithoutAPlaceTwiceTheSameAndTooManyCellsAreRefused) {
  EXPECT_NE(message_of([] { plan_plot(plot("a house", {"prompt_sr=boat,house"})); }).find("changes nothing"), std::string::npos);
  EXPECT_NE(message_of([] { plan_plot(plot("a house", {"{m}=1,2"})); }).find("changes nothing"), std::string::npos);
  EXPECT_NE(message_of([] { plan_plot(plot("a", {"steps=1,2", "steps=3,4"})); }).find("two axes"), std::string::npos);
  EXPECT_NE(message_of([] { plan_plot(plot("a", {"steps=1-100", "seed=1-100"})); }).find("more than 1000"), std::string::npos);
  EXPECT_NE(message_of([] { plan_plot(plot("a", {"steps=1-3,0"})); }).find("steps"), std::string::npos);
  PlotRequest several = plot("a", {"steps=1,2"});
  several.base.batch_size = 2;
  EXPECT_NE(message_of([&] { plan_plot(several); }).find("one picture"), std::string::npos);
}

TEST(Plot, EveryCellIsThePictureThatItsSettingsGiveAlone) {
  const PlotRequest request = plot("a house <lora:tiny-style:0>", {"lora:tiny-style=0,0.5,1", "seed=3,4", "sampler=euler,heun"});
  Progress progress;
  const PlotResult result = make_plot(engine(), request, progress);
  ASSERT_EQ(result.cells.size(), 12u);
  const auto planned = plan_plot(request);
  for (size_t i = 0; i < planned.size(); ++i) {
    EXPECT_EQ(result.cells[i].at, planned[i].at);
    const auto alone = generate(engine(), planned[i].request, progress);
    EXPECT_EQ(result.cells[i].made.picture, alone.pictures[0].picture) << "cell " << i;
    EXPECT_EQ(result.cells[i].made.infotext, alone.pictures[0].infotext);
  }
  EXPECT_EQ(result.loras.size(), 1u);
}

TEST(Plot, TheSheetTellsItsAxesInA1111sWordsAndTheFirstCell) {
  Progress progress;
  const PlotResult result = make_plot(engine(), plot("a house", {"steps=1,2", "prompt_sr=house,\"boat, red\""}), progress);
  const Infotext read = parse_infotext(result.infotext);
  EXPECT_EQ(read.request.steps, 1);
  EXPECT_EQ(read.request.prompts[0], "a house");
  const auto value = [&](std::string_view key) {
    for (const auto& pair : read.parameters)
      if (pair.first == key) return pair.second;
    return std::string("none");
  };
  EXPECT_EQ(value("Script"), "X/Y/Z plot");
  EXPECT_EQ(value("X Type"), "Steps");
  EXPECT_EQ(value("X Values"), "1,2");
  EXPECT_EQ(value("Y Type"), "Prompt S/R");
  EXPECT_EQ(value("Y Values"), "house,\"boat, red\"");
  EXPECT_EQ(value("Z Type"), "none");
}

TEST(Plot, ARandomSeedIsDrawnOnceForAllCells) {
  PlotRequest request = plot("a house", {"cfg_scale=1,7"});
  request.base.seed = -1;
  Progress progress;
  const PlotResult result = make_plot(engine(), request, progress);
  EXPECT_GE(result.cells[0].made.seed, 0);
  EXPECT_EQ(result.cells[0].made.seed, result.cells[1].made.seed);
}

TEST(Plot, TheModelAxisTakesOtherCheckpointsAndItsOwnByName) {
  PlotRequest request = plot("a house", {"model=tiny,tiny.safetensors," LORIKEET_GOLDEN_DIR "/sd1/diffusers"});
  Progress progress;
  EXPECT_THROW(make_plot(engine(), request, progress), Error);  // a path, which is not allowed to everybody
  request.model_paths = true;
  const PlotResult result = make_plot(engine(), request, progress);
  EXPECT_EQ(result.cells[0].made.picture, result.cells[1].made.picture);
  EXPECT_NE(result.cells[0].made.picture, result.cells[2].made.picture);
  EXPECT_NE(result.cells[2].made.infotext.find("Model: diffusers"), std::string::npos) << result.cells[2].made.infotext;
}

TEST(Plot, ACheckpointThatIsNotThereIsNamedBeforeAnyWork) {
  struct NoWork : Progress {
    void stage(std::string_view name, int) override { ADD_FAILURE() << name; }
  } none;
  EXPECT_THROW(make_plot(engine(), plot("a house", {"model=tiny,tinier"}), none), Error);
}

TEST(Plot, ProgressTellsTheCellAndCancellingStopsIt) {
  struct Watch : Progress {
    std::vector<std::string> stages;
    void stage(std::string_view name, int) override {
      stages.emplace_back(name);
      if (stages.back() == "cell 2 of 3: sampling") cancel();
    }
  } watch;
  EXPECT_THROW(make_plot(engine(), plot("a house", {"steps=1-3"}), watch), Error);
  EXPECT_EQ(watch.stages.back(), "cell 2 of 3: sampling");
  EXPECT_NE(std::ranges::find(watch.stages, "cell 1 of 3: sampling"), watch.stages.end());
}

// The sheet alone, from pictures of one colour each.
TEST(PlotSheet, EveryPictureStandsInItsPlaceUnchanged) {
  PlotRequest request = plot("a", {"steps=1,2,3", "seed=1,2", "cfg_scale=1,2"});
  std::vector<Picture> pictures;
  std::vector<const Picture*> pointers;
  for (uint8_t i = 0; i < 12; ++i) pictures.push_back({40, 30, 3, std::vector<uint8_t>(3 * 40 * 30, static_cast<uint8_t>(60 + 10 * i))});
  for (const Picture& picture : pictures) pointers.push_back(&picture);
  const Picture sheet = draw_plot_sheet(request, pointers);
  // The first pixel of each grey that is in the sheet as a whole block.
  std::vector<std::pair<int, int>> corners;
  for (uint8_t i = 0; i < 12; ++i) {
    const auto at = [&](int x, int y) { return sheet.pixels[size_t{3} * (y * sheet.width_px + x)]; };
    const auto is_block = [&](int left, int top) {
      for (int y = 0; y < 30; ++y)
        for (int x = 0; x < 40; ++x)
          if (at(left + x, top + y) != 60 + 10 * i) return false;
      return true;
    };
    for (int y = 0; y + 30 <= sheet.height_px && corners.size() == i; ++y)
      for (int x = 0; x + 40 <= sheet.width_px && corners.size() == i; ++x)
        if (at(x, y) == 60 + 10 * i && is_block(x, y)) corners.emplace_back(x, y);
    ASSERT_EQ(corners.size(), i + 1u) << "picture " << int{i};
  }
  EXPECT_LT(corners[0].first, corners[1].first);  // x to the right
  EXPECT_EQ(corners[0].second, corners[1].second);
  EXPECT_LT(corners[0].second, corners[3].second);  // y downwards
  EXPECT_EQ(corners[0].first, corners[3].first);
  EXPECT_LT(corners[2].first, corners[6].first);  // z: a block to the right
  EXPECT_EQ(corners[0].second, corners[6].second);
}

TEST(PlotSheet, ASheetThatWouldBeTooLargeIsMadeSmaller) {
  const PlotRequest request = plot("a", {"steps=1-20"});
  const Picture large{1024, 64, 3, std::vector<uint8_t>(3 * 1024 * 64, 128)};
  const std::vector<const Picture*> pictures(20, &large);
  const Picture sheet = draw_plot_sheet(request, pictures);
  EXPECT_LE(sheet.width_px, kMostPictureSidePx);
  EXPECT_GT(sheet.width_px, kMostPictureSidePx * 0.9);
}

}  // namespace
}  // namespace lorikeet::plot_test
