#include "sampling/run_plan.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"

using namespace lorikeet;

namespace run_plan_test {
namespace {

const NoiseSchedule& trained() {
  static const NoiseSchedule noise = scaled_linear_schedule();
  return noise;
}
const Schedule& automatic() { return schedules().front(); }

}  // namespace

TEST(RunPlan, AutomaticIsTheSamplersOwnSchedule) {
  RunPlan plan = plan_run(find_sampler("dpmpp_2m"), automatic(), 20, range_of(trained()));
  EXPECT_EQ(plan.schedule, "karras");
  EXPECT_EQ(plan.sigmas, find_schedule("karras").sigmas(20, range_of(trained())));
  EXPECT_EQ(plan_run(find_sampler("euler"), automatic(), 20, range_of(trained())).schedule, "uniform");
}

TEST(RunPlan, DropsThePenultimateSigmaWhereA1111Does) {
  RunPlan plan = plan_run(find_sampler("dpm2"), find_schedule("karras"), 10, range_of(trained()));
  auto eleven = find_schedule("karras").sigmas(11, range_of(trained()));
  ASSERT_EQ(plan.sigmas.size(), 11u);
  EXPECT_EQ(plan.sigmas[9], eleven[9]);
  EXPECT_EQ(plan.sigmas[10], 0);
}

TEST(RunPlan, Img2ImgTakesTheLowerPart) {
  const Sampler& euler = find_sampler("euler");
  auto all = find_schedule("uniform").sigmas(20, range_of(trained()));
  auto steps = [&](double strength) {
    RunPlan plan = plan_img2img(euler, automatic(), 20, strength, range_of(trained()));
    EXPECT_EQ(plan.sigmas, std::vector<double>(all.end() - static_cast<std::ptrdiff_t>(plan.sigmas.size()), all.end()));
    EXPECT_EQ(plan.start_sigma, plan.sigmas.front());
    return plan.sigmas.size() - 1;
  };
  EXPECT_EQ(steps(0), 1u);
  EXPECT_EQ(steps(0.5), 11u);  // A1111: t_enc = 10, and t_enc + 1 steps
  EXPECT_EQ(steps(0.75), 16u);
  EXPECT_EQ(steps(1), 20u);  // min(1, 0.999) * 20 = 19
  EXPECT_THROW(steps(1.01), Error);
  EXPECT_THROW(steps(-0.1), Error);
  EXPECT_THROW(steps(NAN), Error);
  EXPECT_THROW(plan_run(euler, automatic(), 0, range_of(trained())), Error);
}

TEST(RunPlan, HiresMakesTheStepsThatItIsAskedFor) {
  for (int steps : {1, 7, 20}) {
    for (double strength : {0.1, 0.35, 0.7, 1.0}) {
      RunPlan plan = plan_hires(find_sampler("dpmpp_2m"), automatic(), steps, strength, range_of(trained()));
      EXPECT_EQ(plan.sigmas.size(), static_cast<size_t>(steps + 1)) << strength;
    }
  }
  EXPECT_THROW(plan_hires(find_sampler("euler"), automatic(), 20, 0, range_of(trained())), Error);
}

TEST(RunPlan, DdimVisitsA1111sTimestepsInUnitVariance) {
  const Sampler& ddim = find_sampler("ddim");
  RunPlan plan = plan_run(ddim, automatic(), 20, range_of(trained()));
  ASSERT_EQ(plan.sigmas.size(), 20u);  // timesteps 951, 901 … 1: 19 steps
  EXPECT_FLOAT_EQ(plan.sigmas.front(), trained().sigmas[951]);
  EXPECT_FLOAT_EQ(plan.sigmas.back(), trained().sigmas[1]);
  Tensor noise = torch::ones({1, 4, 2, 2});
  double first = plan.sigmas.front(), last = plan.sigmas.back();
  EXPECT_FLOAT_EQ(start(ddim, plan, noise)[0][0][0][0].item<float>(), std::sqrt(first * first + 1));
  EXPECT_FLOAT_EQ(finish(ddim, plan, noise)[0][0][0][0].item<float>(), 1 / std::sqrt(last * last + 1));
  EXPECT_FLOAT_EQ(start(find_sampler("euler"), plan, noise)[0][0][0][0].item<float>(), first);
}

TEST(RunPlan, DdimImg2ImgStartsOneTimestepAboveItsFirstStep) {
  // A1111: x = sqrt(a) init + sqrt(1 - a) noise at timesteps[t_enc] = 501, taken for a point of timesteps[t_enc - 1] = 451.
  const Sampler& ddim = find_sampler("ddim");
  RunPlan plan = plan_img2img(ddim, automatic(), 20, 0.5, range_of(trained()));
  EXPECT_FLOAT_EQ(plan.start_sigma, trained().sigmas[501]);
  EXPECT_FLOAT_EQ(plan.sigmas.front(), trained().sigmas[451]);
  double a = trained().alphas_cumprod[501], next = trained().sigmas[451];
  Tensor init = torch::full({1, 4, 2, 2}, 3.0), noise = torch::full({1, 4, 2, 2}, -2.0);
  double unit_variance = std::sqrt(a) * 3 - std::sqrt(1 - a) * 2;
  EXPECT_NEAR(start(ddim, plan, noise, init)[0][0][0][0].item<double>(), unit_variance * std::sqrt(next * next + 1), 1e-5);
}

TEST(RunPlan, SplitsOldSamplerNames) {
  auto split_name = [](const char* text) {
    auto [sampler, schedule] = find_sampler_and_schedule(text);
    return std::string(sampler->name) + " " + std::string(schedule->name);
  };
  EXPECT_EQ(split_name("DPM++ 2M Karras"), "dpmpp_2m automatic");  // Karras is its own
  EXPECT_EQ(split_name("Euler a Karras"), "euler_a karras");
  EXPECT_EQ(split_name("euler sgm uniform"), "euler sgm_uniform");
  EXPECT_EQ(split_name("DPM++ 2M SDE Heun Exponential"), "dpmpp_2m_sde_heun automatic");
  EXPECT_EQ(split_name("DDIM"), "ddim automatic");
  EXPECT_EQ(split_name(" dpm++ 2m "), "dpmpp_2m automatic");
  EXPECT_THROW(split_name("Karras"), Error);
  EXPECT_THROW(split_name("Eular Karras"), Error);
}

}  // namespace run_plan_test
