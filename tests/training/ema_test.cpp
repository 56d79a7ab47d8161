#include "training/ema.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"

using namespace lorikeet;

namespace {
std::vector<ParameterGroup> two_groups() {
  torch::manual_seed(3);
  return {{"a", {{"large", torch::randn({70001}).requires_grad_()}}, 1, 0},
          {"b", {{"small", torch::randn({2, 3}).requires_grad_()}}, 1, 0}};
}
void change(std::vector<ParameterGroup>& groups, int step) {
  torch::manual_seed(100 + step);
  for (ParameterGroup& group : groups) {
    for (NamedTensor& parameter : group.parameters) parameter.tensor.detach().add_(torch::randn_like(parameter.tensor));
  }
}
}  // namespace

TEST(Ema, IsTheAverageWithItsWarmUp) {
  auto groups = two_groups();
  Ema ema(groups, 0.25);
  torch::Tensor wanted = groups[1].parameters[0].tensor.detach().to(torch::kDouble).clone();
  for (int n = 0; n < 6; ++n) {
    change(groups, n);
    ema.update();
    const double decay = std::min(0.25, (1.0 + n) / (10.0 + n));  // 0.1, 0.18, 0.25, …
    wanted = decay * wanted + (1 - decay) * groups[1].parameters[0].tensor.detach().to(torch::kDouble);
  }
  EmaWeights weights(&ema);
  // 6 steps, each rounded to float32
  EXPECT_LT((groups[1].parameters[0].tensor.detach() - wanted).abs().max().item<double>(), 2e-6);
}

TEST(Ema, SwapsWithoutRounding) {
  auto groups = two_groups();
  Ema ema(groups, 0.999);
  change(groups, 1);
  ema.update();
  const Tensor before = groups[0].parameters[0].tensor.detach().clone();
  {
    EmaWeights weights(&ema);
    EXPECT_FALSE(torch::equal(groups[0].parameters[0].tensor, before));
    EXPECT_THROW(ema.update(), Error);
    EXPECT_THROW(ema.state(), Error);
  }
  EXPECT_TRUE(torch::equal(groups[0].parameters[0].tensor, before));
  EmaWeights nothing(nullptr);
}

TEST(Ema, GoesOnFromItsStateToTheBit) {
  auto groups = two_groups();
  Ema through(groups, 0.9), resumed(groups, 0.9);
  for (int n = 0; n < 3; ++n) {
    change(groups, n);
    through.update();
  }
  resumed.load_state(through.state());
  change(groups, 3);
  through.update();
  resumed.update();
  const auto a = through.state(), b = resumed.state();
  ASSERT_EQ(a.size(), 3u);
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(torch::equal(a[i].tensor, b[i].tensor)) << a[i].name;
}

TEST(Ema, RefusesADecayOutOfRangeAndTheStateOfAnotherRun) {
  auto groups = two_groups();
  for (double decay : {0.0, 1.0, -1.0, std::nan("")}) EXPECT_THROW(Ema(groups, decay), Error) << decay;
  Ema ema(groups, 0.9);
  auto state = ema.state();
  state.pop_back();
  EXPECT_THROW(ema.load_state(state), Error);
  state = ema.state();
  state.push_back({"average.more", torch::zeros({1})});
  EXPECT_THROW(ema.load_state(state), Error);
}
