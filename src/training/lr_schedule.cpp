#include "training/lr_schedule.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "base/text.h"

namespace lorikeet {
namespace {

// From 1 to 0 in half a wave.
double half_cosine(double progress) { return 0.5 * (1 + std::cos(std::numbers::pi * progress)); }

double constant(double, const LrPlan&) { return 1; }
double linear(double progress, const LrPlan&) { return 1 - progress; }
double cosine(double progress, const LrPlan&) { return half_cosine(progress); }
double cosine_with_restarts(double progress, const LrPlan& plan) {
  return progress >= 1 ? 0 : half_cosine(std::fmod(plan.cycles * progress, 1.0));
}
double polynomial(double progress, const LrPlan& plan) { return std::pow(1 - progress, plan.power); }

constexpr std::array kLrSchedules = {
    LrSchedule{"constant", "The same rate throughout, after the warm-up.", constant},
    LrSchedule{"cosine", "Falls to 0 in half a cosine wave.", cosine},
    LrSchedule{"cosine_with_restarts", "Several half waves, each from the full rate.", cosine_with_restarts},
    LrSchedule{"linear", "Falls to 0 in a straight line.", linear},
    LrSchedule{"polynomial", "Falls to 0 as a power of the steps that remain.", polynomial},
};

}  // namespace

std::span<const LrSchedule> lr_schedules() { return kLrSchedules; }

const LrSchedule& find_lr_schedule(std::string_view name) {
  const std::string wanted = lower(trim(name));
  std::vector<std::string> names;
  for (const LrSchedule& schedule : kLrSchedules) {
    if (wanted == schedule.name) return schedule;
    names.emplace_back(schedule.name);
  }
  const std::string hint = did_you_mean(wanted, names);
  throw Error(ErrorKind::bad_input, "there is no learning-rate schedule \"" + std::string(name) + "\"",
              hint.empty() ? "the schedules are " + join(names, ", ") : hint);
}

double lr_factor(const LrSchedule& schedule, int step, const LrPlan& plan) {
  if (step < plan.warmup_steps) return static_cast<double>(step) / plan.warmup_steps;
  const double progress = static_cast<double>(step - plan.warmup_steps) / std::max(1, plan.steps - plan.warmup_steps);
  return schedule.factor(std::clamp(progress, 0.0, 1.0), plan);
}

}  // namespace lorikeet
