// The stepping rules, one free function each; samplers.cpp lists them. Private to this folder.
#pragma once
#include <cmath>

#include "sampling/sampler.h"

namespace lorikeet {

// samplers_karras.cpp: on dx/dsigma = (x - x0) / sigma
Tensor sample_euler(const SampleRun& run, Tensor x);
Tensor sample_euler_ancestral(const SampleRun& run, Tensor x);
Tensor sample_heun(const SampleRun& run, Tensor x);
Tensor sample_lms(const SampleRun& run, Tensor x);
Tensor sample_dpm2(const SampleRun& run, Tensor x);
Tensor sample_dpm2_ancestral(const SampleRun& run, Tensor x);
Tensor sample_restart(const SampleRun& run, Tensor x);

// samplers_dpm_solver.cpp: exponential integrators in log sigma
Tensor sample_dpm_fast(const SampleRun& run, Tensor x);
Tensor sample_dpmpp_2s_ancestral(const SampleRun& run, Tensor x);
Tensor sample_dpmpp_2m(const SampleRun& run, Tensor x);
Tensor sample_dpmpp_sde(const SampleRun& run, Tensor x);
Tensor sample_dpmpp_2m_sde(const SampleRun& run, Tensor x);
Tensor sample_dpmpp_2m_sde_heun(const SampleRun& run, Tensor x);
Tensor sample_dpmpp_3m_sde(const SampleRun& run, Tensor x);

// samplers_timestep.cpp: those that others write on timesteps and alpha bar
Tensor sample_plms(const SampleRun& run, Tensor x);
Tensor sample_unipc(const SampleRun& run, Tensor x);
Tensor sample_unipc_bh2(const SampleRun& run, Tensor x);
Tensor sample_lcm(const SampleRun& run, Tensor x);

// --- shared ---

struct Step {
  int index;
  double sigma, next;
};

// One call of the model, unless cancelled.
Tensor estimate_x0(const SampleRun& run, const Tensor& x, double sigma);

// Karras et al. 2022, algorithm 2, line 5: sigma · (1 + gamma), gamma at most sqrt(2) - 1.
double churned_sigma(const SampleRun& run, double sigma);

void report_step(const SampleRun& run, int index, const Tensor& x0);

// x after all steps, where advance(step, x, x0) gives x after one. x0: the estimate at (x, step.sigma).
template <class Advance>
Tensor each_step(const SampleRun& run, Tensor x, Advance advance) {
  torch::NoGradGuard no_grad;
  for (int i = 0; i + 1 < static_cast<int>(run.sigmas.size()); ++i) {
    Step step{i, run.sigmas[static_cast<size_t>(i)], run.sigmas[static_cast<size_t>(i) + 1]};
    Tensor x0 = estimate_x0(run, x, step.sigma);
    x = advance(step, x, x0);
    report_step(run, i, x0);
  }
  return x;
}

// The same, with noise put back before each step as run.churn asks: the step then starts from a higher sigma.
template <class Advance>
Tensor each_churned_step(const SampleRun& run, Tensor x, Advance advance) {
  torch::NoGradGuard no_grad;
  for (int i = 0; i + 1 < static_cast<int>(run.sigmas.size()); ++i) {
    Step step{i, run.sigmas[static_cast<size_t>(i)], run.sigmas[static_cast<size_t>(i) + 1]};
    step.sigma = churned_sigma(run, step.sigma);
    if (step.sigma > run.sigmas[static_cast<size_t>(i)]) {
      const double before = run.sigmas[static_cast<size_t>(i)];
      x = x + run.noise.next() * std::sqrt(step.sigma * step.sigma - before * before);
    }
    Tensor x0 = estimate_x0(run, x, step.sigma);
    x = advance(step, x, x0);
    report_step(run, i, x0);
  }
  return x;
}

// The first-order step to `next`: along the noise that x - x0 shows. Exact for a constant x0.
Tensor euler_step(const Tensor& x, const Tensor& x0, double sigma, double next);

// An ancestral step from sigma to next: go down to `down`, then add noise of spread `up`, so that down² + up² = next²
// (Song, J. et al. 2020, arXiv 2010.02502, eq. 16, in sigma units; eta 1 is DDPM's, 0 is deterministic).
struct Ancestral {
  double down, up;
};
Ancestral ancestral_step(double sigma, double next, double eta);

}  // namespace lorikeet
