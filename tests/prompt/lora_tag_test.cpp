#include "prompt/lora_tag.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace lorikeet {

namespace {

LoraTag read(const std::string& tag) {
  const auto prompt = take_extra_networks(tag);
  EXPECT_EQ(prompt.tags.size(), 1U) << tag;
  return parse_lora_tag(prompt.tags.at(0));
}

// Message and hint of the error; "" when there was none.
std::string error_of(const std::string& tag) {
  try {
    read(tag);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::bad_input) << tag;
    return error.what();
  }
  return "";
}

std::vector<double> values(const MultiplierCurve& curve, int steps) {
  std::vector<double> all;
  for (int step = 0; step < steps; ++step) all.push_back(curve.at(step, steps));
  return all;
}

// The steps, counted from 1, in which the tag works.
std::vector<int> steps_of(const std::string& text, int steps) {
  const LoraTag tag = read(text);
  std::vector<int> on;
  for (int step = 0; step < steps; ++step)
    if ((!tag.start || tag.start->reached(step, steps)) && (!tag.stop || !tag.stop->reached(step, steps))) on.push_back(step + 1);
  return on;
}

}  // namespace

TEST(LoraTag, ItsArgumentsStandInPlacesOrByNameAndNamesWin) {
  struct Case {
    const char* tag;
    double te, unet;
    std::optional<int64_t> dyn;
  };
  for (const Case& one : std::initializer_list<Case>{{"<lora:a>", 1, 1, {}},
                                                     {"<lora:a:0.5>", 0.5, 0.5, {}},
                                                     {"<lora:a:0.5:0.7>", 0.5, 0.7, {}},
                                                     {"<lora:a:0.5:0.7:4>", 0.5, 0.7, 4},
                                                     {"<lora:a:0.5:unet=2:te=3:dyn=8>", 3, 2, 8},
                                                     {"<lora:a:te=3>", 3, 3, {}},
                                                     {"<lora:a:lbw=MIDD:0.5:x=0-0.5>", 0.5, 0.5, {}}}) {
    const LoraTag tag = read(one.tag);
    EXPECT_EQ(tag.name, "a");
    EXPECT_EQ(tag.text, one.tag);
    EXPECT_EQ(tag.te, one.te) << one.tag;
    EXPECT_EQ(tag.unet, one.unet) << one.tag;
    EXPECT_EQ(tag.dyn, one.dyn) << one.tag;
  }
}

TEST(LoraTag, WhatCannotBeReadIsAnErrorThatShowsTheTagAndWhatWouldDo) {
  const std::pair<const char*, const char*> cases[] = {
      {"<lora:fox:much>", "lbw=much"},
      {"<lora:fox:0.5;>", "write <lora:name:0.8>"},
      {"<lora:te=1>", "name is missing"},
      {"<lora:fox:1:foo=bar>", "there are te=, unet="},
      {"<lora:fox:1:lwb=ALL>", "did you mean lbw"},
      {"<lora:fox:1:TE=2>", "te"},
      {"<lora:fox:0@0,1>", "has no position"},
      {"<lora:fox:0@x>", "no number"},
      {"<lora:fox:0@-1>", "not in the run"},
      {"<lora:fox:1:start=-1>", "no step"},
      {"<lora:fox:1:start=1.5>", "no step"},
      {"<lora:fox:1:start=soon>", "start=0.25"},
      {"<lora:fox:1:step=5>", "no range of steps"},
      {"<lora:fox:1:step=5-x>", "no step"},
      {"<lora:fox:1:step=10-5>", "stops before it starts"},
      {"<lora:fox:1:start=0.5:stop=0.5>", "stops before it starts"},
      {"<lora:fox:1:x=0.5>", "no part of the picture"},
      {"<lora:fox:1:x=0.5-0.2>", "goes from 0 to 1"},
      {"<lora:fox:1:y=0-1.5>", "y=0-0.5"},
      {"<lora:fox:1:dyn=8.5>", "no whole number"},
      {"<lora:fox:1:hr=much>", "no number"},
      {"<lora:fox:1:lbw=>", "lbw= is empty"},
      {"<lora:fox:1:mask=>", "mask= is empty"},
  };
  for (const auto& [tag, part] : cases) {
    const std::string error = error_of(tag);
    EXPECT_NE(error.find(tag), std::string::npos) << tag << ": " << error;
    EXPECT_NE(error.find(part), std::string::npos) << tag << ": " << error;
  }
}

TEST(LoraTag, InfiniteMultipliersCanBeTold) {
  EXPECT_FALSE(read("<lora:a:inf>").is_finite());
  EXPECT_FALSE(read("<lora:a:0@0,nan@1>").is_finite());
  EXPECT_FALSE(read("<lora:a:1:hr=inf>").is_finite());
  EXPECT_TRUE(read("<lora:a:1e3>").is_finite());
}

TEST(LoraTag, OffIsWhatIsZeroAtEveryStepOfEveryPass) {
  for (const char* off : {"<lora:a:0>", "<lora:a:0@0,0@1>", "<lora:a:0:0:hr=0>"}) EXPECT_TRUE(read(off).is_off()) << off;
  for (const char* on : {"<lora:a:0:1>", "<lora:a:0@0,1@1>", "<lora:a:0:hr=1>", "<lora:a:0:hrunet=1>", "<lora:a>"})
    EXPECT_FALSE(read(on).is_off()) << on;
}

// sd-webui-loractl: positions are shares when the last is at most 1, else steps counted from 1; straight lines between; held outside.
TEST(MultiplierCurve, RunsInStraightLinesThroughItsPoints) {
  EXPECT_EQ(values(read("<lora:a:0@0,1@0.5>").unet, 5), (std::vector<double>{0, 0.5, 1, 1, 1}));
  EXPECT_EQ(values(read("<lora:a:0@0;1@1>").unet, 5), (std::vector<double>{0, 0.25, 0.5, 0.75, 1}));
  EXPECT_EQ(values(read("<lora:a:0.25@0.5,1@1>").unet, 5), (std::vector<double>{0.25, 0.25, 0.25, 0.625, 1}));
  EXPECT_EQ(values(read("<lora:a:1@1,0@0>").unet, 3), (std::vector<double>{0, 0.5, 1}));
  EXPECT_EQ(values(read("<lora:a:0@2,1@3>").unet, 5), (std::vector<double>{0, 0, 1, 1, 1}));
  EXPECT_EQ(values(read("<lora:a:0@1,1@5>").unet, 5), (std::vector<double>{0, 0.25, 0.5, 0.75, 1}));
  EXPECT_EQ(values(read("<lora:a:0@0.5,1@0.5>").unet, 5), (std::vector<double>{0, 0, 1, 1, 1}));  // a jump
  EXPECT_EQ(values(read("<lora:a:0.3@0.7>").unet, 3), (std::vector<double>{0.3, 0.3, 0.3}));
  EXPECT_EQ(values(read("<lora:a:0@0,1@1>").unet, 1), (std::vector<double>{0}));
  EXPECT_TRUE(read("<lora:a:0.3@0.7>").unet.is_constant());
}

TEST(MultiplierCurve, OfTextEncoderAndUnetAndOfTheSecondPassAreApart) {
  const LoraTag tag = read("<lora:a:te=0.5:unet=0@0,1@1:hr=0.7:hrunet=1@0,0@1>");
  EXPECT_EQ(tag.te, 0.5);
  EXPECT_EQ(values(tag.unet, 3), (std::vector<double>{0, 0.5, 1}));
  ASSERT_TRUE(tag.hr_te && tag.hr_unet);
  EXPECT_EQ(*tag.hr_te, 0.7);
  EXPECT_EQ(values(*tag.hr_unet, 3), (std::vector<double>{1, 0.5, 0}));
  EXPECT_FALSE(read("<lora:a:1>").hr_unet);
}

// sd-webui-lora-block-weight: on from step `start` on, off from step `stop` on, counted from 1.
TEST(LoraTag, StepsAreCountedFromOneAndSharesAreOfTheStepsDone) {
  EXPECT_EQ(steps_of("<lora:a:1>", 4), (std::vector<int>{1, 2, 3, 4}));
  EXPECT_EQ(steps_of("<lora:a:1:start=3>", 5), (std::vector<int>{3, 4, 5}));
  EXPECT_EQ(steps_of("<lora:a:1:stop=3>", 5), (std::vector<int>{1, 2}));
  EXPECT_EQ(steps_of("<lora:a:1:step=2-4>", 5), (std::vector<int>{2, 3}));
  EXPECT_EQ(steps_of("<lora:a:1:start=0.5>", 4), (std::vector<int>{3, 4}));
  EXPECT_EQ(steps_of("<lora:a:1:stop=0.5>", 5), (std::vector<int>{1, 2, 3}));
  EXPECT_EQ(steps_of("<lora:a:1:step=0.3-1.0>", 10), (std::vector<int>{4, 5, 6, 7, 8, 9, 10}));
  EXPECT_EQ(steps_of("<lora:a:1:start=1>", 2), (std::vector<int>{1, 2}));
  EXPECT_EQ(steps_of("<lora:a:1:start=9>", 5), std::vector<int>{});
}

TEST(LoraTag, ARegionIsTwoSpansAndAMask) {
  const LoraTag tag = read("<lora:a:1:x=0-0.5:y=0.2-1:mask=left.png>");
  EXPECT_EQ(tag.x, (SideSpan{0, 0.5}));
  EXPECT_EQ(tag.y, (SideSpan{0.2, 1}));
  EXPECT_EQ(tag.mask, "left.png");
  EXPECT_TRUE(tag.has_region());
  EXPECT_FALSE(read("<lora:a:1>").has_region());
  EXPECT_FALSE(read("<lora:a:1:x=0-1>").has_region());
}

TEST(LoraTag, AnotherMultiplierLeavesTheOtherArguments) {
  const auto changed = [](const std::string& tag) { return with_multiplier(take_extra_networks(tag).tags.at(0), "0.3"); };
  EXPECT_EQ(changed("<lora:a>"), "<lora:a:0.3>");
  EXPECT_EQ(changed("<lora:a:1:2:4:lbw=1,0:te=2:x=0-0.5>"), "<lora:a:0.3:0.3:4:lbw=1,0:x=0-0.5>");
  EXPECT_EQ(changed("<lyco:a:unet=2:step=1-3>"), "<lyco:a:0.3:step=1-3>");
}

TEST(LoraTag, AnArgumentTooManyIsKeptForTheReport) { EXPECT_EQ(read("<lora:a:1:2:3:4:5>").surplus, (std::vector<std::string>{"4", "5"})); }

}  // namespace lorikeet
