#include "prompt/composition.h"

#include "prompt/python_number.h"
#include "prompt/unicode.h"

namespace lorikeet {

namespace {
constexpr std::u32string_view kAnd = U"AND";

std::u32string_view trim_end(std::u32string_view text) {
  while (!text.empty() && unicode::is_space(text.back())) text.remove_suffix(1);
  return text;
}

// 1 1. 1.5 .5 with an optional sign: no exponent, no inf or nan.
bool is_weight(std::u32string_view text) {
  if (!text.empty() && (text[0] == U'+' || text[0] == U'-')) text.remove_prefix(1);
  size_t digits = 0, points = 0;
  for (const char32_t c : text) {
    const bool digit = unicode::digit_value(c) >= 0;
    if (!digit && c != U'.') return false;
    ++(digit ? digits : points);
  }
  return digits > 0 && points <= 1;
}

PromptPart read_part(std::u32string_view text) {
  text = trim_end(text);
  const size_t colon = text.rfind(U':');
  if (colon != std::u32string_view::npos) {
    const auto number = unicode::trim(text.substr(colon + 1));
    if (is_weight(number)) return {unicode::encode(trim_end(text.substr(0, colon))), python_float(unicode::encode(number)).value_or(1)};
  }
  return {unicode::encode(text), 1};
}
}  // namespace

std::vector<PromptPart> split_composition(std::string_view prompt) {
  const std::u32string wide = unicode::decode(prompt);
  const std::u32string_view text = wide;
  std::vector<PromptPart> parts;
  size_t begin = 0;
  for (size_t at = text.find(kAnd); at != std::u32string_view::npos; at = text.find(kAnd, at + kAnd.size())) {
    const size_t end = at + kAnd.size();
    if ((at > 0 && unicode::is_word(text[at - 1])) || (end < text.size() && unicode::is_word(text[end]))) continue;
    parts.push_back(read_part(text.substr(begin, at - begin)));
    begin = end;
  }
  parts.push_back(read_part(text.substr(begin)));
  return parts;
}

}  // namespace lorikeet
