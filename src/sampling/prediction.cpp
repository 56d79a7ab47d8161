#include "sampling/prediction.h"

#include <array>

#include "base/error.h"
#include "base/text.h"

namespace lorikeet {
namespace {

Tensor noised(const Tensor& x0, const Tensor& noise, const Tensor& sigma) { return x0 + per_picture(sigma, x0) * noise; }

// 1 / sqrt(sigma² + 1) = sqrt(alpha bar): takes x to unit variance, the scale that DDPM-trained networks know.
Tensor unit_variance(const Tensor& sigma) { return (sigma * sigma + 1).rsqrt(); }

Tensor epsilon_target(const Tensor&, const Tensor& noise, const Tensor&) { return noise; }
Tensor epsilon_to_x0(const Tensor& x, const Tensor& output, const Tensor& sigma) { return x - per_picture(sigma, x) * output; }

// v = sqrt(alpha bar) noise - sqrt(1 - alpha bar) x0, and sqrt(1 - alpha bar) = sigma * sqrt(alpha bar)
Tensor v_target(const Tensor& x0, const Tensor& noise, const Tensor& sigma) {
  Tensor s = per_picture(sigma, x0);
  return (noise - s * x0) * unit_variance(s);
}
Tensor v_to_x0(const Tensor& x, const Tensor& output, const Tensor& sigma) {
  Tensor s = per_picture(sigma, x), scale = unit_variance(s);
  return (x * scale - s * output) * scale;
}

Tensor flow_target(const Tensor& x0, const Tensor& noise, const Tensor&) { return noise - x0; }
Tensor flow_to_x0(const Tensor& x, const Tensor& output, const Tensor& sigma) {
  Tensor s = per_picture(sigma, x);
  return (x - s * output) / (s + 1);
}
Tensor flow_scale(const Tensor& sigma) { return (sigma + 1).reciprocal(); }

constexpr std::array kPredictions = {
    Prediction{"epsilon", noised, epsilon_target, epsilon_to_x0, unit_variance},
    Prediction{"v", noised, v_target, v_to_x0, unit_variance},
    Prediction{"flow", noised, flow_target, flow_to_x0, flow_scale},
};

}  // namespace

Tensor per_picture(const Tensor& values, const Tensor& like) {
  if (values.dim() != 1) return values;
  Shape shape(like.dim(), 1);
  shape[0] = values.size(0);
  return values.view(shape);
}

std::span<const Prediction> predictions() { return kPredictions; }

const Prediction& find_prediction(std::string_view name) {
  std::string wanted = lower(name);
  if (wanted == "eps") wanted = "epsilon";
  if (wanted == "v_prediction") wanted = "v";
  for (const Prediction& prediction : kPredictions) {
    if (wanted == prediction.name) return prediction;
  }
  throw Error(ErrorKind::bad_input, "there is no prediction kind \"" + std::string(name) + "\"", "the kinds are epsilon, v, flow");
}

}  // namespace lorikeet
