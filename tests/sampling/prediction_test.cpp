#include "sampling/prediction.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "sampling/guidance.h"

using namespace lorikeet;

TEST(Predictions, ToX0InvertsTarget) {
  torch::manual_seed(1);
  Tensor x0 = torch::randn({3, 4, 5, 6}, torch::kDouble), noise = torch::randn_like(x0);
  for (const Prediction& p : predictions()) {
    for (Tensor sigma : {torch::tensor({0.03, 1.0, 14.6}, torch::kDouble), torch::tensor(2.5, torch::kDouble),
                         torch::tensor({4518.0}, torch::kDouble)}) {
      Tensor x = p.noised(x0, noise, sigma), back = p.to_x0(x, p.target(x0, noise, sigma), sigma);
      EXPECT_LT((back - x0).abs().max().item<double>(), 1e-9) << p.name;
      EXPECT_LT((x - x0 - per_picture(sigma, x0) * noise).abs().max().item<double>(), 1e-12) << p.name;
    }
  }
}

TEST(Predictions, SeeAnInputOfTheVarianceThatTheyWereTrainedOn) {
  Tensor sigma = torch::tensor({0.5, 3.0}, torch::kDouble);
  Tensor vp = find_prediction("epsilon").input_scale(sigma), flow = find_prediction("flow").input_scale(sigma);
  EXPECT_TRUE(torch::allclose(vp, 1 / (sigma * sigma + 1).sqrt()));
  EXPECT_TRUE(torch::equal(vp, find_prediction("v").input_scale(sigma)));
  EXPECT_TRUE(torch::allclose(flow, 1 - sigma / (1 + sigma)));  // 1 - t
}

TEST(Predictions, VIsTheAngularVelocity) {
  // Salimans and Ho 2022, appendix D: v = alpha eps - sigma x0 with alpha² + sigma² = 1. At alpha = 0.6, sigma = 0.8: ours is 4/3.
  Tensor x0 = torch::full({1, 1, 1, 1}, 2.0, torch::kDouble), noise = torch::full_like(x0, 5.0);
  EXPECT_NEAR(find_prediction("v").target(x0, noise, torch::tensor(4.0 / 3, torch::kDouble)).item<double>(), 0.6 * 5 - 0.8 * 2, 1e-12);
}

TEST(Predictions, AreFoundUnderTheNamesInUse) {
  EXPECT_EQ(find_prediction("EPS").name, "epsilon");
  EXPECT_EQ(find_prediction("v_prediction").name, "v");
  EXPECT_THROW(find_prediction("x"), Error);
}

TEST(Guidance, IsTheWeightedSumOfTheDifferences) {
  Tensor uncond = torch::full({2, 1, 1, 2}, 1.0), cond = torch::tensor({2.0f, 3.0f, 5.0f}).view({3, 1, 1, 1}).expand({3, 1, 1, 2});
  std::vector<GuidedPart> parts = {{0, 1}, {1, 0.5}, {1, -2}};
  Tensor guided = guide(uncond, cond, parts, 7);
  EXPECT_FLOAT_EQ(guided[0][0][0][0].item<float>(), 1 + 7 * 1);
  EXPECT_FLOAT_EQ(guided[1][0][0][1].item<float>(), 1 + 7 * (0.5 * 2 - 2 * 4));
  EXPECT_FLOAT_EQ(uncond.sum().item<float>(), 4);  // untouched
}

TEST(Guidance, RescalingRestoresTheSpreadOfTheConditionalEstimate) {
  torch::manual_seed(2);
  Tensor cond = torch::randn({2, 4, 8, 8}), guided = cond * 3 + 0.5;
  Tensor rescaled = rescale_guidance(guided, cond, 1);
  EXPECT_TRUE(torch::allclose(rescaled.std({1, 2, 3}), cond.std({1, 2, 3}), 1e-5));
  EXPECT_TRUE(torch::allclose(rescale_guidance(guided, cond, 0.7), rescaled * 0.7 + guided * 0.3, 1e-5));
  EXPECT_TRUE(torch::equal(rescale_guidance(guided, cond, 0), guided));
}
