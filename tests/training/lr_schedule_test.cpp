#include "training/lr_schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numbers>
#include <string>
#include <vector>

#include "base/error.h"

using namespace lorikeet;

namespace {
std::vector<double> curve(std::string_view name, const LrPlan& plan) {
  std::vector<double> factors;
  for (int step = 0; step < plan.steps; ++step) factors.push_back(lr_factor(find_lr_schedule(name), step, plan));
  return factors;
}
}  // namespace

TEST(LrSchedules, StartAtTheFullRateAndStayWithinIt) {
  for (const LrSchedule& schedule : lr_schedules()) {
    for (int warmup : {0, 5, 40}) {
      const LrPlan plan{.steps = 40, .warmup_steps = warmup, .cycles = 3, .power = 2};
      for (double factor : curve(schedule.name, plan)) {
        EXPECT_GE(factor, 0) << schedule.name;
        EXPECT_LE(factor, 1) << schedule.name;
      }
      if (warmup < plan.steps) {
        EXPECT_EQ(lr_factor(schedule, warmup, plan), 1) << schedule.name;
      }
    }
  }
}

TEST(LrSchedules, WarmUpRisesInAStraightLineFromZero) {
  const LrPlan plan{.steps = 20, .warmup_steps = 4};
  for (const LrSchedule& schedule : lr_schedules()) {
    for (int step = 0; step < 4; ++step) EXPECT_DOUBLE_EQ(lr_factor(schedule, step, plan), step / 4.0) << schedule.name;
  }
}

// The values that diffusers' get_scheduler gives for 10 steps, 2 of warm-up, computed with its formulas (optimization.py, 0.27) in Python.
TEST(LrSchedules, AreThoseOfDiffusers) {
  const LrPlan plan{.steps = 10, .warmup_steps = 2, .cycles = 2, .power = 2};
  const std::map<std::string, std::vector<double>> golden = {
      {"constant", {0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0}},
      {"linear", {0.0, 0.5, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125}},
      {"cosine",
       {0.0, 0.5, 1.0, 0.9619397662556434, 0.8535533905932737, 0.6913417161825449, 0.5, 0.30865828381745514, 0.14644660940672627,
        0.03806023374435663}},
      {"cosine_with_restarts",
       {0.0, 0.5, 1.0, 0.8535533905932737, 0.5, 0.14644660940672627, 1.0, 0.8535533905932737, 0.5, 0.14644660940672627}},
      {"polynomial", {0.0, 0.5, 1.0, 0.765625, 0.5625, 0.390625, 0.25, 0.140625, 0.0625, 0.015625}},
  };
  for (const auto& [name, wanted] : golden) {
    const auto factors = curve(name, plan);
    ASSERT_EQ(factors.size(), wanted.size());
    for (size_t i = 0; i < wanted.size(); ++i) EXPECT_NEAR(factors[i], wanted[i], 1e-12) << name << " at " << i;
  }
}

TEST(LrSchedules, AreFoundByName) {
  EXPECT_EQ(find_lr_schedule("Cosine").name, "cosine");
  try {
    find_lr_schedule("cosin");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::bad_input);
    EXPECT_NE(error.hint().find("cosine"), std::string::npos);
  }
}
