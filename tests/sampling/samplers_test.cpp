// Contracts over the list of samplers, and the order of accuracy of each on an equation whose solution is known.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "base/error.h"
#include "sampling/noise.h"
#include "sampling/run_plan.h"

using namespace lorikeet;

namespace {

const NoiseSchedule& trained() {
  static const NoiseSchedule noise = scaled_linear_schedule();
  return noise;
}

PictureNoise noise_of(std::vector<uint64_t> seeds) { return PictureNoise({&find_random_source("cpu"), std::move(seeds)}, {4, 8, 8}); }

RunPlan plan_of(const Sampler& sampler, int steps) { return plan_run(sampler, schedules().front(), steps, range_of(trained())); }

Tensor sampled(const Sampler& sampler, const Denoise& denoise, int steps, std::vector<uint64_t> seeds) {
  PictureNoise noise = noise_of(std::move(seeds));
  RunPlan plan = plan_of(sampler, steps);
  Progress progress;
  Tensor x = start(sampler, plan, noise.next());
  return finish(sampler, plan, sampler.sample({denoise, plan.sigmas, noise, progress, sampler.default_eta}, x));
}

// Pictures that are noise of spread kSpread themselves: the best estimate is known, x0 = x s² / (s² + sigma²) …
constexpr double kSpread = 0.8;
Denoised gaussian(const Tensor& x, double sigma) {
  Tensor x0 = x * (kSpread * kSpread / (kSpread * kSpread + sigma * sigma));
  return {x0, x0};
}
// … and the solution of the ODE: x(next) = x(sigma) sqrt((s² + next²) / (s² + sigma²)).
double gaussian_solution(double sigma, double next) {
  return std::sqrt((kSpread * kSpread + next * next) / (kSpread * kSpread + sigma * sigma));
}

// A curved denoiser that mixes neither pictures nor pixels.
Denoised curved(const Tensor& x, double sigma) {
  Tensor x0 = (x / std::sqrt(sigma * sigma + 1)).tanh();
  return {x0, x0};
}

// The relative error at sigma 0.1 after `steps` steps from 10, in double precision. Multistep methods begin and end with lower orders:
// three tiny steps go before, so that the beginning doesn't count, and three steps after, so that the end doesn't.
double error_of(const Sampler& sampler, int steps, double eta) {
  double h = std::log(10 / 0.1) / steps;
  std::vector<double> sigmas;
  for (int i = 3; i > 0; --i) sigmas.push_back(10 * std::exp(i * h * h));
  for (int i = 0; i <= steps + 3; ++i) sigmas.push_back(10 * std::exp(-i * h));
  double goal = sigmas[static_cast<size_t>(steps) + 3];
  Tensor seen;  // what the model last saw at the goal
  Denoise denoise = [&](const Tensor& x, double sigma) {
    if (sigma == goal) seen = x;
    return gaussian(x, sigma);
  };
  PictureNoise noise = noise_of({1});
  Progress progress;
  sampler.sample({denoise, sigmas, noise, progress, eta}, torch::ones({1, 1, 1, 1}, torch::kDouble));
  double wanted = gaussian_solution(sigmas.front(), goal);
  return std::abs(seen.item<double>() - wanted) / wanted;
}

}  // namespace

TEST(Samplers, LandOnAConstantEstimate) {
  Tensor goal = torch::randn({2, 4, 8, 8});
  Denoise constant = [&](const Tensor&, double) { return Denoised{goal, goal}; };
  for (const Sampler& sampler : samplers()) {
    for (int steps : {1, 2, 3, 7, 20}) {
      // Those that end above 0 leave the noise of their last sigma: 0.041 at most (5 standard deviations), scaled by 1 / sqrt(1 + sigma²).
      double last = plan_of(sampler, steps).sigmas.back();
      bool stops_early = sampler.name == "dpm_fast" || last > 0;
      Tensor found = sampled(sampler, constant, steps, {1, 2});
      EXPECT_LT((found - goal).abs().max().item<double>(), stops_early ? 0.25 : 1e-4) << sampler.name << ' ' << steps;
    }
  }
}

TEST(Samplers, RepeatBySeedAndABatchEqualsItsPicturesAlone) {
  Denoise denoise = curved;
  for (const Sampler& sampler : samplers()) {
    Tensor both = sampled(sampler, denoise, 8, {11, 12});
    EXPECT_TRUE(torch::equal(both, sampled(sampler, denoise, 8, {11, 12}))) << sampler.name;
    // The same arithmetic in the same order, but vectorised over other lengths: equal up to rounding.
    EXPECT_TRUE(torch::allclose(both.slice(0, 1), sampled(sampler, denoise, 8, {12}), 1e-5, 1e-6)) << sampler.name;
    EXPECT_FALSE(torch::allclose(both[0], both[1], 1e-2, 1e-2)) << sampler.name;
  }
}

TEST(Samplers, StopWhenCancelled) {
  for (const Sampler& sampler : samplers()) {
    Progress progress;
    int calls = 0;
    Denoise denoise = [&](const Tensor& x, double sigma) {
      if (++calls == 3) progress.cancel();
      return curved(x, sigma);
    };
    PictureNoise noise = noise_of({1});
    RunPlan plan = plan_of(sampler, 10);
    try {
      sampler.sample({denoise, plan.sigmas, noise, progress, 1}, noise.next());
      ADD_FAILURE() << sampler.name << " went on";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::cancelled);
    }
    EXPECT_EQ(calls, 3) << sampler.name;
  }
}

TEST(Samplers, ReportEachStepAndNoMore) {
  struct Counting : Progress {
    std::vector<int> steps;
    int previews = 0;
    void step(int done) override { steps.push_back(done); }
    bool wants_preview() const override { return true; }
    void preview(const Tensor&) override { ++previews; }
  };
  for (const Sampler& sampler : samplers()) {
    Counting progress;
    int calls = 0;
    Denoise denoise = [&](const Tensor& x, double sigma) { return ++calls, curved(x, sigma); };
    PictureNoise noise = noise_of({1});
    RunPlan plan = plan_of(sampler, 24);
    sampler.sample({denoise, plan.sigmas, noise, progress, 1}, noise.next());
    int steps = static_cast<int>(plan.sigmas.size()) - 1;
    EXPECT_EQ(progress.steps.back(), steps) << sampler.name;
    EXPECT_TRUE(std::is_sorted(progress.steps.begin(), progress.steps.end()));
    EXPECT_EQ(progress.previews, static_cast<int>(progress.steps.size()));
    // PLMS calls twice in its first step only.
    if (sampler.second_order) {
      EXPECT_GE(calls, 2 * steps - 2) << sampler.name;
    } else {
      EXPECT_EQ(calls, steps + (sampler.name == "plms")) << sampler.name;
    }
  }
}

TEST(Samplers, ConvergeWithTheOrderOfTheirMethod) {
  // Halving the step divides the error by 2^order. PLMS' weights are for even steps of the timestep, which these are not, and UniPC
  // is seen before it corrects. DPM++ 3M SDE: see there. (DPM fast chooses its own sigmas: the next test.)
  const std::map<std::string_view, double> orders = {{"euler", 1},
                                                     {"euler_a", 1},
                                                     {"ddim", 1},
                                                     {"plms", 1},
                                                     {"heun", 2},
                                                     {"dpm2", 2},
                                                     {"dpm2_a", 2},
                                                     {"dpmpp_2s_a", 2},
                                                     {"dpmpp_2m", 2},
                                                     {"dpmpp_2m_sde", 2},
                                                     {"dpmpp_2m_sde_heun", 2},
                                                     {"dpmpp_sde", 2},
                                                     {"lms", 4},
                                                     {"dpmpp_3m_sde", 2},
                                                     {"unipc", 3},
                                                     {"unipc_bh2", 2}};
  for (auto [name, order] : orders) {
    const Sampler& sampler = find_sampler(name);
    double coarse = error_of(sampler, 64, 0), fine = error_of(sampler, 128, 0);
    EXPECT_GT(std::log2(coarse / fine), order - 0.35) << name << ": " << coarse << " -> " << fine;
    EXPECT_LT(fine, order == 1 ? 0.05 : 2e-3) << name;
  }
}

TEST(Samplers, DpmFastIsOfThirdOrder) {
  auto error = [](int steps) {
    std::vector<double> sigmas = {10};
    for (int i = 1; i < steps; ++i) sigmas.push_back(9);  // it only looks at the ends and the count
    sigmas.push_back(0.1);
    PictureNoise noise = noise_of({1});
    Progress progress;
    Denoise denoise = gaussian;
    Tensor x = find_sampler("dpm_fast").sample({denoise, sigmas, noise, progress, 0}, torch::ones({1, 1, 1, 1}, torch::kDouble));
    return std::abs(x.item<double>() / gaussian_solution(10, 0.1) - 1);
  };
  EXPECT_GT(std::log2(error(62) / error(125)), 2.5);  // 3 n + 2 calls: the last step is of second order
  EXPECT_LT(error(125), 1e-4);
}

TEST(Samplers, WithNoiseKeepTheSpreadOfThePictures) {
  // The stochastic ones must end in the same distribution: 20000 numbers of spread 0.8 (their spread is then right to 0.5 %),
  // and the error of 60 steps.
  Denoise denoise = gaussian;
  for (const char* name :
       {"euler_a", "ddpm", "dpm2_a", "dpmpp_2s_a", "dpmpp_sde", "dpmpp_2m_sde", "dpmpp_2m_sde_heun", "dpmpp_3m_sde", "restart"}) {
    const Sampler& sampler = find_sampler(name);
    PictureNoise noise({&find_random_source("cpu"), {5}}, {4, 100, 50});
    RunPlan plan = plan_run(sampler, find_schedule("karras"), 60, range_of(trained()));
    Progress progress;
    Tensor x = sampler.sample({denoise, plan.sigmas, noise, progress, 1}, start(sampler, plan, noise.next()));
    EXPECT_NEAR(x.std().item<double>(), kSpread, 0.05) << name;
  }
}

TEST(Samplers, OfOneFamilyAgreeWhereTheyMust) {
  Denoise denoise = curved;
  PictureNoise noise = noise_of({4});
  Progress progress;
  Tensor begin = noise.next() * 14.6;
  std::vector<double> sigmas = find_schedule("karras").sigmas(12, range_of(trained()));
  auto run = [&](const char* name, double eta) { return find_sampler(name).sample({denoise, sigmas, noise, progress, eta}, begin); };
  EXPECT_TRUE(torch::allclose(run("euler", 0), run("euler_a", 0), 1e-5, 1e-6));
  EXPECT_TRUE(torch::allclose(run("euler", 0), run("ddim", 0), 1e-5, 1e-6));
  EXPECT_TRUE(torch::allclose(run("dpmpp_2m", 0), run("dpmpp_2m_sde", 0), 1e-4, 1e-5));
  EXPECT_TRUE(torch::allclose(run("dpm2", 0), run("dpm2_a", 0), 1e-5, 1e-6));
  EXPECT_TRUE(torch::allclose(run("dpmpp_2s_a", 0), run("dpmpp_sde", 0), 1e-5, 1e-6));
}

TEST(Samplers, ChurnRaisesTheNoiseAndStillKeepsTheSpreadOfThePictures) {
  for (const char* name : {"euler", "heun", "dpm2"}) {
    const Sampler& sampler = find_sampler(name);
    const auto run_with = [&](double amount, double tmin) {
      PictureNoise noise = noise_of({1, 2, 3, 4, 5, 6, 7, 8});
      RunPlan plan = plan_of(sampler, 200);
      Progress progress;
      Tensor x = start(sampler, plan, noise.next());
      return sampler.sample({gaussian, plan.sigmas, noise, progress, 0, {amount, tmin}}, x);
    };
    const Tensor calm = run_with(0, 0), churned = run_with(20, 0);
    EXPECT_GT((calm - churned).abs().mean().item<double>(), 0.1) << name;
    EXPECT_TRUE(torch::equal(calm, run_with(20, 1e6))) << name;  // no sigma is above tmin
    // 2048 numbers: the spread of a sample is known to about 1.6 %; Euler's method loses a few per cent of it in 200 steps.
    EXPECT_NEAR(churned.std().item<double>() / kSpread, 1, 0.08) << name;
  }
}

TEST(Samplers, AreFoundByTheirNames) {
  for (const Sampler& sampler : samplers()) {
    EXPECT_EQ(&find_sampler(sampler.name), &sampler);
    EXPECT_EQ(&find_sampler(sampler.label), &sampler);
    EXPECT_NE(find_schedule(sampler.schedule).sigmas, nullptr) << sampler.name;
  }
  EXPECT_EQ(find_sampler("k_dpmpp_2m").name, "dpmpp_2m");
  EXPECT_EQ(find_sampler("K_EULER_A").name, "euler_a");
  EXPECT_THROW(find_sampler(""), Error);
  try {
    find_sampler("eular");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.hint().find("euler"), std::string::npos) << error.what();
  }
}
