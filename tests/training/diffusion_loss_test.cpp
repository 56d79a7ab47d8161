#include "training/diffusion_loss.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"

using namespace lorikeet;

namespace {

const Shape kLatent = {4, 8, 6};

LossBatch batch_of(std::vector<uint64_t> random) {
  torch::manual_seed(5);
  const auto rows = static_cast<int64_t>(random.size());
  LossBatch batch;
  batch.latents = torch::randn({rows, 4, 8, 6});
  batch.weights = torch::ones({rows});
  batch.random = std::move(random);
  return batch;
}

// A network with one weight; each row's answer depends on that row only.
struct TinyNetwork {
  Tensor weight = torch::full({1}, 0.5f).requires_grad_();
  PredictNoise predict() const {
    return [this](const Tensor& x, const Tensor& timesteps) { return x * weight + per_picture(timesteps, x) / 1000; };
  }
};

double alpha_bar(int timestep) { return scaled_linear_schedule().alphas_cumprod.at(timestep); }

// The answer that the textbooks ask for, from alpha bar (Ho et al. 2020, eq. 4 and 14; Salimans & Ho 2022, appendix D).
Tensor textbook_target(std::string_view prediction, const Tensor& x0, const Tensor& noise, double alpha_bar) {
  if (prediction == "epsilon") return noise;
  if (prediction == "v") return std::sqrt(alpha_bar) * noise - std::sqrt(1 - alpha_bar) * x0;
  return noise - x0;  // flow
}

}  // namespace

TEST(DiffusionLoss, IsZeroForANetworkThatAnswersTheTarget) {
  const LossBatch batch = batch_of({1, 2, 3});
  for (const Prediction& prediction : predictions()) {
    const DiffusionLoss loss({}, scaled_linear_schedule(), prediction);
    auto oracle = [&](const Tensor& x, const Tensor& timesteps) {
      std::vector<Tensor> answers;
      for (int64_t i = 0; i < 3; ++i) {
        const int t = loss.timestep_of(batch.random[i]);
        EXPECT_EQ(timesteps[i].item<float>(), static_cast<float>(t));
        answers.push_back(textbook_target(prediction.name, batch.latents[i], loss.noise_of(kLatent, batch.random[i]), alpha_bar(t)));
      }
      return torch::stack(answers);
    };
    const auto value = loss(batch, oracle);
    // Squares of float32's rounding
    EXPECT_LT(value.mean.item<double>(), 1e-11) << prediction.name;
    EXPECT_EQ(value.rows.sizes(), Shape({3}));
    EXPECT_LT(loss.fixed(batch, {loss.timestep_of(1), loss.timestep_of(2), loss.timestep_of(3)}, oracle).mean.item<double>(), 1e-11);
    EXPECT_GT(loss(batch, TinyNetwork().predict()).mean.item<double>(), 0.1) << prediction.name;
  }
}

TEST(DiffusionLoss, ShowsTheNetworkALatentAsNoisyAsTheTimestepSays) {
  const LossBatch batch = batch_of({7, 8});
  const DiffusionLoss loss({}, scaled_linear_schedule(), find_prediction("epsilon"));
  loss(batch, [&](const Tensor& x, const Tensor&) {
    for (int64_t i = 0; i < 2; ++i) {
      const double a = alpha_bar(loss.timestep_of(batch.random[i]));
      const Tensor wanted = std::sqrt(a) * batch.latents[i] + std::sqrt(1 - a) * loss.noise_of(kLatent, batch.random[i]);
      EXPECT_LT((x[i] - wanted).abs().max().item<double>(), 2e-6);  // float32, values up to 4
    }
    return x;
  });
}

TEST(DiffusionLoss, IsTheMeanSquaredErrorAndHasItsGradient) {
  LossBatch batch = batch_of({11, 12});
  batch.weights = torch::tensor({1.0f, 0.25f});
  const DiffusionLoss loss({}, scaled_linear_schedule(), find_prediction("epsilon"));
  TinyNetwork network;
  const auto value = loss(batch, network.predict());
  EXPECT_FALSE(value.rows.requires_grad());
  value.mean.backward();
  double wanted = 0, gradient = 0;
  for (int64_t i = 0; i < 2; ++i) {
    const int t = loss.timestep_of(batch.random[i]);
    const double a = alpha_bar(t), weight = i == 0 ? 1 : 0.25;
    const Tensor noise = loss.noise_of(kLatent, batch.random[i]).to(torch::kDouble);
    const Tensor x = std::sqrt(a) * batch.latents[i].to(torch::kDouble) + std::sqrt(1 - a) * noise;
    const Tensor error = 0.5 * x + t / 1000.0 - noise;
    const double row = weight * (error * error).mean().item<double>();
    EXPECT_NEAR(value.rows[i].item<double>(), row, row * 1e-5);
    wanted += row / 2;
    gradient += weight * (2 * error * x).mean().item<double>() / 2;
  }
  EXPECT_NEAR(value.mean.item<double>(), wanted, wanted * 1e-5);
  EXPECT_NEAR(network.weight.grad().item<double>(), gradient, std::abs(gradient) * 1e-4);
}

TEST(DiffusionLoss, OfARowDoesNotDependOnTheOthers) {
  TrainConfig config;
  config.noise_offset = 0.1;
  config.multires_iterations = 4;
  config.min_snr_gamma = 5;
  const DiffusionLoss loss(config, scaled_linear_schedule(), find_prediction("v"));
  const LossBatch all = batch_of({21, 22, 23, 24});
  const TinyNetwork network;
  const Tensor rows = loss(all, network.predict()).rows;
  for (int64_t i = 0; i < 4; ++i) {
    LossBatch one = batch_of({all.random[i]});
    one.latents = all.latents.slice(0, i, i + 1);
    EXPECT_TRUE(torch::equal(loss(one, network.predict()).rows[0], rows[i])) << i;
  }
}

TEST(DiffusionLoss, DrawsTimestepsAlikeWithinTheirRange) {
  TrainConfig config;
  config.timestep_least = 200;
  config.timestep_most = 209;
  const DiffusionLoss loss(config, scaled_linear_schedule(), find_prediction("epsilon"));
  std::vector<int> seen(10);
  for (uint64_t random = 0; random < 10000; ++random) {
    const int t = loss.timestep_of(random);
    ASSERT_GE(t, 200);
    ASSERT_LE(t, 209);
    ++seen[t - 200];
  }
  for (int count : seen) EXPECT_NEAR(count, 1000, 150);  // five standard deviations; always the same draws
}

TEST(DiffusionLoss, DrawsOtherNoiseForOtherDraws) {
  const DiffusionLoss loss({}, scaled_linear_schedule(), find_prediction("epsilon"));
  const Tensor noise = loss.noise_of({4, 64, 64}, 1);
  EXPECT_TRUE(torch::equal(noise, loss.noise_of({4, 64, 64}, 1)));
  EXPECT_FALSE(torch::equal(noise, loss.noise_of({4, 64, 64}, 2)));
  EXPECT_NEAR(noise.mean().item<double>(), 0, 0.04);  // 5 / sqrt(16384)
  EXPECT_NEAR(noise.std().item<double>(), 1, 0.03);
}

TEST(DiffusionLoss, NoiseOffsetMovesWholeChannels) {
  TrainConfig config;
  config.noise_offset = 0.5;
  const DiffusionLoss plain({}, scaled_linear_schedule(), find_prediction("epsilon")),
      offset(config, scaled_linear_schedule(), find_prediction("epsilon"));
  double squares = 0;
  for (uint64_t random = 0; random < 200; ++random) {
    const Tensor moved = offset.noise_of(kLatent, random) - plain.noise_of(kLatent, random);
    EXPECT_LT((moved - moved.mean({1, 2}, true)).abs().max().item<double>(), 1e-6);
    squares += moved.select(1, 0).select(1, 0).square().sum().item<double>();
  }
  EXPECT_NEAR(std::sqrt(squares / 800), 0.5, 0.06);  // of 800 draws: five standard deviations are 0.0625
}

TEST(DiffusionLoss, MultiresNoiseIsSmootherAndOfUnitDeviation) {
  TrainConfig config;
  config.multires_iterations = 6;
  config.multires_discount = 0.5;
  const DiffusionLoss plain({}, scaled_linear_schedule(), find_prediction("epsilon")),
      multires(config, scaled_linear_schedule(), find_prediction("epsilon"));
  auto roughness = [](const Tensor& noise) { return (noise.slice(2, 1) - noise.slice(2, 0, -1)).square().mean().item<double>(); };
  for (uint64_t random = 0; random < 5; ++random) {
    const Tensor noise = multires.noise_of({4, 64, 64}, random);
    EXPECT_EQ(noise.sizes(), Shape({4, 64, 64}));
    EXPECT_NEAR(noise.std().item<double>(), 1, 1e-5);
    EXPECT_LT(roughness(noise), 0.97 * roughness(plain.noise_of({4, 64, 64}, random)));
  }
  // Latents of one pixel have no coarser level.
  EXPECT_EQ(multires.noise_of({4, 1, 1}, 1).sizes(), Shape({4, 1, 1}));
}

TEST(DiffusionLoss, WeightsAsThePapersSay) {
  const NoiseSchedule schedule = scaled_linear_schedule();
  TrainConfig min_snr, debiased;
  min_snr.min_snr_gamma = 5;
  debiased.debiased = true;
  const Prediction &epsilon = find_prediction("epsilon"), &v = find_prediction("v");
  for (int t : {0, 1, 50, 300, 700, 999}) {
    const double snr = alpha_bar(t) / (1 - alpha_bar(t)), close = 1e-5;
    auto near = [&](const TrainConfig& config, const Prediction& prediction, double wanted) {
      EXPECT_NEAR(DiffusionLoss(config, schedule, prediction).weight_of(t), wanted, wanted * close) << prediction.name << " at " << t;
    };
    near({}, epsilon, 1);
    near(min_snr, epsilon, std::min(snr, 5.0) / snr);
    near(min_snr, v, std::min(snr, 5.0) / (snr + 1));
    near(debiased, epsilon, 1 / std::sqrt(std::min(snr, 1000.0)));
    near(debiased, v, 1 / (std::min(snr, 1000.0) + 1));
  }
  // And they are what the rows are multiplied with.
  const LossBatch batch = batch_of({31, 32});
  const DiffusionLoss plain({}, schedule, epsilon), weighted(min_snr, schedule, epsilon);
  const Tensor rows = plain(batch, TinyNetwork().predict()).rows, times = weighted(batch, TinyNetwork().predict()).rows;
  for (int64_t i = 0; i < 2; ++i) {
    const double wanted = rows[i].item<double>() * weighted.weight_of(weighted.timestep_of(batch.random[i]));
    EXPECT_NEAR(times[i].item<double>(), wanted, wanted * 1e-6);
  }
}

TEST(DiffusionLoss, HuberIsASquareNearZeroAndALineFarAway) {
  TrainConfig huber, smooth;
  huber.loss = LossKind::huber;
  smooth.loss = LossKind::smooth_l1;
  huber.huber_delta = smooth.huber_delta = 0.1;
  LossBatch batch = batch_of({41});
  const DiffusionLoss h(huber, scaled_linear_schedule(), find_prediction("epsilon")),
      s(smooth, scaled_linear_schedule(), find_prediction("epsilon"));
  for (double error : {1e-3, 0.1, 20.0}) {
    auto off_by = [&](const Tensor&, const Tensor&) { return h.noise_of(kLatent, 41).unsqueeze(0) + error; };
    const double root = std::sqrt(error * error + 0.01) - 0.1;
    // float32 knows the small root of a sum to 1e-3 only
    EXPECT_NEAR(h(batch, off_by).mean.item<double>(), 0.2 * root, 0.2 * root * 5e-3);
    EXPECT_NEAR(s(batch, off_by).mean.item<double>(), 2 * root, 2 * root * 5e-3);
  }
}

TEST(DiffusionLoss, IsTheMeanOverTheMaskedArea) {
  LossBatch batch = batch_of({51, 52});
  batch.masks = torch::zeros({2, 1, 8, 6});
  batch.masks[0].slice(1, 0, 4).fill_(0.5);
  const DiffusionLoss loss({}, scaled_linear_schedule(), find_prediction("epsilon"));
  // 1 off in the upper half, 3 off in the lower one
  auto predict = [&](const Tensor& x, const Tensor&) {
    Tensor answer = torch::stack({loss.noise_of(kLatent, 51), loss.noise_of(kLatent, 52)}) + 3;
    answer.slice(2, 0, 4) -= 2;
    return answer;
  };
  const auto value = loss(batch, predict);
  EXPECT_NEAR(value.rows[0].item<double>(), 1, 1e-5);
  EXPECT_EQ(value.rows[1].item<double>(), 0);  // nothing is in the mask
  EXPECT_NEAR(value.mean.item<double>(), 0.5, 1e-5);
}

TEST(DiffusionLoss, FixedKnowsNeitherWeightsNorTheKindOfLoss) {
  TrainConfig config;
  config.min_snr_gamma = 5;
  config.loss = LossKind::huber;
  LossBatch batch = batch_of({61, 62});
  const DiffusionLoss odd(config, scaled_linear_schedule(), find_prediction("epsilon")),
      plain({}, scaled_linear_schedule(), find_prediction("epsilon"));
  const TinyNetwork network;
  const Tensor wanted = plain.fixed(batch, {100, 900}, network.predict()).rows;
  batch.weights = torch::tensor({0.1f, 7.0f});
  EXPECT_TRUE(torch::equal(odd.fixed(batch, {100, 900}, network.predict()).rows, wanted));
  EXPECT_FALSE(torch::equal(odd.fixed(batch, {101, 900}, network.predict()).rows, wanted));
}

TEST(DiffusionLoss, ZeroTerminalSnrReachesPureNoise) {
  TrainConfig config;
  config.zero_terminal_snr = true;
  const DiffusionLoss loss(config, scaled_linear_schedule(), find_prediction("v"));
  const LossBatch batch = batch_of({71});
  loss.fixed(batch, {999}, [&](const Tensor& x, const Tensor&) {
    // sqrt(4.9e-8) of the latent is left: A1111's value instead of 0
    EXPECT_LT((x[0] - loss.noise_of(kLatent, 71)).abs().max().item<double>(), 2e-3);
    return x;
  });
}

TEST(DiffusionLoss, RefusesSettingsThatCannotBe) {
  auto refused = [](auto change, const char* prediction) {
    TrainConfig config;
    change(config);
    try {
      DiffusionLoss(config, scaled_linear_schedule(), find_prediction(prediction));
      return false;
    } catch (const Error& error) {
      return error.kind() == ErrorKind::bad_input;
    }
  };
  EXPECT_TRUE(refused([](TrainConfig& c) { c.zero_terminal_snr = true; }, "epsilon"));
  EXPECT_FALSE(refused([](TrainConfig& c) { c.zero_terminal_snr = true; }, "v"));
  EXPECT_TRUE(refused([](TrainConfig& c) { c.timestep_least = 500, c.timestep_most = 400; }, "epsilon"));
  EXPECT_TRUE(refused([](TrainConfig& c) { c.timestep_most = 1000; }, "epsilon"));
  EXPECT_TRUE(refused([](TrainConfig& c) { c.min_snr_gamma = 5, c.debiased = true; }, "epsilon"));
  EXPECT_TRUE(refused([](TrainConfig& c) { c.min_snr_gamma = -1; }, "epsilon"));
  EXPECT_TRUE(refused([](TrainConfig& c) { c.debiased = true; }, "flow"));
  EXPECT_TRUE(refused([](TrainConfig& c) { c.loss = LossKind::huber, c.huber_delta = 0; }, "epsilon"));
}
