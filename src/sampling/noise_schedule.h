// The noise levels that a model was trained with, and the way between a timestep and a sigma.
// Single precision throughout, as the buffers of CompVis' ddpm.py and k-diffusion's DiscreteSchedule are: the same sigmas, to the bit
// where the mathematical library allows, give the same pictures.
#pragma once
#include <span>
#include <vector>

namespace lorikeet {

struct NoiseSchedule {
  std::vector<float> alphas_cumprod;  // falling, one a training timestep (Ho et al. 2020, arXiv 2006.11239, eq. 4: alpha bar)
  std::vector<float> sigmas;          // rising: sqrt((1 - alpha bar) / alpha bar)
  std::vector<float> log_sigmas;

  float sigma_min() const { return sigmas.front(); }
  float sigma_max() const { return sigmas.back(); }
  int timesteps() const { return static_cast<int>(sigmas.size()); }

  // The timestep (fractional, 0 … timesteps() - 1) whose sigma this is, linear in log sigma between the trained ones and clamped at
  // both ends: k-diffusion's sigma_to_t without quantising, which is what A1111 feeds to the U-Net. sigma > 0.
  float timestep(float sigma) const;
  // The inverse, clamped at both ends.
  float sigma(float timestep) const;
};

// betas that are linear in their square root. The defaults are the configuration of SD 1, 2 and XL alike (v1-inference.yaml:
// linear_start 0.00085, linear_end 0.0120, timesteps 1000).
NoiseSchedule scaled_linear_schedule(double beta_start = 0.00085, double beta_end = 0.012, int timesteps = 1000);

// From the alphas_cumprod that a checkpoint carries. At least 2 values in (0, 1), falling; else Error{bad_input}.
NoiseSchedule schedule_of_alphas_cumprod(std::span<const float> alphas_cumprod);

// The schedule shifted and scaled so that the last timestep is pure noise (Lin et al. 2023, arXiv 2305.08891, algorithm 1), for the
// checkpoints trained so ("ztsnr"). The last alpha bar is 4.897e-8 instead of 0, A1111's value, so that sigma stays finite (4518.7).
NoiseSchedule zero_terminal_snr(const NoiseSchedule& schedule);

}  // namespace lorikeet
