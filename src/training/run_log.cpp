#include "training/run_log.h"

#include <array>
#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>

#include "base/text.h"
#include "io/atomic_file.h"

namespace lorikeet {

namespace {
constexpr std::array<std::string_view, 8> kColumns{
    "step", "epoch", "loss", "learning_rate", "gradient_norm", "seconds", "train_validation", "validation"};

std::string cell(double value) {
  if (std::isfinite(value)) return format_number(value);
  return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}
std::string cell(const std::optional<double>& value) { return value ? cell(*value) : ""; }

std::optional<double> number_of(std::string_view text) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (text == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (text == "inf" || text == "-inf") return text[0] == '-' ? -kInfinity : kInfinity;
  return parse_double(text);
}

std::optional<LogRow> row_of(std::string_view line) {
  const auto parts = split(line, ',');
  const auto step = parse_int(parts[0]);
  if (parts.size() != kColumns.size() || !step) return std::nullopt;
  LogRow row;
  row.step = *step;
  size_t column = 1;
  for (double* to : {&row.epoch, &row.loss, &row.learning_rate, &row.gradient_norm, &row.seconds}) {
    const auto value = number_of(parts[column++]);
    if (!value) return std::nullopt;
    *to = *value;
  }
  for (std::optional<double>* to : {&row.train_validation, &row.validation}) {
    *to = number_of(parts[column]);
    if (!*to && !parts[column].empty()) return std::nullopt;
    ++column;
  }
  return row;
}

std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<LogRow> rows_of(const std::string& text) {
  auto lines = split(text, '\n');
  lines.pop_back();  // behind the last line break: nothing, or a line that was cut off
  std::vector<LogRow> rows;
  for (const auto line : lines)
    if (const auto row = row_of(line)) rows.push_back(*row);
  return rows;
}
}  // namespace

std::string log_header() {
  std::string line;
  for (const auto column : kColumns) line += (line.empty() ? "" : ",") + std::string(column);
  return line + "\n";
}

std::string log_line(const LogRow& row) {
  const std::array parts{std::to_string(row.step),      cell(row.epoch),         cell(row.loss),
                         cell(row.learning_rate),    cell(row.gradient_norm), cell(row.seconds),
                         cell(row.train_validation), cell(row.validation)};
  return join(parts, ",") + "\n";
}

std::vector<LogRow> read_log(const std::filesystem::path& csv) { return rows_of(read_text(csv)); }

void cut_log(const std::filesystem::path& csv, int64_t step) {
  const std::string before = read_text(csv);
  if (before.empty()) return;
  std::string after = log_header();
  for (const LogRow& row : rows_of(before))
    if (row.step <= step) after += log_line(row);
  if (after != before) write_file_atomically(csv, after);
}

}  // namespace lorikeet
