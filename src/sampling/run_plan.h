// From what a person asks (sampler, schedule, steps, strength) to what a sampler needs (sigmas, a start), in A1111's way.
//
//   RunPlan plan = plan_run(sampler, schedule, 20, range_of(spec.schedule));               // txt2img
//   RunPlan plan = plan_img2img(sampler, schedule, 20, 0.75, range_of(spec.schedule));     // img2img
//   Tensor x = start(sampler, plan, noise.next(), init_latent);                             // init_latent undefined: txt2img
//   x = finish(sampler, plan, sampler.sample({denoise, plan.sigmas, noise, progress, eta}, x));
#pragma once
#include <optional>
#include <vector>

#include "sampling/sampler.h"
#include "sampling/schedules.h"

namespace lorikeet {

struct RunPlan {
  std::vector<double> sigmas;  // of the run itself: for img2img only the lower part of the schedule
  double start_sigma = 0;      // the noise that the start carries; sigmas.front() but for img2img with DDIM and PLMS
  std::string_view schedule;   // the name of the schedule that was used: "automatic" resolved
};

// The sampler's own schedule for "automatic"; one sigma more, of which the last but one is dropped, for samplers that want that.
// steps >= 1, else Error{bad_input}. `schedule` is used as given for every sampler (A1111 ignores it for DDIM, PLMS and UniPC).
RunPlan plan_run(const Sampler& sampler, const Schedule& schedule, int steps, const ScheduleRange& range);

// The last part of the schedule of `steps` steps: int(min(strength, 0.999) * steps) + 1 of them. strength in 0 … 1 (else
// Error{bad_input}): 0 changes next to nothing, 1 starts from noise.
// DDIM and PLMS begin, as the CompVis code does, one timestep below the noise that they are given, and so make one step fewer.
RunPlan plan_img2img(const Sampler& sampler, const Schedule& schedule, int steps, double strength, const ScheduleRange& range);

// The same with the number of steps really made: A1111's second pass of hires fix (and its option to do exactly that in img2img).
// strength > 0, else Error{bad_input}.
RunPlan plan_hires(const Sampler& sampler, const Schedule& schedule, int steps, double strength, const ScheduleRange& range);

// The x to give to the sampler: init + start_sigma * noise; without init noise alone (for DDIM and its like of the variance that x has
// there: sqrt(sigma² + 1)). noise: [B, C, H/8, W/8], unit variance; init: undefined or [B or 1, C, H/8, W/8].
Tensor start(const Sampler& sampler, const RunPlan& plan, const Tensor& noise, const Tensor& init = {});

// The latent from what the sampler returned: the same, but for DDIM and its like at a last sigma above 0.
Tensor finish(const Sampler& sampler, const RunPlan& plan, const Tensor& x);

// "DPM++ 2M Karras" -> DPM++ 2M and Karras, as old clients of A1111's API write it; "DPM++ 2M" -> DPM++ 2M and Automatic.
// A schedule that is the sampler's own becomes Automatic. Error{bad_input} lists the near names.
struct SamplerAndSchedule {
  const Sampler* sampler;
  const Schedule* schedule;
};
SamplerAndSchedule find_sampler_and_schedule(std::string_view text);

}  // namespace lorikeet
