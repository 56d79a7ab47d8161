// Samplers whose papers step x / sqrt(sigma² + 1) along alpha bar, here in sigma units, where their formulas are shorter.
// (DDIM in sigma units is sample_euler_ancestral with eta 0.)
#include <algorithm>
#include <cmath>

#include "sampling/sampler_functions.h"

namespace lorikeet {
namespace {

enum class Growth { bh1, bh2 };  // B(h) = h or exp(h) - 1 (Zhao et al. 2023, section 3.1)

// What UniPC remembers: the estimates so far and the half log-SNR -log sigma of each, oldest first.
struct UniPcHistory {
  std::vector<Tensor> x0s;
  std::vector<double> lambdas;
};

// The weights of the differences D_1 … and, last, of the newest estimate: R rho = b (Zhao et al. 2023, arXiv 2302.04867, theorem 3.1),
// with its R and b cut to `size` equations. ratios: r_1 … ; hh = -h.
std::vector<double> unipc_weights(const std::vector<double>& ratios, double hh, double growth, int size) {
  std::vector<double> rows, right;
  double phi = std::expm1(hh) / hh - 1, factorial = 1;
  for (int i = 0; i < size; ++i) {
    for (int k = 0; k < size; ++k) rows.push_back(std::pow(ratios[static_cast<size_t>(k)], i));
    right.push_back(phi * factorial / growth);
    factorial *= i + 2;
    phi = phi / hh - 1 / factorial;
  }
  Tensor solved = torch::linalg_solve(torch::tensor(rows, torch::kDouble).view({size, size}), torch::tensor(right, torch::kDouble));
  return {solved.data_ptr<double>(), solved.data_ptr<double>() + size};
}

// UniP-p (newest undefined: predict) or UniC-p (newest: the estimate at the predicted point, correct) from x at the newest entry of
// `history` to sigma `next` (Zhao et al. 2023, algorithms 1 and 2, for the prediction of x0).
Tensor unipc_update(const Tensor& x, const UniPcHistory& history, double next, int order, Growth growth_kind, const Tensor& newest) {
  const Tensor& x0 = history.x0s.back();
  double sigma_ratio = next * std::exp(history.lambdas.back());
  Tensor moved = x * sigma_ratio + x0 * (1 - sigma_ratio);
  if (next == 0) return moved;
  double hh = std::log(next) + history.lambdas.back(), growth = growth_kind == Growth::bh1 ? hh : std::expm1(hh);  // hh = -h
  std::vector<double> ratios;
  std::vector<Tensor> differences;
  for (int k = 1; k < order; ++k) {
    size_t before = history.x0s.size() - 1 - static_cast<size_t>(k);
    ratios.push_back((history.lambdas[before] - history.lambdas.back()) / -hh);
    differences.push_back((history.x0s[before] - x0) / ratios.back());
  }
  bool correcting = newest.defined();
  if (correcting) {
    ratios.push_back(1);
    differences.push_back(newest - x0);
  }
  if (differences.empty()) return moved;
  // Where there is one difference the paper's authors take 1/2, which is of the same order.
  std::vector<double> weights =
      differences.size() == 1 ? std::vector{0.5} : unipc_weights(ratios, hh, growth, static_cast<int>(ratios.size()));
  for (size_t k = 0; k < differences.size(); ++k) moved = moved - differences[k] * (growth * weights[k]);
  return moved;
}

// Zhao et al. 2023 (arXiv 2302.04867): multistep UniPC-p, each prediction corrected by the estimate made at it; lower orders at the
// first and the last steps.
Tensor unipc(const SampleRun& run, Tensor x, int most_order, Growth growth) {
  UniPcHistory history;
  Tensor x_before;  // at the newest entry of the history
  int order = 0, steps = static_cast<int>(run.sigmas.size()) - 1;
  return each_step(run, std::move(x), [&](Step s, const Tensor& predicted, const Tensor& x0) {
    Tensor x = s.index == 0 ? predicted : unipc_update(x_before, history, s.sigma, order, growth, x0);
    history.x0s.push_back(x0);
    history.lambdas.push_back(-std::log(s.sigma));
    if (static_cast<int>(history.x0s.size()) > most_order) {
      history.x0s.erase(history.x0s.begin());
      history.lambdas.erase(history.lambdas.begin());
    }
    x_before = x;
    order = std::min({most_order, steps - s.index, s.index + 1});
    return unipc_update(x, history, s.next, order, growth, {});
  });
}

}  // namespace

// UniPC of the authors' code as A1111 configures it: B(h) = h, order 3.
Tensor sample_unipc(const SampleRun& run, Tensor x) { return unipc(run, std::move(x), 3, Growth::bh1); }

// UniPC as diffusers configures it: B(h) = exp(h) - 1, order 2.
Tensor sample_unipc_bh2(const SampleRun& run, Tensor x) { return unipc(run, std::move(x), 2, Growth::bh2); }

// Pseudo linear multistep (Liu et al. 2022, PNDM, arXiv 2202.09778, eq. 12; the first step by eq. 13's second-order start):
// Adams and Bashforth's weights for even steps of the timestep, whatever the steps of sigma.
Tensor sample_plms(const SampleRun& run, Tensor x) {
  std::vector<Tensor> e;  // newest first
  return each_step(run, std::move(x), [&](Step s, const Tensor& x, const Tensor& x0) {
    e.insert(e.begin(), (x - x0) / s.sigma);
    if (e.size() > 4) e.pop_back();
    Tensor direction;
    if (e.size() == 1) {
      Tensor there = x + e[0] * (s.next - s.sigma);
      if (s.next == 0) return there;
      direction = (e[0] + (there - estimate_x0(run, there, s.next)) / s.next) / 2;
    } else if (e.size() == 2) {
      direction = (e[0] * 3 - e[1]) / 2;
    } else if (e.size() == 3) {
      direction = (e[0] * 23 - e[1] * 16 + e[2] * 5) / 12;
    } else {
      direction = (e[0] * 55 - e[1] * 59 + e[2] * 37 - e[3] * 9) / 24;
    }
    return x + direction * (s.next - s.sigma);
  });
}

// Multistep latent consistency sampling (Luo et al. 2023, arXiv 2310.04378, algorithm 3): jump to x0, noise it to the next level.
// The boundary condition's c_skip and c_out (eq. 9, with sigma_data 0.5 and timesteps times 10) differ from 0 and 1 by less than 1e-5
// at every timestep that was distilled, and are left out.
Tensor sample_lcm(const SampleRun& run, Tensor x) {
  return each_step(run, std::move(x),
                   [&](Step s, const Tensor&, const Tensor& x0) { return s.next > 0 ? x0 + run.noise.next() * s.next : x0; });
}

}  // namespace lorikeet
