#include "prompt/schedule.h"

#include <gtest/gtest.h>

#include "prompt/golden.h"

namespace lorikeet {

namespace {
using Entries = std::vector<std::pair<int, std::string>>;

Entries entries(const std::string& prompt, const ScheduleSteps& steps) {
  Entries result;
  for (const auto& [end_step, text] : parse_schedule(prompt, steps)) result.emplace_back(end_step, text);
  return result;
}
}  // namespace

TEST(Schedule, GivesTheSchedulesOfTheWebui) {
  const std::pair<const char*, ScheduleSteps> kinds[] = {
      {"steps_10", {.steps = 10}},
      {"steps_20", {.steps = 20}},
      {"steps_10_old", {.steps = 10, .old_rules = true}},
      {"steps_10_hires_8", {.steps = 10, .hires_steps = 8}},
  };
  for (const auto& one : read_golden("schedules.json").at("cases")) {
    if (one.contains("unstable")) continue;  // the webui's own answer varies from start to start
    const auto input = one.at("input").get<std::string>();
    for (const auto& [key, steps] : kinds) {
      SCOPED_TRACE(input + " " + key);
      EXPECT_EQ(entries(input, steps), one.at(key).get<Entries>());
    }
  }
}

TEST(Schedule, AnUnstableCaseGetsOneOfTheAnswersOfTheWebui) {
  for (const auto& one : read_golden("schedules.json").at("cases")) {
    if (!one.contains("unstable")) continue;
    const auto found = entries(one.at("input"), {.steps = 10});
    bool any = false;
    for (const auto& alternative : one.at("alternatives")) any = any || found == alternative.at("steps_10").get<Entries>();
    EXPECT_TRUE(any) << one.at("input");
  }
}

TEST(Schedule, TakesDeepNestingWithoutRecursion) {
  const std::string open(100'000, '['), close(100'000, ']');
  EXPECT_EQ(entries(open + "a" + close, {}).size(), 1U);
  EXPECT_EQ(entries(open, {}).size(), 1U);
  std::string nested;
  for (int i = 0; i < 10'000; ++i) nested += "[a:";
  nested += "b";
  for (int i = 0; i < 10'000; ++i) nested += ":5]";
  EXPECT_EQ(entries(nested, {}), (Entries{{5, std::string(1, 'a')}, {20, "b"}}));
}

}  // namespace lorikeet
