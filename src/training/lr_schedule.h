// Learning-rate schedules, one row each: what the learning rate is multiplied with at a step.
#pragma once
#include <span>
#include <string_view>

namespace lorikeet {

struct LrPlan {
  int steps = 1000;      // of the whole run, warm-up included; >= 1
  int warmup_steps = 0;  // linear from 0: the first step has rate 0, as diffusers' schedulers
  int cycles = 1;        // cosine_with_restarts; >= 1
  double power = 1;      // polynomial; > 0
};

struct LrSchedule {
  std::string_view name, summary;
  // progress: 0 … 1, how much of the steps after the warm-up is done.
  double (*factor)(double progress, const LrPlan& plan);
};

// constant, cosine (Loshchilov & Hutter 2016, arXiv 1608.03983, eq. 5), cosine_with_restarts, linear, polynomial; as diffusers'
// get_scheduler. (Its polynomial ends at the absolute rate 1e-7, ours at 0.)
std::span<const LrSchedule> lr_schedules();
const LrSchedule& find_lr_schedule(std::string_view name);  // Error{bad_input} with the near names
// With warm-up. step: 0 … plan.steps - 1. -> 0 … 1
double lr_factor(const LrSchedule& schedule, int step, const LrPlan& plan);

}  // namespace lorikeet
