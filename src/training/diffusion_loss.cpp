#include "training/diffusion_loss.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "training/random.h"

namespace lorikeet {
namespace {

void refuse(bool wrong, const std::string& message, const std::string& hint = {}) {
  if (wrong) throw Error(ErrorKind::bad_input, message, hint);
}

void check(const TrainConfig& config, const NoiseSchedule& schedule, const Prediction& prediction) {
  const bool weighted = config.min_snr_gamma > 0 || config.debiased;
  refuse(config.zero_terminal_snr && prediction.name == "epsilon", "zero terminal SNR cannot be trained with epsilon prediction",
         "the last timestep shows the network nothing but the noise that it has to answer; use a model with v prediction");
  refuse(config.timestep_least < 0 || config.timestep_least > config.timestep_most || config.timestep_most >= schedule.timesteps(),
         "the timesteps " + std::to_string(config.timestep_least) + " to " + std::to_string(config.timestep_most) +
             " are no range of this model",
         "it has the timesteps 0 to " + std::to_string(schedule.timesteps() - 1));
  refuse(config.min_snr_gamma > 0 && config.debiased, "min-SNR and debiased estimation are two weightings of the same thing",
         "choose one of them");
  refuse(!(config.min_snr_gamma >= 0), "min-SNR's gamma is " + format_number(config.min_snr_gamma), "5 is usual; 0 is off");
  refuse(weighted && prediction.name == "flow", "min-SNR and debiased estimation are for epsilon and v prediction");
  refuse(config.loss != LossKind::mse && !(config.huber_delta > 0), "the Huber loss needs a delta above 0", "0.1 is usual");
}

// Multi-resolution noise (Whitaker 2023, "Multi-resolution noise for diffusion model training"): coarser and coarser noise on top,
// enlarged, each `discount` times weaker; the sum has unit deviation again. Each level is r times coarser to the power of its number, r
// anew in 2 … 4.
Tensor multires_noise(Tensor noise, int iterations, double discount, uint64_t random) {
  const int64_t channels = noise.size(0), height = noise.size(1), width = noise.size(2);
  for (int i = 0; i < iterations; ++i) {
    const double coarser = std::pow(2 + 2 * uniform_of(random_bits(random, "multires size", i)), i);
    const auto h = std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(height) / coarser));
    const auto w = std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(width) / coarser));
    const Tensor level = normal_tensor({1, channels, h, w}, random_bits(random, "multires noise", i));
    noise = noise + torch::upsample_bilinear2d(level, {height, width}, /*align_corners=*/false)[0] * std::pow(discount, i);
    if (h == 1 || w == 1) break;
  }
  return noise / noise.std();
}

// Element by element. Huber's are smooth as in Khrapov et al. 2024, arXiv 2403.16728, eq. 8, with the factors of kohya's scripts: `huber`
// is the squared error near 0, `smooth_l1` twice the absolute error far from it.
Tensor loss_of(const Tensor& difference, LossKind kind, double delta) {
  if (kind == LossKind::mse) return difference * difference;
  const Tensor smooth = (difference * difference + delta * delta).sqrt() - delta;
  return smooth * (kind == LossKind::huber ? 2 * delta : 2.0);
}

// loss: [B, C, h, w], mask: [B, 1, h, w] or undefined -> [B]
Tensor row_means(const Tensor& loss, const Tensor& mask) {
  if (!mask.defined()) return loss.mean({1, 2, 3});
  const Tensor here = mask.to(loss.options());
  // An empty mask has loss 0: the floor is far below what one pixel of the faintest 8-bit grey weighs.
  const Tensor area = (here.sum({1, 2, 3}) * static_cast<double>(loss.size(1))).clamp_min(1e-6);
  return (loss * here).sum({1, 2, 3}) / area;
}

}  // namespace

struct DiffusionLoss::Noised {
  Tensor x, target, timesteps;  // x: as the network sees it
};

DiffusionLoss::DiffusionLoss(const TrainConfig& config, const NoiseSchedule& schedule, const Prediction& prediction)
    : config_(config), schedule_(config.zero_terminal_snr ? lorikeet::zero_terminal_snr(schedule) : schedule), prediction_(prediction) {
  check(config_, schedule_, prediction_);
}

DiffusionLoss::Noised DiffusionLoss::noised(const LossBatch& batch, const std::vector<int>& timesteps) const {
  const Tensor& x0 = batch.latents;
  if (x0.size(0) != static_cast<int64_t>(batch.random.size()) || batch.random.size() != timesteps.size()) {
    throw Error(ErrorKind::internal,
                "a batch of " + std::to_string(x0.size(0)) + " latents has " + std::to_string(batch.random.size()) + " draws");
  }
  std::vector<Tensor> noises;
  std::vector<float> sigmas;
  for (size_t i = 0; i < timesteps.size(); ++i) {
    noises.push_back(noise_of(x0.sizes().slice(1).vec(), batch.random[i]));
    sigmas.push_back(schedule_.sigmas.at(timesteps[i]));
  }
  const Tensor noise = torch::stack(noises).to(x0.device()), sigma = torch::tensor(sigmas).to(x0.device());
  const Tensor x = prediction_.noised(x0, noise, sigma) * per_picture(prediction_.input_scale(sigma), x0);
  return {x, prediction_.target(x0, noise, sigma), torch::tensor(std::vector<float>(timesteps.begin(), timesteps.end())).to(x0.device())};
}

DiffusionLoss::Value DiffusionLoss::operator()(const LossBatch& batch, const PredictNoise& predict) const {
  std::vector<int> timesteps;
  std::vector<float> weights;
  for (uint64_t random : batch.random) {
    timesteps.push_back(timestep_of(random));
    weights.push_back(static_cast<float>(weight_of(timesteps.back())));
  }
  const Noised question = noised(batch, timesteps);
  const Tensor difference = predict(question.x, question.timesteps).to(torch::kFloat) - question.target;
  Tensor rows =
      row_means(loss_of(difference, config_.loss, config_.huber_delta), batch.masks) * torch::tensor(weights).to(batch.latents.device());
  if (batch.weights.defined()) rows = rows * batch.weights.to(rows.device());
  return {rows.mean(), rows.detach()};
}

DiffusionLoss::Value DiffusionLoss::fixed(const LossBatch& batch, const std::vector<int>& timesteps, const PredictNoise& predict) const {
  const Noised question = noised(batch, timesteps);
  const Tensor difference = predict(question.x, question.timesteps).to(torch::kFloat) - question.target;
  const Tensor rows = row_means(difference * difference, batch.masks);
  return {rows.mean(), rows.detach()};
}

Tensor DiffusionLoss::noise_of(const Shape& latent, uint64_t random) const {
  Tensor noise = normal_tensor(latent, random_bits(random, "noise", 0));
  // Guttenberg 2023, "Diffusion with offset noise": without it the mean of a picture is hardly ever noised away, and never learnt.
  if (config_.noise_offset != 0)
    noise = noise + normal_tensor({latent[0], 1, 1}, random_bits(random, "noise offset", 0)) * config_.noise_offset;
  if (config_.multires_iterations > 0) noise = multires_noise(noise, config_.multires_iterations, config_.multires_discount, random);
  return noise;
}

int DiffusionLoss::timestep_of(uint64_t random) const {
  const int count = config_.timestep_most - config_.timestep_least + 1;
  return config_.timestep_least + static_cast<int>(below(random_bits(random, "timestep", 0), count));
}

double DiffusionLoss::weight_of(int timestep) const {
  const double sigma = schedule_.sigmas.at(timestep), snr = 1 / (sigma * sigma);
  const bool v = prediction_.name == "v";
  if (config_.min_snr_gamma > 0) return std::min(snr, config_.min_snr_gamma) / (v ? snr + 1 : snr);
  // kohya's limit, for the timesteps where next to nothing is noise
  constexpr double kSnrMost = 1000;
  if (config_.debiased) return v ? 1 / (std::min(snr, kSnrMost) + 1) : 1 / std::sqrt(std::min(snr, kSnrMost));
  return 1;
}

}  // namespace lorikeet
