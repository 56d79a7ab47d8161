#include "sampling/diffusers_timesteps.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "sampling/schedules.h"

namespace lorikeet {
namespace {

using Values = std::vector<double>;

enum class Ending { zero, first_trained, as_alpha_to_one, as_final_sigmas };

struct SchedulerClass {
  std::string_view name, sampler;
  bool multistep;            // spaces one step more and drops the last; Karras spans the whole training range, timesteps rounded
  bool variance_preserving;  // its latents have unit variance
  bool whole_timesteps;
  bool whole_karras_timesteps;
  Ending ending;
};
constexpr std::array kClasses = {
    SchedulerClass{"EulerDiscreteScheduler", "euler", false, false, false, false, Ending::zero},
    SchedulerClass{"EulerAncestralDiscreteScheduler", "euler_a", false, false, false, false, Ending::zero},
    SchedulerClass{"HeunDiscreteScheduler", "heun", false, false, false, false, Ending::zero},
    SchedulerClass{"LMSDiscreteScheduler", "lms", false, false, false, false, Ending::zero},
    SchedulerClass{"KDPM2DiscreteScheduler", "dpm2", false, false, false, true, Ending::zero},
    SchedulerClass{"KDPM2AncestralDiscreteScheduler", "dpm2_a", false, false, false, true, Ending::zero},
    SchedulerClass{"DDIMScheduler", "ddim", false, true, true, true, Ending::as_alpha_to_one},
    SchedulerClass{"DDPMScheduler", "ddpm", false, true, true, true, Ending::zero},
    SchedulerClass{"PNDMScheduler", "plms", false, true, true, true, Ending::as_alpha_to_one},
    SchedulerClass{"DPMSolverMultistepScheduler", "dpmpp_2m", true, true, true, true, Ending::as_final_sigmas},
    SchedulerClass{"UniPCMultistepScheduler", "unipc_bh2", true, true, true, true, Ending::first_trained},
    SchedulerClass{"LCMScheduler", "lcm", false, true, true, true, Ending::zero},
};

const SchedulerClass& find_class(const std::string& name) {
  for (const SchedulerClass& row : kClasses) {
    if (row.name == name) return row;
  }
  throw Error(ErrorKind::unsupported, "diffusers' scheduler \"" + name + "\" has no counterpart here");
}

// Falling timesteps (Lin et al. 2023, arXiv 2305.08891, table 2).
Values spaced(const SchedulerClass& row, const DiffusersConfig& config, int steps, int trained) {
  int count = row.multistep ? steps + 1 : steps;
  Values t;
  for (int i = count - 1; i >= count - steps; --i) {
    if (config.timestep_spacing == "linspace") {
      t.push_back(count == 1 ? 0 : i * ((trained - 1.0) / (count - 1)));  // as numpy.linspace rounds
      if (row.whole_timesteps) t.back() = std::nearbyint(t.back());
    } else if (config.timestep_spacing == "leading") {
      t.push_back(std::min(i * (trained / count) + config.steps_offset, trained - 1));
    } else if (config.timestep_spacing == "trailing") {
      t.push_back(std::nearbyint(trained - (count - 1 - i) * (static_cast<double>(trained) / steps)) - 1);
    } else {
      throw Error(ErrorKind::bad_input, "there is no timestep spacing \"" + config.timestep_spacing + "\"",
                  "the spacings are leading, trailing, linspace");
    }
  }
  return t;
}

// LCMScheduler: spread over the timesteps of the distillation.
Values lcm_timesteps(const DiffusersConfig& config, int steps, int trained) {
  int original = config.original_inference_steps, stride = trained / original;
  Values t;
  for (int i = 0; i < steps; ++i) t.push_back((original - static_cast<int>(static_cast<double>(original) * i / steps)) * stride - 1);
  return t;
}

// sigma itself, not its logarithm, is interpolated (numpy.interp).
double interpolated(const NoiseSchedule& noise, double t) {
  auto low = static_cast<size_t>(std::clamp(std::floor(t), 0.0, noise.timesteps() - 2.0));
  return noise.sigmas[low] + (t - low) * (static_cast<double>(noise.sigmas[low + 1]) - noise.sigmas[low]);
}

double last_sigma(const SchedulerClass& row, const DiffusersConfig& config, const NoiseSchedule& noise) {
  switch (row.ending) {
    case Ending::zero: return 0;
    case Ending::first_trained: return noise.sigma_min();
    case Ending::as_alpha_to_one: return config.set_alpha_to_one ? 0 : noise.sigma_min();
    case Ending::as_final_sigmas: return config.final_sigmas_type == "sigma_min" ? noise.sigma_min() : 0;
  }
  return 0;
}

}  // namespace

DiffusersRun plan_diffusers(const DiffusersConfig& config, int steps, const NoiseSchedule& noise, double strength) {
  const SchedulerClass& row = find_class(config.scheduler_class);
  if (steps < 1) throw Error(ErrorKind::bad_input, "the number of steps must be at least 1, not " + std::to_string(steps));
  bool sde = row.multistep && config.algorithm_type == "sde-dpmsolver++";
  DiffusersRun run{&find_sampler(sde ? "dpmpp_2m_sde" : row.sampler), {}, {}, 0, 0, row.variance_preserving};
  run.eta = run.sampler->default_eta;
  run.timesteps = row.sampler == "lcm" ? lcm_timesteps(config, steps, noise.timesteps()) : spaced(row, config, steps, noise.timesteps());
  for (double t : run.timesteps) run.sigmas.push_back(interpolated(noise, t));
  if (config.use_karras_sigmas) {
    double low = row.multistep ? noise.sigma_min() : run.sigmas.back(), high = row.multistep ? noise.sigma_max() : run.sigmas.front();
    run.sigmas = karras_sigmas(steps, low, high);
    run.sigmas.pop_back();
    for (size_t i = 0; i < run.timesteps.size(); ++i) {
      run.timesteps[i] = noise.timestep(static_cast<float>(run.sigmas[i]));
      if (row.whole_karras_timesteps) run.timesteps[i] = std::nearbyint(run.timesteps[i]);
    }
  }
  // EulerDiscreteScheduler.init_noise_sigma and its like; the others start from unit variance.
  double first = run.sigmas.front();
  bool from_top = !row.variance_preserving && config.timestep_spacing != "leading";
  run.start_scale = from_top ? first : std::sqrt(first * first + 1);
  run.sigmas.push_back(last_sigma(row, config, noise));

  int skipped = steps - std::clamp(static_cast<int>(steps * strength), 0, steps);
  run.sigmas.erase(run.sigmas.begin(), run.sigmas.begin() + skipped);
  run.timesteps.erase(run.timesteps.begin(), run.timesteps.begin() + skipped);
  return run;
}

double DiffusersRun::timestep(double sigma, const NoiseSchedule& noise) const {
  auto found = std::find(sigmas.begin(), sigmas.end() - 1, sigma);
  if (found != sigmas.end() - 1) return timesteps[static_cast<size_t>(found - sigmas.begin())];
  return noise.timestep(static_cast<float>(sigma));
}

double DiffusersRun::latent_scale(double sigma) const { return variance_preserving ? 1 / std::sqrt(sigma * sigma + 1) : 1; }

}  // namespace lorikeet
