// Noise schedules, schedules and the timesteps of diffusers against golden/sigmas.safetensors (k-diffusion 4601bf0, diffusers 0.27.2).
#include "sampling/schedules.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <set>

#include "base/error.h"
#include "io/tensor_file.h"
#include "sampling/beta_distribution.h"
#include "sampling/diffusers_timesteps.h"

using namespace lorikeet;

namespace {

const TensorFile& golden() {
  static auto file = TensorFile::open(LORIKEET_GOLDEN_DIR "/golden/sigmas.safetensors");
  return *file;
}

std::vector<double> values(const std::string& name) {
  Tensor t = golden().read(name).to(torch::kDouble).contiguous();
  return {t.data_ptr<double>(), t.data_ptr<double>() + t.numel()};
}

// Largest relative difference; sizes must agree.
double difference(const std::vector<double>& found, const std::vector<double>& wanted) {
  if (found.size() != wanted.size()) return 1e9;
  double worst = 0;
  for (size_t i = 0; i < found.size(); ++i) worst = std::max(worst, std::abs(found[i] - wanted[i]) / std::max(1e-3, std::abs(wanted[i])));
  return worst;
}

std::vector<double> widened(const std::vector<float>& v) { return {v.begin(), v.end()}; }

// The reference rounds each step of its formulas to float32 (6e-8), and exp and pow enlarge that by up to 10.
constexpr double kFloatTolerance = 2e-6;

}  // namespace

TEST(NoiseSchedule, IsTheTrainingTableOfStableDiffusion) {
  NoiseSchedule noise = scaled_linear_schedule();
  EXPECT_LT(difference(widened(noise.alphas_cumprod), values("train.alphas_cumprod")), kFloatTolerance);
  EXPECT_LT(difference(widened(noise.sigmas), values("train.sigmas")), kFloatTolerance);
  EXPECT_LT(difference(widened(noise.log_sigmas), values("train.log_sigmas")), kFloatTolerance);
}

TEST(NoiseSchedule, TurnsSigmasIntoTimestepsAsKDiffusionDoes) {
  NoiseSchedule noise = scaled_linear_schedule();
  auto sigmas = values("sigma_to_t.sigma"), timesteps = values("sigma_to_t.t");
  for (size_t i = 0; i < sigmas.size(); ++i) {
    // Neighbouring log sigmas differ by 0.006 near the top: float32's 2e-7 there is 4e-5 of a timestep.
    EXPECT_NEAR(noise.timestep(static_cast<float>(sigmas[i])), timesteps[i], 3e-4) << sigmas[i];
  }
}

TEST(NoiseSchedule, SigmaInvertsTimestepAndBothClamp) {
  NoiseSchedule noise = scaled_linear_schedule();
  for (float t : {0.0f, 0.25f, 17.0f, 500.5f, 998.9f, 999.0f}) EXPECT_NEAR(noise.timestep(noise.sigma(t)), t, 3e-4);
  EXPECT_EQ(noise.timestep(1000), 999);
  EXPECT_EQ(noise.timestep(1e-9f), 0);
  EXPECT_EQ(noise.sigma(-3), noise.sigma_min());
  EXPECT_EQ(noise.sigma(2000), noise.sigma_max());
}

TEST(NoiseSchedule, ZeroTerminalSnrKeepsTheFirstLevelAndEndsInPureNoise) {
  NoiseSchedule noise = scaled_linear_schedule(), rescaled = zero_terminal_snr(noise);
  EXPECT_NEAR(rescaled.alphas_cumprod.front(), noise.alphas_cumprod.front(), 1e-6);
  EXPECT_NEAR(rescaled.sigma_max(), 4518.77, 0.1);  // sqrt(1 / 4.8973e-8 - 1)
  // Lin et al. 2023, algorithm 1 in exact arithmetic at t = 500.
  double first = std::sqrt(noise.alphas_cumprod[0]), last = std::sqrt(noise.alphas_cumprod[999]);
  double root = (std::sqrt(noise.alphas_cumprod[500]) - last) * first / (first - last);
  EXPECT_NEAR(rescaled.alphas_cumprod[500], root * root, 1e-6);
}

TEST(NoiseSchedule, RefusesADamagedTable) {
  for (std::vector<float> bad : {std::vector<float>{}, {0.5f}, {0.9f, 0.95f}, {1.0f, 0.5f}, {0.9f, 0.0f}, {0.9f, NAN}}) {
    EXPECT_THROW(schedule_of_alphas_cumprod(bad), Error);
  }
}

TEST(Schedules, AreThoseOfKDiffusion) {
  NoiseSchedule noise = scaled_linear_schedule();
  ScheduleRange range = range_of(noise), old{noise, 0.1, 10};
  for (int n : {1, 2, 3, 5, 10, 11, 20, 30, 50}) {
    auto number = std::to_string(n);
    EXPECT_LT(difference(find_schedule("uniform").sigmas(n, range), values("normal." + number)), kFloatTolerance) << n;
    EXPECT_LT(difference(find_schedule("normal").sigmas(n, range), values("normal." + number)), kFloatTolerance) << n;
    EXPECT_LT(difference(find_schedule("karras").sigmas(n, range), values("karras." + number)), kFloatTolerance) << n;
    EXPECT_LT(difference(find_schedule("karras").sigmas(n, old), values("karras_old_0.1_10." + number)), kFloatTolerance) << n;
    EXPECT_LT(difference(find_schedule("exponential").sigmas(n, range), values("exponential." + number)), kFloatTolerance) << n;
    EXPECT_LT(difference(find_schedule("polyexponential").sigmas(n, range), values("polyexponential." + number)), kFloatTolerance) << n;
  }
}

// Over the list, so that a new schedule is tested by being in it.
TEST(Schedules, FallFromNoMoreThanTheTopToTheirEnd) {
  NoiseSchedule noise = scaled_linear_schedule();
  for (const Schedule& schedule : schedules()) {
    if (!schedule.sigmas) continue;
    for (bool sdxl : {false, true}) {
      for (int steps : {1, 2, 3, 4, 8, 11, 20, 30, 50}) {
        auto sigmas = schedule.sigmas(steps, range_of(noise, sdxl));
        ASSERT_GE(sigmas.size(), 2u) << schedule.name << steps;
        if (!schedule.name.starts_with("ddim") && !schedule.name.starts_with("unipc")) {
          EXPECT_EQ(sigmas.size(), static_cast<size_t>(steps + 1)) << schedule.name;
        }
        EXPECT_LE(sigmas.front(), 14.6151) << schedule.name;  // Align Your Steps writes 14.615 for the model's 14.6146
        for (size_t i = 1; i < sigmas.size(); ++i) EXPECT_LT(sigmas[i], sigmas[i - 1]) << schedule.name << ' ' << steps << ' ' << i;
        EXPECT_LE(sigmas.back(), 0.0414) << schedule.name;
      }
    }
  }
}

TEST(Schedules, HaveTheValuesThatTheirDefinitionsGive) {
  NoiseSchedule noise = scaled_linear_schedule();
  ScheduleRange range = range_of(noise), sdxl = range_of(noise, true);
  auto at = [&](const char* name, int steps, size_t i, const ScheduleRange& r) { return find_schedule(name).sigmas(steps, r).at(i); };
  EXPECT_FLOAT_EQ(at("sgm_uniform", 10, 1, range), noise.sigma(999 * 0.9f));
  EXPECT_FLOAT_EQ(at("simple", 10, 1, range), noise.sigmas[899]);
  EXPECT_FLOAT_EQ(at("simple", 7, 3, range), noise.sigmas[999 - 428]);  // int(3 * 1000 / 7) = 428
  EXPECT_FLOAT_EQ(at("ddim", 20, 0, range), noise.sigmas[951]);
  EXPECT_FLOAT_EQ(at("ddim", 20, 19, range), noise.sigmas[1]);
  EXPECT_EQ(find_schedule("ddim").sigmas(30, range).size(), 32u);  // 1000 // 30 = 33: one timestep more than asked, as in A1111
  EXPECT_FLOAT_EQ(at("turbo", 4, 1, range), noise.sigmas[749]);
  EXPECT_FLOAT_EQ(at("lcm", 4, 3, range), noise.sigmas[259]);
  EXPECT_FLOAT_EQ(at("align_your_steps", 11, 3, range), 2.697);
  EXPECT_FLOAT_EQ(at("align_your_steps", 11, 3, sdxl), 2.181);
  EXPECT_NEAR(at("align_your_steps", 21, 1, range), std::sqrt(14.615 * 6.475), 1e-5);
  EXPECT_NEAR(at("kl_optimal", 2, 1, range), std::tan((std::atan(range.sigma_min) + std::atan(range.sigma_max)) / 2), 1e-6);
  EXPECT_NEAR(at("kl_optimal", 10, 10, range), noise.sigma_min(), 1e-7);                // not 0
  EXPECT_NEAR(at("beta", 3, 1, range), (range.sigma_min + range.sigma_max) / 2, 1e-5);  // the median of a symmetric distribution
  EXPECT_NEAR(at("unipc_timesteps", 10, 10, range), noise.sigma_min(), 1e-6);
}

TEST(Schedules, AreFoundByNameAndLabelInAnyCase) {
  for (const Schedule& schedule : schedules()) {
    EXPECT_EQ(&find_schedule(schedule.name), &schedule);
    EXPECT_EQ(&find_schedule(schedule.label), &schedule);
  }
  EXPECT_EQ(find_schedule("sgm UNIFORM").name, "sgm_uniform");
  try {
    find_schedule("karas");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.hint().find("karras"), std::string::npos) << error.what();
  }
}

TEST(BetaDistribution, AgreesWithItsClosedForms) {
  using std::numbers::pi;
  for (double p : {1e-6, 0.01, 0.2, 0.5, 0.73, 0.99, 0.999999}) {
    EXPECT_NEAR(beta_quantile(p, 1, 1), p, 1e-14);
    EXPECT_NEAR(beta_quantile(p, 2, 1), std::sqrt(p), 1e-14);
    EXPECT_NEAR(beta_quantile(p, 1, 3), 1 - std::cbrt(1 - p), 1e-14);
    EXPECT_NEAR(beta_quantile(p, 0.5, 0.5), std::pow(std::sin(pi * p / 2), 2), 1e-14);   // the arcsine distribution
    EXPECT_NEAR(beta_cdf(beta_quantile(p, 0.6, 0.6), 0.6, 0.6), p, 1e-12);               // lgamma and the front factor lose a few digits
    EXPECT_NEAR(beta_quantile(p, 0.6, 0.6) + beta_quantile(1 - p, 0.6, 0.6), 1, 1e-12);  // symmetric
  }
  EXPECT_EQ(beta_quantile(0, 0.6, 0.6), 0);
  EXPECT_EQ(beta_quantile(1, 0.6, 0.6), 1);
  // I_0.5(2, 3) = 11/16 by expanding the polynomial.
  EXPECT_NEAR(beta_cdf(0.5, 2, 3), 11.0 / 16, 1e-15);
}

TEST(DiffusersTimesteps, AreThoseOfItsSchedulers) {
  NoiseSchedule noise = scaled_linear_schedule();
  struct Case {
    const char *golden, *scheduler, *spacing;
    int offset;
    bool karras;
  };
  const Case cases[] = {{"ddim.leading", "DDIMScheduler", "leading", 1, false},
                        {"ddim.trailing", "DDIMScheduler", "trailing", 0, false},
                        {"dpmpp2m.leading", "DPMSolverMultistepScheduler", "leading", 1, false},
                        {"dpmpp2m.leading.karras", "DPMSolverMultistepScheduler", "leading", 1, true},
                        {"euler.leading", "EulerDiscreteScheduler", "leading", 1, false},
                        {"euler.leading.karras", "EulerDiscreteScheduler", "leading", 1, true},
                        {"euler.linspace", "EulerDiscreteScheduler", "linspace", 0, false},
                        {"euler.linspace.karras", "EulerDiscreteScheduler", "linspace", 0, true},
                        {"euler.trailing", "EulerDiscreteScheduler", "trailing", 0, false},
                        {"euler.trailing.karras", "EulerDiscreteScheduler", "trailing", 0, true}};
  for (const Case& c : cases) {
    for (int steps : {1, 2, 10, 20, 50}) {
      DiffusersConfig config{c.scheduler, c.spacing, c.offset, c.karras};
      DiffusersRun run = plan_diffusers(config, steps, noise);
      std::string key = "diffusers_" + std::string(c.golden) + "." + std::to_string(steps);
      auto timesteps = values(key + ".timesteps");
      ASSERT_EQ(run.timesteps.size(), timesteps.size()) << key;
      // 3e-4: see TurnsSigmasIntoTimesteps; diffusers' table differs by float32 rounding (1e-7), which timesteps feel as that.
      for (size_t i = 0; i < timesteps.size(); ++i) EXPECT_NEAR(run.timesteps[i], timesteps[i], 1e-3) << key << ' ' << i;
      if (golden().contains(key + ".sigmas")) {
        // diffusers multiplies its 1000 alphas in float32; the others do so in float64.
        EXPECT_LT(difference(run.sigmas, values(key + ".sigmas")), 5e-6) << key;
      }
    }
  }
  for (int steps : {1, 2, 4, 8}) {
    auto wanted = values("diffusers_lcm." + std::to_string(steps) + ".timesteps");
    EXPECT_EQ(plan_diffusers({"LCMScheduler"}, steps, noise).timesteps, wanted);
  }
  EXPECT_THROW(plan_diffusers({"CogVideoXDDIMScheduler"}, 10, noise), Error);
  EXPECT_THROW(plan_diffusers({"DDIMScheduler", "sideways"}, 10, noise), Error);
  EXPECT_THROW(plan_diffusers({"DDIMScheduler"}, 0, noise), Error);
}
