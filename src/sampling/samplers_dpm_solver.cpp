// Exponential integrators: with t = -log sigma the linear part of the ODE is solved exactly, and only x0 is interpolated.
// DPM-Solver: Lu et al. 2022, arXiv 2206.00927. DPM-Solver++: Lu et al. 2022, arXiv 2211.01095. As k-diffusion steps them.
#include <algorithm>
#include <cmath>

#include "sampling/sampler_functions.h"

namespace lorikeet {
namespace {

// The exact solution from sigma to next for a constant x0 (DPM-Solver++, eq. 9): at next = 0 it is x0.
Tensor exponential_step(const Tensor& x, const Tensor& x0, double sigma, double next) {
  return x * (next / sigma) + x0 * (1 - next / sigma);
}

double log_step(double sigma, double next) { return std::log(sigma) - std::log(next); }  // h = t_next - t > 0

// Noise of spread `up` on the way from sigma to next, from the Brownian path.
Tensor with_brownian(const SampleRun& run, const Tensor& x, double sigma, double next, double up) {
  return up > 0 ? x + run.noise.between(sigma, next) * up : x;
}

// DPM-Solver++ 2M and 3M on the SDE share the first-order part (arXiv 2211.01095, eq. 21) …
Tensor sde_first_order(const Tensor& x, const Tensor& x0, double h, double eta) {
  return x * std::exp(-h - eta * h) - x0 * std::expm1(-h - eta * h);
}
// … and the noise.
Tensor sde_noise(const SampleRun& run, const Tensor& x, Step s, double h) {
  return with_brownian(run, x, s.sigma, s.next, s.next * std::sqrt(-std::expm1(-2 * run.eta * h)));
}

enum class Correction { midpoint, heun };

// DPM-Solver++(2M) for the SDE (arXiv 2211.01095, appendix B; `midpoint` and `heun` are the two ways to weigh the difference of x0).
Tensor multistep_sde(const SampleRun& run, Tensor x, Correction correction) {
  run.noise.prepare_between(run.sigmas);
  Tensor x0_before;
  double h_before = 0;
  return each_step(run, std::move(x), [&](Step s, const Tensor& x, const Tensor& x0) {
    if (s.next == 0) return x0;
    double h = log_step(s.sigma, s.next), h_eta = h + run.eta * h;
    Tensor moved = sde_first_order(x, x0, h, run.eta);
    if (x0_before.defined()) {
      double weight = correction == Correction::heun ? 1 + std::expm1(-h_eta) / h_eta : -0.5 * std::expm1(-h_eta);
      moved = moved + (x0 - x0_before) * (weight * h / h_before);
    }
    x0_before = x0;
    h_before = h;
    return sde_noise(run, moved, s, h);
  });
}

// The noise in x at sigma.
Tensor epsilon(const SampleRun& run, const Tensor& x, double sigma) { return (x - estimate_x0(run, x, sigma)) / sigma; }

// DPM-Solver-1, -2 or -3 from sigma to next (arXiv 2206.00927, eq. 3.7 and algorithms 1 and 2) given the noise at sigma.
Tensor dpm_solver_step(const SampleRun& run, const Tensor& x, const Tensor& eps, double sigma, double next, int order) {
  double h = log_step(sigma, next);
  Tensor first = x - eps * (next * std::expm1(h));
  if (order == 1) return first;
  double r1 = order == 2 ? 1.0 / 2 : 1.0 / 3, s1 = sigma * std::exp(-r1 * h);
  Tensor eps1 = epsilon(run, x - eps * (s1 * std::expm1(r1 * h)), s1);
  if (order == 2) return first - (eps1 - eps) * (next / (2 * r1) * std::expm1(h));
  double r2 = 2.0 / 3, s2 = sigma * std::exp(-r2 * h);
  Tensor u2 = x - eps * (s2 * std::expm1(r2 * h)) - (eps1 - eps) * (s2 * (r2 / r1) * (std::expm1(r2 * h) / (r2 * h) - 1));
  return first - (epsilon(run, u2, s2) - eps) * (next / r2 * (std::expm1(h) / h - 1));
}

}  // namespace

// DPM-Solver-fast (arXiv 2206.00927, section 3.4 and appendix D.3): as many model calls as there are steps, spent on third-order steps of
// equal log sigma. Uses only the ends of the schedule, and stops at the last sigma above 0, as in k-diffusion.
Tensor sample_dpm_fast(const SampleRun& run, Tensor x) {
  torch::NoGradGuard no_grad;
  int calls = static_cast<int>(run.sigmas.size()) - 1, count = calls / 3 + 1;
  double top = run.sigmas.front(), bottom = run.sigmas.back() > 0 ? run.sigmas.back() : run.sigmas[run.sigmas.size() - 2];
  if (top <= bottom) return estimate_x0(run, x, top);
  std::vector<int> orders(static_cast<size_t>(count - 1), 3);
  if (calls % 3 != 0) orders.push_back(calls % 3);
  if (calls % 3 == 0) orders.back() = 2, orders.push_back(1);
  auto sigma_at = [&](int i) { return i == count ? bottom : top * std::pow(bottom / top, static_cast<double>(i) / count); };
  for (int i = 0, done = 0; i < count; ++i) {
    double sigma = sigma_at(i), next = sigma_at(i + 1);
    double down = std::max(bottom, ancestral_step(sigma, next, run.eta).down), up = std::sqrt(std::max(0.0, next * next - down * down));
    Tensor eps = epsilon(run, x, sigma), x0 = x - eps * sigma;
    x = dpm_solver_step(run, x, eps, sigma, down, orders[static_cast<size_t>(i)]);
    if (up > 0) x = x + run.noise.next() * up;
    done += orders[static_cast<size_t>(i)];
    report_step(run, done - 1, x0);
  }
  return x;
}

// DPM-Solver++(2S) with ancestral noise (arXiv 2211.01095, algorithm 1 with r = 1/2).
Tensor sample_dpmpp_2s_ancestral(const SampleRun& run, Tensor x) {
  return each_step(run, std::move(x), [&](Step s, const Tensor& x, const Tensor& x0) {
    auto [down, up] = ancestral_step(s.sigma, s.next, run.eta);
    if (down == 0) return euler_step(x, x0, s.sigma, down);
    double middle = std::sqrt(s.sigma * down);
    Tensor x0_middle = estimate_x0(run, exponential_step(x, x0, s.sigma, middle), middle);
    Tensor lower = exponential_step(x, x0_middle, s.sigma, down);
    return up > 0 ? lower + run.noise.next() * up : lower;
  });
}

// DPM-Solver++(2M) (arXiv 2211.01095, algorithm 2).
Tensor sample_dpmpp_2m(const SampleRun& run, Tensor x) {
  Tensor x0_before;
  double h_before = 0;
  return each_step(run, std::move(x), [&](Step s, const Tensor& x, const Tensor& x0) {
    if (s.next == 0) return x0;
    double h = log_step(s.sigma, s.next);
    Tensor direction = x0;
    if (x0_before.defined()) direction = x0 + (x0 - x0_before) * (h / h_before / 2);
    x0_before = x0;
    h_before = h;
    return exponential_step(x, direction, s.sigma, s.next);
  });
}

// DPM-Solver++(2S) on the SDE, k-diffusion's "DPM++ SDE" (r = 1/2, where the second estimate gets all the weight).
Tensor sample_dpmpp_sde(const SampleRun& run, Tensor x) {
  run.noise.prepare_between(run.sigmas);
  return each_step(run, std::move(x), [&](Step s, const Tensor& x, const Tensor& x0) {
    if (s.next == 0) return euler_step(x, x0, s.sigma, s.next);
    double middle = std::sqrt(s.sigma * s.next);
    auto [down_1, up_1] = ancestral_step(s.sigma, middle, run.eta);
    Tensor there = with_brownian(run, exponential_step(x, x0, s.sigma, down_1), s.sigma, middle, up_1);
    Tensor x0_middle = estimate_x0(run, there, middle);
    auto [down_2, up_2] = ancestral_step(s.sigma, s.next, run.eta);
    return with_brownian(run, exponential_step(x, x0_middle, s.sigma, down_2), s.sigma, s.next, up_2);
  });
}

Tensor sample_dpmpp_2m_sde(const SampleRun& run, Tensor x) { return multistep_sde(run, std::move(x), Correction::midpoint); }
Tensor sample_dpmpp_2m_sde_heun(const SampleRun& run, Tensor x) { return multistep_sde(run, std::move(x), Correction::heun); }

// k-diffusion's DPM-Solver++(3M) on the SDE: the third-order multistep of arXiv 2211.01095, appendix B, with the SDE's exponents.
// `second` is half of the second derivative, so the last term counts half of what third order would need; this is how the paper's authors,
// diffusers and k-diffusion all have it, and the pictures follow.
Tensor sample_dpmpp_3m_sde(const SampleRun& run, Tensor x) {
  run.noise.prepare_between(run.sigmas);
  Tensor x0_1, x0_2;  // one and two steps ago
  double h_1 = 0, h_2 = 0;
  return each_step(run, std::move(x), [&](Step s, const Tensor& x, const Tensor& x0) {
    if (s.next == 0) return x0;
    double h = log_step(s.sigma, s.next), h_eta = h + run.eta * h;
    double phi_2 = std::expm1(-h_eta) / h_eta + 1, phi_3 = phi_2 / h_eta - 0.5;
    Tensor moved = sde_first_order(x, x0, h, run.eta);
    if (x0_2.defined()) {
      double r0 = h_1 / h, r1 = h_2 / h;
      Tensor d_0 = (x0 - x0_1) / r0, d_1 = (x0_1 - x0_2) / r1;
      Tensor first = d_0 + (d_0 - d_1) * (r0 / (r0 + r1)), second = (d_0 - d_1) / (r0 + r1);
      moved = moved + first * phi_2 - second * phi_3;
    } else if (x0_1.defined()) {
      moved = moved + (x0 - x0_1) * (phi_2 * h / h_1);
    }
    x0_2 = x0_1, x0_1 = x0;
    h_2 = h_1, h_1 = h;
    return sde_noise(run, moved, s, h);
  });
}

}  // namespace lorikeet
