#include "cli/field_options.h"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>

#include "base/error.h"
#include "generate/request.h"

using namespace lorikeet;

namespace {
// What the options of a request make of a command line, on top of `settings`.
Request parsed(const std::vector<std::string>& arguments, Request settings = {}) {
  CLI::App app;
  const auto given = std::make_shared<GivenFields>();
  add_field_options(app, field_list(), given);
  app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));  // CLI11 takes them from the back
  read_given(settings, *given);
  return settings;
}
}  // namespace

TEST(FieldOptions, EverySettingCanBeGivenWithItsDefault) {
  for (const FieldInfo& info : field_list()) {
    if (info.default_text.empty()) continue;
    EXPECT_EQ(parsed({info.flag + "=" + info.default_text}), Request{}) << info.flag;
  }
}

TEST(FieldOptions, WhatIsNotGivenStaysAsItWas) {
  Request before;
  before.steps = 7;
  before.prompts = {"one", "two"};
  EXPECT_EQ(parsed({}, before), before);
  const Request after = parsed({"--width", "640", "--tiling"}, before);
  EXPECT_EQ(after.steps, 7);
  EXPECT_EQ(after.width, 640);
  EXPECT_TRUE(after.tiling);
  EXPECT_EQ(after.prompts, before.prompts);
  EXPECT_FALSE(parsed({"--no-tiling"}, after).tiling);
}

TEST(FieldOptions, TextsOfAListReplaceTheList) {
  Request before;
  before.prompts = {"old", "older"};
  EXPECT_EQ(parsed({"-p", "one", "-s", "4", "--prompt", "two"}, before).prompts, (std::vector<std::string>{"one", "two"}));
}

TEST(FieldOptions, WhatWasGivenIsKnownByName) {
  const GivenFields given{{{"steps", "4"}}};
  EXPECT_TRUE(given.has("steps"));
  EXPECT_FALSE(given.has("prompt"));
  Request request;
  EXPECT_THROW(read_given(request, GivenFields{{{"steps", "four"}}}), Error);
}

TEST(FieldOptions, HelpNamesGroupTypeDefaultAndChoices) {
  CLI::App app;
  const auto given = std::make_shared<GivenFields>();
  add_field_options(app, field_list(), given);
  const CLI::Option* option = app.get_option("--rng");
  EXPECT_EQ(option->get_group(), "Advanced");
  EXPECT_EQ(option->get_type_name(), "NAME");
  EXPECT_EQ(option->get_default_str(), "gpu");
  EXPECT_NE(option->get_description().find("One of gpu, cpu, nv."), std::string::npos);
}
