// What a network predicts: the training target and its inverse live together, one row a kind.
// Everything is in sigma units, x = x0 + sigma * noise, whatever scale the network itself works in: its input is x * input_scale.
#pragma once
#include <span>
#include <string_view>

#include "base/torch.h"

namespace lorikeet {

struct Prediction {
  std::string_view name;  // "epsilon", "v", "flow"
  // x0, noise: [B, C, H, W]; sigma: [B] or one value, > 0. -> x: [B, C, H, W]
  Tensor (*noised)(const Tensor& x0, const Tensor& noise, const Tensor& sigma);
  // What the network should answer for noised(x0, noise, sigma).
  Tensor (*target)(const Tensor& x0, const Tensor& noise, const Tensor& sigma);
  // The inverse: to_x0(noised(x0, n, s), target(x0, n, s), s) = x0. x: in sigma units, not yet scaled.
  Tensor (*to_x0)(const Tensor& x, const Tensor& output, const Tensor& sigma);
  // c_in: the network sees x * input_scale(sigma). [B] -> [B]
  Tensor (*input_scale)(const Tensor& sigma);
};

// epsilon: Ho et al. 2020, arXiv 2006.11239. v: Salimans and Ho 2022, arXiv 2202.00512, appendix D.
// flow: Liu et al. 2022, arXiv 2209.03003: x_t = (1 - t) x0 + t noise with t = sigma / (1 + sigma), target noise - x0.
std::span<const Prediction> predictions();

// By name; "eps" and diffusers' "v_prediction" are understood too. Error{bad_input} otherwise.
const Prediction& find_prediction(std::string_view name);

// [B] (or one value) as [B, 1, 1, …], to multiply with something of the rank of `like`.
Tensor per_picture(const Tensor& values, const Tensor& like);

}  // namespace lorikeet
