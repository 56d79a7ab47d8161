// What a sampler sees of the world: a function that denoises, a falling list of sigmas, a source of noise.
// sigma is in k-diffusion's units: x = x0 + sigma * noise (Karras et al. 2022, arXiv 2206.00364, with s(t) = 1). x: [B, C, H/8, W/8].
#pragma once
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <string_view>

#include "base/progress.h"
#include "base/torch.h"

namespace lorikeet {

struct Denoised {
  Tensor x0;         // the guided estimate of the clean latent
  Tensor x0_uncond;  // the estimate without the prompt (CFG++ kinds need it); the same as x0 when there is no guidance
};
using Denoise = std::function<Denoised(const Tensor& x, double sigma)>;

// Where the noise of the stochastic samplers comes from; picture i of a batch has its own stream, so that it is the same alone.
class Noise {
 public:
  virtual ~Noise() = default;
  virtual Tensor next() = 0;  // the next noise of each picture. [B, C, H/8, W/8], unit variance
  // Noise of Brownian increments between two sigmas, normalised to unit variance (k-diffusion's BrownianTreeNoiseSampler); the
  // default is next(). sigma > sigma_next > 0, both within the sigmas that prepare_between() was last given.
  virtual Tensor between(double /*sigma*/, double /*sigma_next*/) { return next(); }
  virtual void prepare_between(std::span<const double> /*sigmas*/) {}
};

// Noise put back at each step (Karras et al. 2022, algorithm 2: S_churn, S_tmin, S_tmax); euler, heun and dpm2 look at it.
struct Churn {
  double amount = 0;  // spread over the steps; 0: none
  double tmin = 0, tmax = std::numeric_limits<double>::infinity();  // only at sigmas between these
};

struct SampleRun {
  const Denoise& denoise;
  std::span<const double> sigmas;  // falling, the last usually 0; size = steps + 1
  Noise& noise;
  Progress& progress;  // check() before each call of denoise, step(i) and preview() after step i
  double eta = 1.0;    // share of fresh noise of the stochastic samplers; DDIM's eta for ddim
  Churn churn = {};
};

struct Sampler {
  std::string_view name;      // one word for flags and JSON: "dpmpp_2m"
  std::string_view label;     // A1111's name: "DPM++ 2M"
  std::string_view summary;   // one sentence for people
  std::string_view schedule;  // the schedule that "automatic" stands for: "karras", "uniform", …
  double default_eta;
  bool discards_penultimate_sigma;  // A1111's rule for DPM2 and its like
  bool second_order;                // two denoise calls a step
  Tensor (*sample)(const SampleRun&, Tensor x);
  // Defined by their papers on x / sqrt(sigma² + 1), which has unit variance (DDIM, PLMS, UniPC): a run starts from unit noise at the
  // first sigma, and what is left at a last sigma above 0 is scaled so. start() and finish() of run_plan.h do it; sample() does not.
  bool variance_preserving = false;
  std::string_view aliases = {};  // further names, separated by spaces: A1111's and k-diffusion's
};

std::span<const Sampler> samplers();  // the one list: CLI help, API, UI and tests read it

// By name, label or A1111/k-diffusion alias ("k_dpmpp_2m"), any case. Error{bad_input} lists the near names.
const Sampler& find_sampler(std::string_view name);

}  // namespace lorikeet
