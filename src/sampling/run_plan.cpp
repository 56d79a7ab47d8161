#include "sampling/run_plan.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"

namespace lorikeet {
namespace {

const Schedule& resolved(const Sampler& sampler, const Schedule& schedule) {
  return schedule.sigmas ? schedule : find_schedule(sampler.schedule);
}

// The run that starts `kept` steps above the last of `steps`. A1111: sigmas[steps - t_enc - 1:] with t_enc = kept - 1.
RunPlan lower_part(const Sampler& sampler, const Schedule& schedule, int steps, int kept, const ScheduleRange& range) {
  RunPlan plan = plan_run(sampler, schedule, steps, range);
  // The count of DDIM's timesteps may differ from `steps`, and its list ends before 0: A1111 counts them from below.
  bool timesteps = plan.schedule == "ddim_timesteps" && plan.sigmas.back() > 0;
  auto size = static_cast<int>(plan.sigmas.size());
  int first = timesteps ? size - kept : steps - kept;
  first = std::clamp(first, 0, size - 2);
  plan.start_sigma = plan.sigmas[static_cast<size_t>(first)];
  if (timesteps && first + 2 < size) ++first;
  plan.sigmas.erase(plan.sigmas.begin(), plan.sigmas.begin() + first);
  return plan;
}

void check_strength(double strength) {
  if (strength >= 0 && strength <= 1) return;
  throw Error(ErrorKind::bad_input, "the denoising strength must lie within 0 and 1, not " + format_number(strength));
}

// 0.999 keeps one step's worth of the picture, in A1111's setup_img2img_steps.
double bounded(double strength) { return std::min(strength, 0.999); }

}  // namespace

RunPlan plan_run(const Sampler& sampler, const Schedule& schedule, int steps, const ScheduleRange& range) {
  if (steps < 1) throw Error(ErrorKind::bad_input, "the number of steps must be at least 1, not " + std::to_string(steps));
  const Schedule& used = resolved(sampler, schedule);
  int more = sampler.discards_penultimate_sigma ? 1 : 0;
  RunPlan plan{used.sigmas(steps + more, range), 0, used.name};
  if (more) plan.sigmas.erase(plan.sigmas.end() - 2);
  plan.start_sigma = plan.sigmas.front();
  return plan;
}

RunPlan plan_img2img(const Sampler& sampler, const Schedule& schedule, int steps, double strength, const ScheduleRange& range) {
  check_strength(strength);
  return lower_part(sampler, schedule, steps, static_cast<int>(bounded(strength) * steps) + 1, range);
}

RunPlan plan_hires(const Sampler& sampler, const Schedule& schedule, int steps, double strength, const ScheduleRange& range) {
  check_strength(strength);
  if (strength == 0) throw Error(ErrorKind::bad_input, "a second pass needs a denoising strength above 0");
  return lower_part(sampler, schedule, static_cast<int>(steps / bounded(strength)), steps, range);
}

Tensor start(const Sampler& sampler, const RunPlan& plan, const Tensor& noise, const Tensor& init) {
  double sigma = plan.start_sigma, first = plan.sigmas.front();
  if (!init.defined()) return noise * (sampler.variance_preserving ? std::sqrt(first * first + 1) : first);
  Tensor x = init + noise * sigma;
  // Unequal only where DDIM takes x / sqrt(sigma² + 1) for a point of its next timestep.
  return first == sigma ? x : x * std::sqrt((first * first + 1) / (sigma * sigma + 1));
}

Tensor finish(const Sampler& sampler, const RunPlan& plan, const Tensor& x) {
  double last = plan.sigmas.back();
  return sampler.variance_preserving && last > 0 ? x / std::sqrt(last * last + 1) : x;
}

SamplerAndSchedule find_sampler_and_schedule(std::string_view text) {
  std::string whole = lower(trim(text));
  const Schedule* found = nullptr;
  size_t length = 0;  // of the longest ending: "SGM Uniform" before "Uniform"
  for (const Schedule& schedule : schedules()) {
    for (std::string_view ending : {schedule.label, schedule.name}) {
      std::string tail = " " + lower(ending);
      if (tail.size() <= length || !ends_with(whole, tail)) continue;
      found = &schedule;
      length = tail.size();
    }
  }
  const Sampler& sampler = find_sampler(std::string_view(whole).substr(0, whole.size() - length));
  return {&sampler, !found || sampler.schedule == found->name ? &schedules().front() : found};
}

}  // namespace lorikeet
