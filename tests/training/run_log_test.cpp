#include "training/run_log.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>

using namespace lorikeet;
namespace fs = std::filesystem;

namespace {
LogRow row(int64_t step) {
  return {.step = step,
          .epoch = static_cast<double>(step) / 3,
          .loss = 0.1 + 0.2,
          .learning_rate = 1e-4,
          .gradient_norm = 1e-300,
          .seconds = 2.5,
          .train_validation = {},
          .validation = {}};
}

struct RunLogTest : ::testing::Test {
  fs::path csv = fs::temp_directory_path() / ("lorikeet_log_" + std::to_string(::getpid()) + ".csv");
  void TearDown() override { fs::remove(csv); }
  void write(const std::string& text) { std::ofstream(csv, std::ios::binary) << text; }
  std::string text() const {
    std::ostringstream text;
    text << std::ifstream(csv, std::ios::binary).rdbuf();
    return text.str();
  }
};
}  // namespace

TEST_F(RunLogTest, RowsComeBackExactly) {
  LogRow measured = row(2);
  measured.train_validation = 1.0 / 3;
  measured.validation = 0;
  write(log_header() + log_line(row(1)) + log_line(measured));
  EXPECT_EQ(read_log(csv), (std::vector{row(1), measured}));
  EXPECT_EQ(log_header(), "step,epoch,loss,learning_rate,gradient_norm,seconds,train_validation,validation\n");
}

TEST_F(RunLogTest, NumbersThatAreNotFiniteAreToldAsSuch) {
  LogRow bad = row(1);
  bad.loss = std::nan("");
  bad.gradient_norm = std::numeric_limits<double>::infinity();
  bad.validation = -std::numeric_limits<double>::infinity();
  write(log_header() + log_line(bad));
  const auto rows = read_log(csv);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_TRUE(std::isnan(rows[0].loss));
  EXPECT_EQ(rows[0].gradient_norm, bad.gradient_norm);
  EXPECT_EQ(rows[0].validation, bad.validation);
}

TEST_F(RunLogTest, CuttingTakesLaterRowsAndHalfALineAway) {
  const std::string kept = log_header() + log_line(row(1)) + log_line(row(2));
  write(kept + log_line(row(3)) + log_line(row(4)) + "5,1.6");
  cut_log(csv, 2);
  EXPECT_EQ(text(), kept);
  write(kept + log_line(row(3)).substr(0, 12));  // a number cut off is a number too: without a line break it does not count
  cut_log(csv, 9);
  EXPECT_EQ(text(), kept);
  write(kept + "x,y\n");
  cut_log(csv, 9);
  EXPECT_EQ(text(), kept);
}

TEST_F(RunLogTest, ALogThatIsRightIsLeftAlone) {
  const std::string kept = log_header() + log_line(row(1));
  write(kept);
  const auto time = fs::file_time_type::clock::now() - std::chrono::hours(1);
  fs::last_write_time(csv, time);
  cut_log(csv, 1);
  EXPECT_EQ(fs::last_write_time(csv), time);
  fs::remove(csv);
  cut_log(csv, 1);
  EXPECT_FALSE(fs::exists(csv));
  EXPECT_TRUE(read_log(csv).empty());
}
