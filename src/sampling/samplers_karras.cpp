// Samplers on the ODE dx/dsigma = (x - x0) / sigma of Karras et al. 2022 (arXiv 2206.00364, eq. 1), as k-diffusion steps it.
#include <algorithm>
#include <cmath>
#include <deque>

#include "sampling/sampler_functions.h"
#include "sampling/schedules.h"

namespace lorikeet {
namespace {

// (x - x0) / sigma: the noise that the estimate sees in x.
Tensor slope(const Tensor& x, const Tensor& x0, double sigma) { return (x - x0) / sigma; }

// Second order by the slope at the end, or first order to 0, where there is no slope.
Tensor heun_step(const SampleRun& run, const Tensor& x, const Tensor& x0, double sigma, double next) {
  if (next == 0) return euler_step(x, x0, sigma, next);
  Tensor d = slope(x, x0, sigma), there = x + d * (next - sigma);
  Tensor d_there = slope(there, estimate_x0(run, there, next), next);
  return x + (d + d_there) * ((next - sigma) / 2);
}

// Second order by the slope in the middle of log sigma.
Tensor midpoint_step(const SampleRun& run, const Tensor& x, const Tensor& x0, double sigma, double next) {
  if (next == 0) return euler_step(x, x0, sigma, next);
  double middle = std::sqrt(sigma * next);
  Tensor there = euler_step(x, x0, sigma, middle);
  return x + slope(there, estimate_x0(run, there, middle), middle) * (next - sigma);
}

// The integral over [sigmas[i], sigmas[i+1]] of the Lagrange polynomial that is 1 at sigmas[i-j] and 0 at the other nodes
// sigmas[i], sigmas[i-1] … Two Gauss points are exact up to degree 3, that is order 4.
double multistep_weight(std::span<const double> sigmas, int order, int i, int j) {
  auto at = [&](int k) { return sigmas[static_cast<size_t>(k)]; };
  double middle = (at(i) + at(i + 1)) / 2, half = (at(i + 1) - at(i)) / 2, sum = 0;
  for (double point : {middle - half / std::sqrt(3), middle + half / std::sqrt(3)}) {
    double product = 1;
    for (int k = 0; k < order; ++k) {
      if (k != j) product *= (point - at(i - k)) / (at(i - j) - at(i - k));
    }
    sum += product;
  }
  return sum * half;
}

// The sigmas of a restart run, going up again where it restarts: {sigma, next} of each step.
// Xu et al. 2023 (arXiv 2306.14878) with A1111's choice of numbers: from 20 steps on, one restart from 0.1 to 2 with 9 steps, from 36 on
// two.
std::vector<std::pair<double, double>> restart_plan(std::span<const double> given) {
  std::vector<double> sigmas(given.begin(), given.end());
  int steps = static_cast<int>(given.size()) - 1, again = 0, times = 0;
  if (steps >= 20) {
    again = steps >= 36 ? steps / 4 : 9;
    times = steps >= 36 ? 2 : 1;
    sigmas = karras_sigmas(steps - again * times, given[given.size() - 2], given.front());
  }
  auto nearest = [&](double wanted) {
    return std::min_element(sigmas.begin(), sigmas.end(), [&](double a, double b) { return std::abs(a - wanted) < std::abs(b - wanted); }) -
           sigmas.begin();
  };
  auto low = nearest(0.1), high = nearest(2);
  std::vector<std::pair<double, double>> plan;
  for (size_t i = 0; i + 1 < sigmas.size(); ++i) {
    plan.emplace_back(sigmas[i], sigmas[i + 1]);
    if (times == 0 || static_cast<std::ptrdiff_t>(i) + 1 != low || high >= low) continue;
    std::vector<double> part = karras_sigmas(again + 1, sigmas[static_cast<size_t>(low)], sigmas[static_cast<size_t>(high)]);
    for (int round = 0; round < times; ++round) {
      for (size_t k = 0; k + 2 < part.size(); ++k) plan.emplace_back(part[k], part[k + 1]);
    }
  }
  return plan;
}

}  // namespace

Tensor euler_step(const Tensor& x, const Tensor& x0, double sigma, double next) { return x + slope(x, x0, sigma) * (next - sigma); }

Ancestral ancestral_step(double sigma, double next, double eta) {
  double up = std::min(next, eta * next * std::sqrt(std::max(0.0, sigma * sigma - next * next)) / sigma);
  return {std::sqrt(next * next - up * up), up};
}

double churned_sigma(const SampleRun& run, double sigma) {
  const Churn& churn = run.churn;
  if (churn.amount <= 0 || sigma < churn.tmin || sigma > churn.tmax) return sigma;
  return sigma * (1 + std::min(churn.amount / static_cast<double>(run.sigmas.size() - 1), std::sqrt(2.0) - 1));
}

// Karras et al. 2022, algorithm 2 without its second-order part.
Tensor sample_euler(const SampleRun& run, Tensor x) {
  return each_churned_step(run, std::move(x), [](Step s, const Tensor& x, const Tensor& x0) { return euler_step(x, x0, s.sigma, s.next); });
}

// Song, J. et al. 2020 (DDIM, arXiv 2010.02502), eq. 12, in sigma units: eta 1 is Ho et al.'s DDPM (k-diffusion's "Euler ancestral"),
// eta 0 is DDIM.
Tensor sample_euler_ancestral(const SampleRun& run, Tensor x) {
  return each_step(run, std::move(x), [&](Step s, const Tensor& x, const Tensor& x0) {
    auto [down, up] = ancestral_step(s.sigma, s.next, run.eta);
    Tensor lower = euler_step(x, x0, s.sigma, down);
    return up > 0 ? lower + run.noise.next() * up : lower;
  });
}

// Karras et al. 2022, algorithm 2.
Tensor sample_heun(const SampleRun& run, Tensor x) {
  return each_churned_step(run, std::move(x), [&](Step s, const Tensor& x, const Tensor& x0) { return heun_step(run, x, x0, s.sigma, s.next); });
}

// Adams and Bashforth's linear multistep method of order 4 on uneven steps, as in k-diffusion.
Tensor sample_lms(const SampleRun& run, Tensor x) {
  std::deque<Tensor> slopes;  // newest first
  return each_step(run, std::move(x), [&](Step s, const Tensor& x, const Tensor& x0) {
    slopes.push_front(slope(x, x0, s.sigma));
    if (slopes.size() > 4) slopes.pop_back();
    Tensor moved = x;
    int order = static_cast<int>(slopes.size());
    for (int j = 0; j < order; ++j) moved = moved + slopes[static_cast<size_t>(j)] * multistep_weight(run.sigmas, order, s.index, j);
    return moved;
  });
}

// k-diffusion's "DPM-Solver-2 inspired" midpoint method (Lu et al. 2022, arXiv 2206.00927, algorithm 1 gives the midpoint).
Tensor sample_dpm2(const SampleRun& run, Tensor x) {
  return each_churned_step(run, std::move(x),
                   [&](Step s, const Tensor& x, const Tensor& x0) { return midpoint_step(run, x, x0, s.sigma, s.next); });
}

// The same with ancestral noise.
Tensor sample_dpm2_ancestral(const SampleRun& run, Tensor x) {
  return each_step(run, std::move(x), [&](Step s, const Tensor& x, const Tensor& x0) {
    auto [down, up] = ancestral_step(s.sigma, s.next, run.eta);
    Tensor lower = midpoint_step(run, x, x0, s.sigma, down);
    return up > 0 ? lower + run.noise.next() * up : lower;
  });
}

// Xu et al. 2023 (arXiv 2306.14878), algorithm 1: Heun's method that goes back up to a higher noise level and repeats the way down.
Tensor sample_restart(const SampleRun& run, Tensor x) {
  torch::NoGradGuard no_grad;
  double last = run.sigmas.front();
  int index = 0;
  for (auto [sigma, next] : restart_plan(run.sigmas)) {
    if (sigma > last) x = x + run.noise.next() * std::sqrt(sigma * sigma - last * last);
    Tensor x0 = estimate_x0(run, x, sigma);
    x = heun_step(run, x, x0, sigma, next);
    last = next;
    report_step(run, index++, x0);
  }
  return x;
}

}  // namespace lorikeet
