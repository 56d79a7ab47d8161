#include "sampling/schedules.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "sampling/beta_distribution.h"

namespace lorikeet {
namespace {

using Sigmas = std::vector<double>;

// `count` values from `from` to `to`, both included (one value: `from`), as numpy.linspace.
Sigmas linspace(double from, double to, int count) {
  Sigmas values;
  for (int i = 0; i < count; ++i) values.push_back(count == 1 ? from : from + (to - from) * i / (count - 1));
  return values;
}

// The reference implementations keep sigmas in single precision; the Brownian tree's branches depend on that.
Sigmas in_float(Sigmas sigmas) {
  for (double& sigma : sigmas) sigma = static_cast<float>(sigma);
  return sigmas;
}

Sigmas then_zero(Sigmas sigmas) {
  sigmas.push_back(0);
  return in_float(std::move(sigmas));
}

template <class Function>
Sigmas map(Sigmas values, Function function) {
  for (double& value : values) value = function(value);
  return values;
}

Sigmas at_timesteps(const Sigmas& timesteps, const NoiseSchedule& noise) {
  return map(timesteps, [&](double t) { return noise.sigma(static_cast<float>(t)); });
}

// Equal steps of the trained timestep, from the first to the last one: k-diffusion's get_sigmas.
Sigmas uniform(int steps, const ScheduleRange& range) {
  return then_zero(at_timesteps(linspace(range.noise.timesteps() - 1, 0, steps), range.noise));
}

// The same between the timesteps of sigma_max and sigma_min.
Sigmas normal(int steps, const ScheduleRange& range) {
  double start = range.noise.timestep(range.sigma_max), end = range.noise.timestep(range.sigma_min);
  return then_zero(at_timesteps(linspace(start, end, steps), range.noise));
}

// Stability's generative-models: one timestep more, of which the last is left out.
Sigmas sgm_uniform(int steps, const ScheduleRange& range) {
  double start = range.noise.timestep(range.sigma_max), end = range.noise.timestep(range.sigma_min);
  Sigmas timesteps = linspace(start, end, steps + 1);
  timesteps.pop_back();
  return then_zero(at_timesteps(timesteps, range.noise));
}

Sigmas karras(int steps, const ScheduleRange& range) {
  return karras_sigmas(steps, range.sigma_min, range.sigma_max, range.rho > 0 ? range.rho : 7);
}

Sigmas exponential(int steps, const ScheduleRange& range) {
  return then_zero(map(linspace(std::log(range.sigma_max), std::log(range.sigma_min), steps), [](double x) { return std::exp(x); }));
}

Sigmas polyexponential(int steps, const ScheduleRange& range) {
  double rho = range.rho > 0 ? range.rho : 1, low = std::log(range.sigma_min), high = std::log(range.sigma_max);
  return then_zero(map(linspace(1, 0, steps), [&](double ramp) { return std::exp(std::pow(ramp, rho) * (high - low) + low); }));
}

// Sabour et al. 2024 (arXiv 2404.14507): optimised for 10 steps; other counts interpolate log sigma.
// A single step starts at the top; A1111 would start it at the lowest sigma, which leaves noise only.
Sigmas align_your_steps(int steps, const ScheduleRange& range) {
  static constexpr std::array kSd1 = {14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029};
  static constexpr std::array kSdxl = {14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029};
  const auto& table = range.sdxl ? kSdxl : kSd1;
  return then_zero(map(linspace(0, table.size() - 1.0, steps), [&](double at) {
    auto low = std::min(static_cast<size_t>(at), table.size() - 2);
    return std::exp(std::log(table[low]) + (at - low) * (std::log(table[low + 1]) - std::log(table[low])));
  }));
}

// Equal steps of arctan sigma (Sabour et al. 2024, eq. 11). Ends at sigma_min, not at 0, as in A1111.
Sigmas kl_optimal(int steps, const ScheduleRange& range) {
  return in_float(map(linspace(std::atan(range.sigma_max), std::atan(range.sigma_min), steps + 1), [](double x) { return std::tan(x); }));
}

// Every so many of the trained sigmas, from the top.
Sigmas simple(int steps, const ScheduleRange& range) {
  int count = range.noise.timesteps();
  double stride = static_cast<double>(count) / steps;
  Sigmas sigmas;
  for (int i = 0; i < steps; ++i) sigmas.push_back(range.noise.sigmas[count - 1 - std::min(static_cast<int>(i * stride), count - 1)]);
  return then_zero(sigmas);
}

// The sigmas of timesteps 1, 1 + s, 1 + 2s, … with a whole stride s = 1000 / steps; the highest first.
Sigmas leading_sigmas(int steps, const NoiseSchedule& noise) {
  int stride = std::max(noise.timesteps() / steps, 1);
  Sigmas sigmas;
  for (int t = 1; t < noise.timesteps(); t += stride) sigmas.insert(sigmas.begin(), noise.sigmas[t]);
  return sigmas;
}

// May have more steps than asked for, where `steps` does not divide 1000 (30 gives 31), as in A1111.
Sigmas ddim(int steps, const ScheduleRange& range) { return then_zero(leading_sigmas(steps, range.noise)); }

// What A1111's DDIM and PLMS samplers visit: the same timesteps, ending at the sigma of timestep 1 (so one step fewer).
// A single step would be none; it goes from the top to 0.
Sigmas ddim_timesteps(int steps, const ScheduleRange& range) {
  Sigmas sigmas = leading_sigmas(steps, range.noise);
  return sigmas.size() > 1 ? sigmas : Sigmas{range.noise.sigma_max(), 0};
}

// What A1111's UniPC visits: equal steps of the timestep from the last to 0, where log alpha (not log sigma) is interpolated
// (NoiseScheduleVP of the UniPC authors' code). As many steps as A1111 makes: the count of ddim's timesteps.
Sigmas unipc_timesteps(int steps, const ScheduleRange& range) {
  const auto& alphas = range.noise.alphas_cumprod;
  int count = static_cast<int>(leading_sigmas(steps, range.noise).size());
  return in_float(map(linspace(alphas.size() - 1.0, 0, count + 1), [&](double t) {
    auto low = std::min(static_cast<size_t>(t), alphas.size() - 2);
    double log_alpha = std::log(alphas[low]) + (t - low) * (std::log(alphas[low + 1]) - std::log(alphas[low]));
    return std::sqrt(std::expm1(-log_alpha));
  }));
}

// Quantiles of a beta distribution, spread over sigma_min … sigma_max (Lee et al. 2024, arXiv 2407.12173).
Sigmas beta(int steps, const ScheduleRange& range) {
  return then_zero(map(linspace(1, 0, steps), [&](double p) {
    return range.sigma_min + beta_quantile(p, range.beta_a, range.beta_b) * (range.sigma_max - range.sigma_min);
  }));
}

// Forge's "Turbo", the trailing spacing of ADD-distilled models (Sauer et al. 2023, arXiv 2311.17042).
Sigmas turbo(int steps, const ScheduleRange& range) {
  int count = range.noise.timesteps();
  float stride = static_cast<float>(count) / steps;
  Sigmas sigmas;
  for (int i = steps; i >= 1; --i) sigmas.push_back(range.noise.sigmas[std::clamp<int>(std::nearbyint(i * stride - 1), 0, count - 1)]);
  return then_zero(sigmas);
}

// The timesteps of latent consistency distillation (Luo et al. 2023, arXiv 2310.04378): spread over the 50 that were trained
// (19, 39, … 999), as diffusers' LCMScheduler. A1111 interpolates between them and then rounds the model's timestep.
Sigmas lcm(int steps, const ScheduleRange& range) {
  constexpr int kTrained = 50;
  int stride = range.noise.timesteps() / kTrained;
  Sigmas sigmas;
  for (int i = 0; i < std::min(steps, kTrained); ++i) {
    int index = static_cast<int>(static_cast<double>(kTrained) * i / std::min(steps, kTrained));
    sigmas.push_back(range.noise.sigmas[(kTrained - index) * stride - 1]);
  }
  return then_zero(sigmas);
}

constexpr std::array kSchedules = {
    Schedule{"automatic", "Automatic", "What the sampler does best with.", -1, nullptr},
    Schedule{"uniform", "Uniform", "Equal steps of the trained timesteps.", -1, uniform},
    Schedule{"karras", "Karras", "More steps where the noise is low; a good choice for most samplers.", 7, karras},
    Schedule{"exponential", "Exponential", "Equal steps of log sigma.", -1, exponential},
    Schedule{"polyexponential", "Polyexponential", "Log sigma along a power of the step.", 1, polyexponential},
    Schedule{"sgm_uniform", "SGM Uniform", "Equal steps of the timestep, without the last; for Lightning and Hyper models.", -1,
             sgm_uniform},
    Schedule{"kl_optimal", "KL Optimal", "Equal steps of arctan sigma; for few steps.", -1, kl_optimal},
    Schedule{"align_your_steps", "Align Your Steps", "Optimised noise levels for about 10 steps.", -1, align_your_steps},
    Schedule{"simple", "Simple", "Every n-th trained sigma.", -1, simple},
    Schedule{"normal", "Normal", "Equal steps of the timestep between the two ends.", -1, normal},
    Schedule{"ddim", "DDIM", "Timesteps 1, 1 + s, 1 + 2s and so on.", -1, ddim},
    Schedule{"beta", "Beta", "More steps at both ends.", -1, beta},
    Schedule{"turbo", "Turbo", "Trailing timesteps; for Turbo models.", -1, turbo},
    Schedule{"ddim_timesteps", "DDIM Timesteps", "The DDIM and PLMS samplers' own: as DDIM, without the step to 0.", -1, ddim_timesteps},
    Schedule{"unipc_timesteps", "UniPC Timesteps", "The UniPC sampler's own: equal steps of the timestep down to 0.", -1, unipc_timesteps},
    Schedule{"lcm", "LCM", "The timesteps that latent consistency models were distilled for.", -1, lcm},
};

}  // namespace

ScheduleRange range_of(const NoiseSchedule& noise, bool sdxl) { return {noise, noise.sigma_min(), noise.sigma_max(), sdxl}; }

std::vector<double> karras_sigmas(int steps, double sigma_min, double sigma_max, double rho) {
  double low = std::pow(sigma_min, 1 / rho), high = std::pow(sigma_max, 1 / rho);
  return then_zero(map(linspace(0, 1, steps), [&](double ramp) { return std::pow(high + ramp * (low - high), rho); }));
}

std::span<const Schedule> schedules() { return kSchedules; }

const Schedule& find_schedule(std::string_view name) {
  std::string wanted = lower(trim(name));
  std::vector<std::string> names;
  for (const Schedule& schedule : kSchedules) {
    if (wanted == schedule.name || wanted == lower(schedule.label)) return schedule;
    names.emplace_back(schedule.name);
  }
  std::string hint = did_you_mean(wanted, names);
  throw Error(ErrorKind::bad_input, "there is no schedule \"" + std::string(name) + "\"",
              hint.empty() ? "the schedules are " + join(names, ", ") : hint);
}

}  // namespace lorikeet
