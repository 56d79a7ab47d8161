// Small text functions that the standard library lacks.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lorikeet {

std::string lower(std::string_view text);                             // ASCII only
std::string_view trim(std::string_view text);                         // ASCII white space
std::vector<std::string_view> split(std::string_view text, char at);  // "" -> {""}
bool starts_with(std::string_view text, std::string_view prefix);
bool ends_with(std::string_view text, std::string_view suffix);
std::string replace_all(std::string text, std::string_view from, std::string_view to);
std::string join(std::span<const std::string> parts, std::string_view between);

// Whole-text numbers in the C locale: "1.5" -> 1.5; "1.5x", "", "0x10", "nan", "inf" -> nothing.
std::optional<double> parse_double(std::string_view text);
std::optional<int64_t> parse_int(std::string_view text);

// The shortest decimal text that reads back as the same double, in Python's repr style without a trailing ".0" (7, 0.75).
std::string format_number(double value);

// "", "none" or "None": how A1111 says that nothing is chosen.
bool is_none(std::string_view text);
// Up to `most` of `names` nearest to `wanted` by edit distance (case-blind), best first; far ones are left out.
std::vector<std::string> near_names(std::string_view wanted, std::span<const std::string> names, size_t most = 3);
// "did you mean a, b?" or "" when nothing is near.
std::string did_you_mean(std::string_view wanted, std::span<const std::string> names);

// Appends the code point c, below 0x110000 (bits above are dropped).
void append_utf8(std::string& to, uint32_t c);
// Bytes that are no valid UTF-8 become U+FFFD.
std::string valid_utf8(std::string_view bytes);
bool is_valid_utf8(std::string_view bytes);

}  // namespace lorikeet
