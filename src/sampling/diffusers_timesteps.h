// The runs of Hugging Face diffusers (0.27): which timesteps and sigmas its schedulers visit, in the terms of our samplers, so that
// pictures made with it can be made again, and our samplers be checked against it.
#pragma once
#include <string>
#include <vector>

#include "sampling/noise_schedule.h"
#include "sampling/sampler.h"

namespace lorikeet {

// What of a scheduler_config.json decides a run; the names and defaults are diffusers'.
struct DiffusersConfig {
  std::string scheduler_class;               // "EulerDiscreteScheduler"
  std::string timestep_spacing = "leading";  // "leading", "trailing", "linspace"
  int steps_offset = 1;                      // of leading; the published SD configurations say 1
  bool use_karras_sigmas = false;
  bool set_alpha_to_one = false;               // DDIM, PNDM: end at 0 instead of at the first trained sigma
  std::string algorithm_type = "dpmsolver++";  // DPMSolverMultistep: or "sde-dpmsolver++"
  std::string final_sigmas_type = "zero";      // DPMSolverMultistep: or "sigma_min"
  int original_inference_steps = 50;           // LCM
};

struct DiffusersRun {
  const Sampler* sampler;
  std::vector<double> sigmas;     // for SampleRun
  std::vector<double> timesteps;  // what the model is given at sigmas[i]; size = sigmas.size() - 1
  double eta;                     // for SampleRun
  double start_scale;             // x at the start of txt2img = unit noise * start_scale (img2img: latent + noise * sigmas.front())
  bool variance_preserving;       // diffusers' latents are x / sqrt(sigma² + 1) of ours, the last ones included; else they are x

  // The timestep for a call of denoise: that of the run, and for the midpoints of two-call samplers the trained schedule's.
  double timestep(double sigma, const NoiseSchedule& noise) const;
  // latents (diffusers) = x (ours) * this, at the given sigma.
  double latent_scale(double sigma) const;
};

// strength < 1: img2img, the last int(steps * strength) steps. Error{unsupported} for a scheduler or a setting that has no counterpart here,
// Error{bad_input} for an unknown spacing or steps < 1.
DiffusersRun plan_diffusers(const DiffusersConfig& config, int steps, const NoiseSchedule& noise, double strength = 1);

}  // namespace lorikeet
