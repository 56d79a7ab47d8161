// What a run notes about each step, and log.csv, where it stands: a line of names, then a row a step.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lorikeet {

struct LogRow {
  int64_t step = 0;                                                               // counted from 1
  double epoch = 0, loss = 0, learning_rate = 0, gradient_norm = 0, seconds = 0;  // seconds: of this step
  std::optional<double> train_validation, validation;                             // fixed-noise losses
  bool operator==(const LogRow&) const = default;
};

std::string log_header();                 // with the line break
std::string log_line(const LogRow& row);  // numbers read back exactly; "" for what is not there, "nan" and "inf" as such

// The rows of a log. A line that is none (cut off by the end of the program) is passed over; no file is an empty log.
std::vector<LogRow> read_log(const std::filesystem::path& csv);

// Rewrites the log without the rows behind `step` and without broken lines; atomic, and only when something changes.
void cut_log(const std::filesystem::path& csv, int64_t step);

}  // namespace lorikeet
