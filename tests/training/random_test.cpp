#include "training/random.h"

#include <gtest/gtest.h>

namespace lorikeet {
namespace {

TEST(Random, EveryBitOfASeedGivesAnotherTensor) {
  const Tensor normal = normal_tensor({64}, 5), uniform = uniform_tensor({64}, 5);
  EXPECT_TRUE(torch::equal(normal_tensor({64}, 5), normal));
  EXPECT_TRUE(torch::equal(uniform_tensor({64}, 5), uniform));
  for (int bit = 0; bit < 64; ++bit) {
    const uint64_t other = 5 ^ (uint64_t{1} << bit);
    EXPECT_FALSE(torch::equal(normal_tensor({64}, other), normal)) << bit;
    EXPECT_FALSE(torch::equal(uniform_tensor({64}, other), uniform)) << bit;
  }
}

TEST(Random, TensorsAreNormalAndUniformAndDoNotHangTogether) {
  constexpr int64_t kCount = 100000;  // five deviations of a mean: 0.016
  const Tensor one = normal_tensor({kCount}, 1), next = normal_tensor({kCount}, 2), far = normal_tensor({kCount}, uint64_t{1} << 33);
  for (const Tensor& values : {one, next, far}) {
    EXPECT_NEAR(values.mean().item<double>(), 0, 0.016);
    EXPECT_NEAR(values.std().item<double>(), 1, 0.012);  // of a deviation: 1 / √(2n)
  }
  EXPECT_NEAR((one * next).mean().item<double>(), 0, 0.016);
  EXPECT_NEAR((one * far).mean().item<double>(), 0, 0.016);
  EXPECT_NEAR((one.slice(0, 1) * one.slice(0, 0, -1)).mean().item<double>(), 0, 0.016);
  const Tensor uniform = uniform_tensor({kCount}, 1);
  EXPECT_NEAR(uniform.mean().item<double>(), 0.5, 0.0046);
  EXPECT_GE(uniform.min().item<double>(), 0);
  EXPECT_LT(uniform.max().item<double>(), 1);
}

}  // namespace
}  // namespace lorikeet
