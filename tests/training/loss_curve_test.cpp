#include "training/loss_curve.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "io/picture.h"

using namespace lorikeet;
namespace fs = std::filesystem;

namespace {
std::vector<LogRow> course(int steps) {
  std::vector<LogRow> rows;
  for (int i = 1; i <= steps; ++i) {
    LogRow row;
    row.step = i;
    row.loss = 0.1 + 0.05 * std::exp(-i / 100.0) + 0.06 * std::sin(i * 12.9898) * std::sin(i * 78.233);
    row.learning_rate = 1e-4 * (0.5 + 0.5 * std::cos(M_PI * i / steps));
    if (i % 50 == 0) row.train_validation = 0.1 + 0.04 * std::exp(-i / 100.0), row.validation = 0.12 + 0.03 * std::exp(-i / 120.0);
    rows.push_back(row);
  }
  return rows;
}

// Pixels within a few levels of a colour.
int64_t count(const Picture& picture, int red, int green, int blue) {
  int64_t found = 0;
  for (size_t i = 0; i < picture.pixels.size(); i += 3)
    found += std::abs(picture.pixels[i] - red) < 12 && std::abs(picture.pixels[i + 1] - green) < 12 &&
             std::abs(picture.pixels[i + 2] - blue) < 12;
  return found;
}

struct LossCurveTest : ::testing::Test {
  fs::path png = fs::temp_directory_path() / ("lorikeet_curve_" + std::to_string(::getpid()) + ".png");
  void TearDown() override { fs::remove(png); }
  Picture drawn(const std::vector<LogRow>& rows) {
    draw_loss_curve(png, rows, "robot");
    return read_picture(png).picture;
  }
};

constexpr int kSmooth[] = {20, 84, 166}, kHeldOut[] = {199, 31, 64};
}  // namespace

TEST(AxisTicks, AreRoundAndInside) {
  EXPECT_EQ(axis_ticks(0, 10, 5), (std::vector<double>{0, 2, 4, 6, 8, 10}));
  EXPECT_EQ(axis_ticks(1, 1000, 8).front(), 200);
  for (const auto& [least, most] : {std::pair{0.08, 0.13}, {-3.0, 7e-3}, {1e-9, 2e-9}, {1e6, 3e7}}) {
    const auto ticks = axis_ticks(least, most, 7);
    EXPECT_GE(ticks.size(), 3u) << least;
    EXPECT_LE(ticks.size(), 12u) << least;
    for (const double tick : ticks) EXPECT_TRUE(tick >= least - 1e-9 * std::abs(least) && tick <= most + 1e-9 * std::abs(most)) << tick;
  }
}

TEST(SmoothedLosses, AreTheMeanOfWhatCameBeforeWithFadingWeights) {
  std::vector<LogRow> rows(4);
  for (size_t i = 0; i < 4; ++i) rows[i].loss = i == 2 ? std::nan("") : static_cast<double>(i);
  const auto smooth = smoothed_losses(rows, 1);  // each step counts half of the next
  EXPECT_EQ(smooth[0], 0);
  EXPECT_DOUBLE_EQ(smooth[1], 1 / 1.5);
  EXPECT_DOUBLE_EQ(smooth[2], smooth[1]);
  EXPECT_DOUBLE_EQ(smooth[3], (3 + 0.5 * 1) / (1 + 0.5 + 0.25));
  for (LogRow& row : rows) row.loss = 2;
  for (const double value : smoothed_losses(rows, 50)) EXPECT_DOUBLE_EQ(value, 2);
}

TEST_F(LossCurveTest, ShowsTheAverageAndTheHeldOutLoss) {
  const Picture picture = drawn(course(400));
  EXPECT_EQ(picture.width_px, 1200);
  EXPECT_EQ(picture.height_px, 700);
  // A line of 3 pixels over some 1000, and eight dots of 4 pixels' radius joined by a line.
  EXPECT_GT(count(picture, kSmooth[0], kSmooth[1], kSmooth[2]), 1500);
  EXPECT_GT(count(picture, kHeldOut[0], kHeldOut[1], kHeldOut[2]), 8 * 30);
  std::vector<LogRow> plain = course(400);
  for (LogRow& row : plain) row.validation.reset();
  EXPECT_EQ(count(drawn(plain), kHeldOut[0], kHeldOut[1], kHeldOut[2]), 0);
}

TEST_F(LossCurveTest, EveryLogCanBeDrawn) {
  std::vector<LogRow> broken = course(60);
  for (size_t i = 20; i < 25; ++i) broken[i].loss = std::nan("");
  broken[30].loss = std::numeric_limits<double>::infinity();
  broken[31].loss = 1e30;
  broken[32].loss = -1e30;
  std::vector<LogRow> lost = course(3);
  for (LogRow& row : lost) row.loss = std::nan("");
  std::vector<LogRow> flat(5);
  for (size_t i = 0; i < flat.size(); ++i) flat[i].step = static_cast<int64_t>(i), flat[i].loss = 0;
  for (const auto& rows : {course(0), course(1), course(2), broken, lost, flat})
    EXPECT_GT(count(drawn(rows), 33, 33, 41), 1000);  // the frame
}
