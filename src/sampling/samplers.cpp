#include <array>

#include "base/error.h"
#include "base/text.h"
#include "sampling/sampler_functions.h"

namespace lorikeet {
namespace {

// The order, labels and defaults of A1111 1.10. Columns: name, label, summary, schedule, eta, discards, second order, function, VP,
// aliases.
constexpr std::array kSamplers = {
    Sampler{"dpmpp_2m", "DPM++ 2M", "Fast and exact: the usual choice for 20 to 30 steps.", "karras", 1, false, false, sample_dpmpp_2m,
            false, "k_dpmpp_2m k_dpmpp_2m_ka"},
    Sampler{"dpmpp_sde", "DPM++ SDE", "Stochastic, two model calls a step; good at few steps.", "karras", 1, false, true, sample_dpmpp_sde,
            false, "k_dpmpp_sde k_dpmpp_sde_ka"},
    Sampler{"dpmpp_2m_sde", "DPM++ 2M SDE", "Stochastic DPM++ 2M.", "exponential", 1, false, false, sample_dpmpp_2m_sde, false,
            "k_dpmpp_2m_sde k_dpmpp_2m_sde_ka k_dpmpp_2m_sde_exp"},
    Sampler{"dpmpp_2m_sde_heun", "DPM++ 2M SDE Heun", "DPM++ 2M SDE with another correction.", "exponential", 1, false, false,
            sample_dpmpp_2m_sde_heun, false, "k_dpmpp_2m_sde_heun"},
    Sampler{"dpmpp_2s_a", "DPM++ 2S a", "Ancestral, two model calls a step.", "karras", 1, false, true, sample_dpmpp_2s_ancestral, false,
            "k_dpmpp_2s_a k_dpmpp_2s_a_ka dpmpp_2s_ancestral"},
    Sampler{"dpmpp_3m_sde", "DPM++ 3M SDE", "Stochastic, third order; for 30 steps and more.", "exponential", 1, true, false,
            sample_dpmpp_3m_sde, false, "k_dpmpp_3m_sde"},
    Sampler{"euler_a", "Euler a", "Ancestral: each step adds fresh noise, so more steps give another picture.", "uniform", 1, false, false,
            sample_euler_ancestral, false, "k_euler_a k_euler_ancestral euler_ancestral"},
    Sampler{"euler", "Euler", "The plain one: robust, smooth, a little soft at few steps.", "uniform", 0, false, false, sample_euler, false,
            "k_euler"},
    Sampler{"lms", "LMS", "Linear multistep of order 4.", "uniform", 0, false, false, sample_lms, false, "k_lms"},
    Sampler{"heun", "Heun", "Second order, two model calls a step.", "uniform", 0, false, true, sample_heun, false, "k_heun"},
    Sampler{"dpm2", "DPM2", "Midpoint in log sigma, two model calls a step.", "karras", 0, true, true, sample_dpm2, false, "k_dpm_2 dpm_2"},
    Sampler{"dpm2_a", "DPM2 a", "Ancestral DPM2.", "karras", 1, true, true, sample_dpm2_ancestral, false,
            "k_dpm_2_a dpm_2_a dpm_2_ancestral"},
    Sampler{"dpm_fast", "DPM fast", "Third-order single steps; as many model calls as steps.", "uniform", 1, false, false, sample_dpm_fast,
            false, "k_dpm_fast"},
    Sampler{"restart", "Restart", "Heun that goes back to more noise and down again; from 20 steps on.", "karras", 1, false, true,
            sample_restart, false, ""},
    Sampler{"ddim", "DDIM", "The first fast sampler; deterministic, with eta 1 the original DDPM.", "ddim_timesteps", 0, false, false,
            sample_euler_ancestral, true, "k_ddim"},
    Sampler{"plms", "PLMS", "Multistep DDIM.", "ddim_timesteps", 0, false, false, sample_plms, true, "pndm"},
    Sampler{"unipc", "UniPC", "Predicts and corrects, third order; good at 10 steps.", "unipc_timesteps", 0, false, false, sample_unipc,
            true, "k_unipc uni_pc"},
    Sampler{"unipc_bh2", "UniPC BH2", "UniPC as diffusers sets it: second order, the other growth function.", "unipc_timesteps", 0, false,
            false, sample_unipc_bh2, true, "uni_pc_bh2"},
    Sampler{"ddpm", "DDPM", "The original stochastic sampler; for many steps.", "ddim", 1, false, false, sample_euler_ancestral, true, ""},
    Sampler{"lcm", "LCM", "For latent consistency models and LoRAs: 2 to 8 steps, guidance 1 to 2.", "lcm", 1, false, false, sample_lcm,
            true, "k_lcm"},
};

}  // namespace

std::span<const Sampler> samplers() { return kSamplers; }

const Sampler& find_sampler(std::string_view name) {
  std::string wanted = lower(trim(name));
  std::vector<std::string> names;
  for (const Sampler& sampler : kSamplers) {
    if (wanted == sampler.name || wanted == lower(sampler.label)) return sampler;
    for (std::string_view alias : split(sampler.aliases, ' ')) {
      if (!wanted.empty() && wanted == alias) return sampler;
    }
    names.emplace_back(sampler.name);
  }
  std::string hint = did_you_mean(wanted, names);
  throw Error(ErrorKind::bad_input, "there is no sampler \"" + std::string(name) + "\"",
              hint.empty() ? "the samplers are " + join(names, ", ") : hint);
}

Tensor estimate_x0(const SampleRun& run, const Tensor& x, double sigma) {
  run.progress.check();
  return run.denoise(x, sigma).x0;
}

void report_step(const SampleRun& run, int index, const Tensor& x0) {
  run.progress.step(index + 1);
  if (run.progress.wants_preview()) run.progress.preview(x0);
}

}  // namespace lorikeet
