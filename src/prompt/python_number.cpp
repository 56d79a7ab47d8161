#include "prompt/python_number.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <string>

#include "base/text.h"
#include "prompt/unicode.h"

namespace lorikeet {

namespace {
// Trimmed, digits of other scripts as 0..9, "_" between digits left out; nothing when it holds any other character beyond ASCII.
std::optional<std::string> plain_number(std::string_view text) {
  const std::u32string wide = unicode::decode(text);
  const std::u32string_view trimmed = unicode::trim(wide);
  const auto digit = [&](size_t i) { return i < trimmed.size() && unicode::digit_value(trimmed[i]) >= 0; };
  std::string plain;
  for (size_t i = 0; i < trimmed.size(); ++i) {
    if (digit(i)) {
      plain += static_cast<char>('0' + unicode::digit_value(trimmed[i]));
    } else if (trimmed[i] == U'_' && i > 0 && digit(i - 1) && digit(i + 1)) {
      continue;
    } else if (trimmed[i] >= 0x80 || trimmed[i] == U'_') {
      return std::nullopt;
    } else {
      plain += static_cast<char>(trimmed[i]);
    }
  }
  return plain;
}

// Out of double's range: 1e999 is infinite, 1e-999 zero. The sign of the exponent, or else the size of the whole part, tells which.
double beyond_range(std::string_view digits) {
  const size_t exponent = digits.find_first_of("eE");
  if (exponent != std::string_view::npos) return digits[exponent + 1] == '-' ? 0.0 : std::numeric_limits<double>::infinity();
  return digits.find_first_of("123456789") < digits.find('.') ? std::numeric_limits<double>::infinity() : 0.0;
}
}  // namespace

std::optional<double> python_float(std::string_view text) {
  auto plain = plain_number(text);
  if (!plain || plain->empty()) return std::nullopt;
  std::string_view digits = *plain;
  const bool negative = digits[0] == '-';
  if (digits[0] == '-' || digits[0] == '+') digits.remove_prefix(1);
  double value = 0;
  const std::string word = lower(digits);
  if (word == "inf" || word == "infinity") {
    value = std::numeric_limits<double>::infinity();
  } else if (word == "nan") {
    value = std::numeric_limits<double>::quiet_NaN();
  } else {
    if (digits.empty() || !((digits[0] >= '0' && digits[0] <= '9') || digits[0] == '.')) return std::nullopt;
    const auto [end, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (fault == std::errc::invalid_argument || end != digits.data() + digits.size()) return std::nullopt;
    if (fault == std::errc::result_out_of_range) value = beyond_range(digits);
  }
  return negative ? -value : value;
}

std::optional<int64_t> python_int(std::string_view text) {
  auto plain = plain_number(text);
  if (!plain || plain->empty()) return std::nullopt;
  std::string_view digits = *plain;
  if (digits[0] == '+') digits.remove_prefix(1);
  if (digits.empty() || !(digits.back() >= '0' && digits.back() <= '9')) return std::nullopt;
  int64_t value = 0;
  const auto [end, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (fault != std::errc() || end != digits.data() + digits.size() || plain->find("+-") == 0) return std::nullopt;
  return value;
}

}  // namespace lorikeet
