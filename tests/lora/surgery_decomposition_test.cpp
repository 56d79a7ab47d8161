// Singular values and ranks, against libtorch's full SVD in float64 and kohya's formulas written down again.
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "lora/models.h"
#include "lora/surgery/decomposition.h"
#include "lora/surgery/ranks.h"

namespace lorikeet {
namespace {

using testing::relative_error;

LowRank random_factors(int64_t rows, int64_t rank, int64_t columns, double scale = 1) {
  // Falling strengths, as trained files have them.
  const Tensor strengths = torch::exp(-0.3 * torch::arange(rank, torch::kFloat));
  return {torch::randn({rows, rank}) * strengths, torch::randn({rank, columns}), scale};
}

Tensor product(const LowRank& factors) {
  return factors.scale * torch::matmul(factors.up.to(torch::kDouble), factors.down.to(torch::kDouble));
}

std::vector<double> full_svd(const Tensor& matrix) {
  const Tensor values = torch::linalg_svdvals(matrix.to(torch::kDouble)).contiguous();
  return {values.data_ptr<double>(), values.data_ptr<double>() + values.numel()};
}

// The share of the squares behind the first `rank`.
double tail(const std::vector<double>& values, int64_t rank) {
  double all = 0, rest = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    all += values[i] * values[i];
    if (i >= static_cast<size_t>(rank)) rest += values[i] * values[i];
  }
  return std::sqrt(rest / all);
}

TEST(Decomposition, OfFactorsHasTheSingularValuesOfTheirProduct) {
  torch::manual_seed(1);
  for (const auto& [rows, rank, columns] : {std::array<int64_t, 3>{40, 8, 60}, {60, 8, 40}, {20, 24, 30}, {1, 1, 7}, {12, 12, 12}}) {
    const LowRank factors = random_factors(rows, rank, columns, 0.37);
    const auto wanted = full_svd(product(factors));
    const Decomposition parts = Decomposition::of(factors);
    ASSERT_LE(parts.values().size(), wanted.size());
    EXPECT_EQ(parts.length(), std::min(rows, columns));
    for (size_t i = 0; i < wanted.size(); ++i)  // float32 factors: 1e-6 of the largest
      EXPECT_NEAR(i < parts.values().size() ? parts.values()[i] : 0, wanted[i], 1e-6 * wanted[0]) << rows << " " << i;
    EXPECT_NEAR(parts.norm(), product(factors).norm().item<double>(), 1e-6 * parts.norm());
  }
}

TEST(Decomposition, AnApproximationIsWrongByTheTailOfTheSingularValues) {
  torch::manual_seed(2);
  for (const bool whole : {false, true}) {
    const LowRank factors = random_factors(30, 12, 50, -1.5);  // a negative scale too
    const Tensor wanted = product(factors);
    const Decomposition parts = whole ? Decomposition::exact(wanted.to(torch::kFloat)) : Decomposition::of(factors);
    const auto values = full_svd(wanted);
    for (const int64_t rank : {1, 3, 11, 12}) {
      const double error = ((product(parts.truncated(rank)) - wanted).norm() / wanted.norm()).item<double>();
      EXPECT_NEAR(error, tail(values, rank), 2e-6) << rank;  // float32's rounding of the factors
      EXPECT_NEAR(parts.error(rank), tail(values, rank), 2e-6) << rank;
    }
  }
}

TEST(Decomposition, ZeroFactorsAndLostRanksAreNoTrouble) {
  torch::manual_seed(3);
  LowRank factors = random_factors(20, 6, 30);
  factors.up.select(1, 2).zero_();
  factors.down.select(0, 4).copy_(factors.down.select(0, 1));
  const Decomposition parts = Decomposition::of(factors);
  EXPECT_LT(relative_error(product(parts.truncated(6)), product(factors)), 1e-6);
  factors.up.zero_();
  const Decomposition nothing = Decomposition::of(factors);
  EXPECT_EQ(nothing.norm(), 0);
  EXPECT_EQ(nothing.error(1), 0);
  EXPECT_EQ(product(nothing.truncated(2)).abs().max().item<double>(), 0);
}

TEST(Decomposition, TheLeadingValuesAreNearTheBestAndTheirErrorIsTrue) {
  torch::manual_seed(4);
  for (const bool wide : {false, true}) {
    // The singular values of noise hardly fall: the hard case.
    const Tensor noise = torch::randn({150, 300}) + 5 * torch::matmul(torch::randn({150, 4}), torch::randn({4, 300}));
    const Tensor matrix = wide ? noise : noise.t().contiguous();
    const Decomposition parts = Decomposition::leading(matrix, 10, 7);
    EXPECT_FALSE(parts.complete());
    const auto values = full_svd(matrix);
    const LowRank kept = parts.truncated(10);
    const double error = ((product(kept) - matrix).norm() / matrix.norm()).item<double>();
    EXPECT_NEAR(parts.error(10), error, 1e-5);
    EXPECT_LT(error, 1.01 * tail(values, 10));  // what the header promises
    EXPECT_NEAR(parts.norm(), matrix.norm().item<double>(), 1e-5 * parts.norm());
    EXPECT_TRUE(torch::equal(kept.up, Decomposition::leading(matrix, 10, 7).truncated(10).up));
  }
}

// networks/resize_lora.py of kohya's sd-scripts, from its own words: S is the full SVD of up · down.
int64_t kohya_rank(const Tensor& s, const std::string& method, double parameter, int64_t cap) {
  if (s[0].item<float>() <= 1e-6) return 1;
  int64_t index = 0;
  if (method == "sv_ratio") {
    index = (s > s[0] / parameter).sum().item<int64_t>();
  } else if (method == "sv_cumulative") {
    index = torch::searchsorted(torch::cumsum(s, 0) / s.sum(), torch::tensor(parameter, s.dtype())).item<int64_t>() + 1;
  } else if (method == "sv_fro") {
    const Tensor squares = s.pow(2);
    index =
        torch::searchsorted(torch::cumsum(squares, 0) / squares.sum(), torch::tensor(parameter * parameter, s.dtype())).item<int64_t>() + 1;
  } else {
    return cap;
  }
  index = std::max<int64_t>(1, std::min(index, s.size(0) - 1));
  return std::min(index + 1, cap);
}

TEST(Ranks, LikeKohyaAreKohyas) {
  torch::manual_seed(5);
  int compared = 0;
  for (int round = 0; round < 6; ++round) {
    LowRank factors = random_factors(24 + 8 * round, 4 + 5 * round, 60 - 8 * round, 0.5);
    if (round == 5) factors.up.zero_();
    const Tensor s = torch::linalg_svdvals(torch::matmul(factors.up, factors.down));
    const Decomposition parts = Decomposition::of(factors);
    for (const auto& [rule, parameter] : {std::pair<std::string, double>{"", 0},
                                          {"sv_ratio", 2},
                                          {"sv_ratio", 20},
                                          {"sv_cumulative", 0.5},
                                          {"sv_cumulative", 0.93},
                                          {"sv_fro", 0.7},
                                          {"sv_fro", 0.97}})
      for (const int64_t cap : {3, 16}) {
        RankOptions options{cap, 0, rule, parameter};
        options.like_kohya = true;
        EXPECT_EQ(choose_rank(options, "unet.x", false, parts), kohya_rank(s, rule, parameter, cap))
            << round << rule << parameter << " " << cap;
        ++compared;
      }
  }
  EXPECT_EQ(compared, 84);
}

TEST(Ranks, EachRuleKeepsWhatItSaysAndNoMore) {
  torch::manual_seed(6);
  const LowRank factors = random_factors(30, 10, 40);
  const Decomposition parts = Decomposition::of(factors);
  const auto& values = parts.values();
  const auto rank = [&](const std::string& rule, double parameter, int64_t most = 0) {
    return choose_rank({most, 0, rule, parameter}, "unet.x", false, parts);
  };
  double sum = 0;
  for (const double value : values) sum += value;
  const int64_t fro = rank("sv_fro", 0.95);
  EXPECT_LE(parts.error(fro), std::sqrt(1 - 0.95 * 0.95));
  EXPECT_GT(parts.error(fro - 1), std::sqrt(1 - 0.95 * 0.95));
  const int64_t cumulative = rank("sv_cumulative", 0.8);
  double kept = 0;
  for (int64_t i = 0; i < cumulative; ++i) kept += values[static_cast<size_t>(i)];
  EXPECT_GE(kept, 0.8 * sum);
  EXPECT_LT(kept - values[static_cast<size_t>(cumulative - 1)], 0.8 * sum);
  EXPECT_EQ(rank("quantile", 0.8), cumulative - 1);  // LyCORIS counts the sums below the share
  EXPECT_EQ(rank("sv_ratio", values[0] / values[3] * 1.0001), 4);
  EXPECT_EQ(rank("threshold", values[5] * 0.9999), 6);
  EXPECT_EQ(rank("sv_fro", 1, 3), 3);
  EXPECT_EQ(rank("threshold", 1e9), 1);
}

TEST(Ranks, LimitsGoByBlockAndConvolution) {
  RankOptions options{32, 8, "", 0, {{"OUT", 4}, {"OUT03", 6}, {"TE", 2}}};
  EXPECT_EQ(most_ranks(options, "unet.down_blocks.0.attentions.0.proj_in", false, 100), 32);
  EXPECT_EQ(most_ranks(options, "unet.down_blocks.0.resnets.0.conv1", true, 100), 8);
  EXPECT_EQ(most_ranks(options, "unet.up_blocks.1.attentions.0.proj_in", false, 100), 6);
  EXPECT_EQ(most_ranks(options, "unet.up_blocks.1.attentions.1.proj_in", false, 100), 4);
  EXPECT_EQ(most_ranks(options, "text_encoder.text_model.encoder.layers.3.mlp.fc1", false, 100), 2);
  EXPECT_EQ(most_ranks(options, "unet.mid_block.attentions.0.proj_in", false, 5), 5);
}

TEST(Ranks, SenselessOptionsAreRefused) {
  EXPECT_THROW(check(RankOptions{}), Error);
  EXPECT_THROW(check(RankOptions{-1}), Error);
  EXPECT_THROW(check(RankOptions{0, 0, "sv_fro", 1.5}), Error);
  EXPECT_THROW(check(RankOptions{0, 0, "sv_ratio", 0.5}), Error);
  EXPECT_THROW(check(RankOptions{0, 0, "best", 1}), Error);
  RankOptions kohyas{8, 0, "quantile", 0.5};
  kohyas.like_kohya = true;
  EXPECT_THROW(check(kohyas), Error);
  EXPECT_NO_THROW(check(RankOptions{8}));
}

}  // namespace
}  // namespace lorikeet
