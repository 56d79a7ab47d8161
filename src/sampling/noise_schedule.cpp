#include "sampling/noise_schedule.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"

namespace lorikeet {

NoiseSchedule schedule_of_alphas_cumprod(std::span<const float> alphas_cumprod) {
  if (alphas_cumprod.size() < 2) throw Error(ErrorKind::bad_input, "a noise schedule needs at least 2 timesteps");
  NoiseSchedule schedule;
  float previous = 1;
  for (float a : alphas_cumprod) {
    if (!(a > 0 && a < previous)) {
      throw Error(ErrorKind::bad_input,
                  "the noise schedule (alphas_cumprod) must fall strictly within 0 and 1; it has " + format_number(a) + " after " +
                      format_number(previous),
                  "the checkpoint's alphas_cumprod is damaged; remove it from the file to get the usual one");
    }
    previous = a;
    schedule.alphas_cumprod.push_back(a);
    schedule.sigmas.push_back(std::sqrt((1 - a) / a));
    schedule.log_sigmas.push_back(std::log(schedule.sigmas.back()));
  }
  return schedule;
}

NoiseSchedule scaled_linear_schedule(double beta_start, double beta_end, int timesteps) {
  std::vector<float> alphas_cumprod;
  double product = 1;
  for (int t = 0; t < timesteps; ++t) {
    double root = std::sqrt(beta_start) + (std::sqrt(beta_end) - std::sqrt(beta_start)) * t / (timesteps - 1);
    product *= 1 - root * root;
    alphas_cumprod.push_back(static_cast<float>(product));
  }
  return schedule_of_alphas_cumprod(alphas_cumprod);
}

NoiseSchedule zero_terminal_snr(const NoiseSchedule& schedule) {
  constexpr float kLastAlphaCumprod = 4.8973451890853435e-08f;  // A1111, sd_models.py; also ComfyUI's
  float first = std::sqrt(schedule.alphas_cumprod.front());
  float last = std::sqrt(schedule.alphas_cumprod.back());
  std::vector<float> rescaled;
  for (float a : schedule.alphas_cumprod) {
    float root = (std::sqrt(a) - last) * (first / (first - last));
    rescaled.push_back(root * root);
  }
  rescaled.back() = kLastAlphaCumprod;
  return schedule_of_alphas_cumprod(rescaled);
}

float NoiseSchedule::timestep(float sigma) const {
  float wanted = std::log(sigma);
  auto above = std::upper_bound(log_sigmas.begin(), log_sigmas.end(), wanted);
  auto low = std::clamp<std::ptrdiff_t>(above - log_sigmas.begin() - 1, 0, timesteps() - 2);
  float below = log_sigmas[low];
  float share = std::clamp((below - wanted) / (below - log_sigmas[low + 1]), 0.0f, 1.0f);
  return (1 - share) * low + share * (low + 1);
}

float NoiseSchedule::sigma(float timestep) const {
  timestep = std::clamp(timestep, 0.0f, timesteps() - 1.0f);
  auto low = static_cast<int>(std::floor(timestep)), high = static_cast<int>(std::ceil(timestep));
  float share = timestep - low;
  if (low == high) return sigmas[low];
  return std::exp((1 - share) * log_sigmas[low] + share * log_sigmas[high]);
}

}  // namespace lorikeet
