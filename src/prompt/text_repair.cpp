#include "prompt/text_repair.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/text.h"
#include "prompt/clip_data.h"
#include "prompt/mojibake.h"
#include "prompt/unicode.h"

namespace lorikeet {

namespace {
constexpr int kMostRounds = 32;           // "&amp;amp;amp;…" can take any number of rounds
constexpr size_t kLongestReference = 24;  // letters between '&' (or "&#") and ';'

bool is_ascii_alnum(char32_t c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

std::optional<std::u32string> find_entity(std::string_view name) {
  const auto all = html_entities();
  const auto found = std::lower_bound(all.begin(), all.end(), name, [](const Entity& e, std::string_view n) { return e.name < n; });
  if (found == all.end() || found->name != name) return std::nullopt;
  return unicode::decode(found->text);
}

// "EACUTE" -> É, where the name is no other reference (and does not begin with one that needs no ';').
std::optional<std::u32string> find_shouted_entity(std::string_view name) {
  for (const std::string_view known : {"AMP", "COPY", "ETH", "GT", "LT", "QUOT", "REG", "THORN"})
    if (starts_with(name, known)) return std::nullopt;
  const std::string small = lower(name);
  const auto meaning =
      std::none_of(name.begin(), name.end(), [](char c) { return c >= 'a' && c <= 'z'; }) ? find_entity(small) : std::nullopt;
  if (!meaning) return std::nullopt;
  constexpr std::pair<std::string_view, std::u32string_view> kTwoLetters[] = {
      {"szlig", U"SS"}, {"fflig", U"FF"}, {"filig", U"FI"}, {"fllig", U"FL"}, {"ffilig", U"FFI"}, {"ffllig", U"FFL"}, {"napos", U"ʼN"}};
  for (const auto& [entity, capitals] : kTwoLetters)
    if (small == entity) return std::u32string(capitals);
  std::u32string capitals = *meaning;
  std::transform(capitals.begin(), capitals.end(), capitals.begin(), unicode::upper);
  return capitals;
}

// "233" or "xE9" -> é, by the HTML standard's "numeric character reference end state".
std::optional<std::u32string> find_number(std::string_view digits) {
  const bool hex = !digits.empty() && (digits[0] == 'x' || digits[0] == 'X');
  if (hex) digits.remove_prefix(1);
  if (digits.empty()) return std::nullopt;
  char32_t code = 0;
  for (const char c : digits) {
    const int value = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
    if (value >= (hex ? 16 : 10)) return std::nullopt;
    code = std::min<char32_t>(code * (hex ? 16 : 10) + value, 0x110000);
  }
  if (code >= 0x80 && code <= 0x9F) return std::u32string(1, code_pages()[1].decode(static_cast<unsigned char>(code)));
  if (code == 0 || (code >= 0xD800 && code <= 0xDFFF) || code > 0x10FFFF) return U"\uFFFD";
  const bool no_character = code < 0x09 || code == 0x0B || (code >= 0x0E && code <= 0x1F) || code == 0x7F ||
                            (code >= 0xFDD0 && code <= 0xFDEF) || (code & 0xFFFE) == 0xFFFE;
  return no_character ? U"" : std::u32string(1, code);
}

std::u32string unescape_html(const std::u32string& text) {
  if (text.find(U'&') == std::u32string::npos) return text;
  std::u32string result;
  for (size_t i = 0; i < text.size();) {
    size_t end = i + 1;
    const bool number = text[i] == U'&' && end < text.size() && text[end] == U'#';
    if (number) ++end;
    const size_t first = end;
    while (text[i] == U'&' && end < text.size() && end - first < kLongestReference && is_ascii_alnum(text[end])) ++end;
    std::optional<std::u32string> meaning;
    if (end > first && end < text.size() && text[end] == U';') {
      const std::string name(text.begin() + first, text.begin() + end);
      meaning = number ? find_number(name) : find_entity(name);
      if (!meaning && !number) meaning = find_shouted_entity(name);
    }
    result += meaning ? *meaning : std::u32string(1, text[i]);
    i = meaning ? end + 1 : i + 1;
  }
  return result;
}

std::u32string_view split_ligature(char32_t c) {
  constexpr std::pair<char32_t, std::u32string_view> kLigatures[] = {
      {U'Ĳ', U"IJ"}, {U'ĳ', U"ij"}, {U'ŉ', U"ʼn"},  {U'Ǆ', U"DŽ"},  {U'ǅ', U"Dž"}, {U'ǆ', U"dž"}, {U'Ǉ', U"LJ"}, {U'ǈ', U"Lj"},
      {U'ǉ', U"lj"}, {U'Ǌ', U"NJ"}, {U'ǋ', U"Nj"},  {U'ǌ', U"nj"},  {U'Ǳ', U"DZ"}, {U'ǲ', U"Dz"}, {U'ǳ', U"dz"}, {U'ﬀ', U"ff"},
      {U'ﬁ', U"fi"}, {U'ﬂ', U"fl"}, {U'ﬃ', U"ffi"}, {U'ﬄ', U"ffl"}, {U'ﬅ', U"ſt"}, {U'ﬆ', U"st"}};
  if (c < U'Ĳ' || c > U'ﬆ') return {};
  for (const auto& [ligature, letters] : kLigatures)
    if (c == ligature) return letters;
  return {};
}

// Full-width Latin, half-width katakana and Hangul in their usual forms; the ideographic space becomes a space.
const std::u32string* usual_width(char32_t c) {
  constexpr char32_t kFirst = 0xFF01, kEnd = 0xFFF0;
  static const std::u32string space = U" ";
  static const auto forms = [] {
    std::array<std::u32string, kEnd - kFirst> all;
    for (char32_t form = kFirst; form < kEnd; ++form) all[form - kFirst] = unicode::compatible(form);
    return all;
  }();
  if (c == 0x3000) return &space;
  return c >= kFirst && c < kEnd ? &forms[c - kFirst] : nullptr;
}

char32_t straight_quote(char32_t c) {
  if (c == 0x2BC || (c >= 0x2018 && c <= 0x201B)) return U'\'';
  if (c >= 0x201C && c <= 0x201F) return U'"';
  return c;
}

bool is_unwanted_control(char32_t c) {
  return c < 0x09 || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F || (c >= 0x206A && c <= 0x206F) || c == 0xFEFF ||
         (c >= 0xFFF9 && c <= 0xFFFC);
}

std::u32string repair_characters(const std::u32string& text) {
  std::u32string result;
  result.reserve(text.size());
  for (const char32_t c : text) {
    if (const auto letters = split_ligature(c); !letters.empty()) {
      for (const char32_t letter : letters) result += straight_quote(letter);
    } else if (const auto* form = usual_width(c)) {
      for (const char32_t part : *form) result += straight_quote(part);
    } else {
      result += straight_quote(c);
    }
  }
  return result;
}

std::u32string repair_line_breaks(const std::u32string& text) {
  std::u32string result;
  for (size_t i = 0; i < text.size(); ++i) {
    const char32_t c = text[i];
    if (c == '\r' && i + 1 < text.size() && text[i + 1] == '\n') continue;
    result += c == '\r' || c == 0x2028 || c == 0x2029 || c == 0x85 ? U'\n' : c;
  }
  return result;
}

// ESC [ numbers letter: the colours of a terminal.
std::u32string remove_terminal_escapes(const std::u32string& text) {
  std::u32string result;
  for (size_t i = 0; i < text.size();) {
    size_t end = i;
    if (text[i] == 0x1B && i + 1 < text.size() && text[i + 1] == U'[') {
      end = i + 2;
      while (end < text.size() && (text[end] == U';' || unicode::digit_value(text[end]) >= 0)) ++end;
      const bool letter = end < text.size() && ((text[end] >= 'a' && text[end] <= 'z') || (text[end] >= 'A' && text[end] <= 'Z'));
      end = letter ? end + 1 : i;
    }
    if (end == i) result += text[end++];
    i = end;
  }
  return result;
}

std::u32string repair_line(std::u32string text, bool unescape) {
  for (int round = 0; round < kMostRounds; ++round) {
    std::u32string repaired = repair_encoding(unescape ? unescape_html(text) : text);
    repaired = repair_line_breaks(repair_characters(repair_c1_controls(std::move(repaired))));
    repaired = remove_terminal_escapes(repaired);
    std::erase_if(repaired, is_unwanted_control);
    repaired = unicode::compose(repaired);
    if (repaired == text) break;
    text = std::move(repaired);
  }
  return text;
}
}  // namespace

std::u32string repair_text(std::u32string_view text) {
  std::u32string result;
  bool unescape = true;  // until a '<' shows that the text may be HTML that is meant to stay so
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(U'\n', begin), text.size() - 1) + 1;
    const auto line = text.substr(begin, end - begin);
    unescape = unescape && line.find(U'<') == std::u32string_view::npos;
    result += repair_line(std::u32string(line), unescape);
    begin = end;
  }
  return result;
}

}  // namespace lorikeet
