#include "prompt/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <span>
#include <vector>

#include "base/text.h"

namespace lorikeet::unicode {

namespace {
struct Range {
  char32_t first, last;
};

bool within(std::span<const Range> ranges, char32_t c) {
  return std::any_of(ranges.begin(), ranges.end(), [c](const Range& r) { return c >= r.first && c <= r.last; });
}

utf8proc_category_t category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }

// Unicode's Other_Lowercase and Other_Uppercase: cased, though no Lu, Ll or Lt.
constexpr Range kOtherCased[] = {{0xAA, 0xAA},       {0xBA, 0xBA},       {0x2B0, 0x2B8},    {0x2C0, 0x2C1},   {0x2E0, 0x2E4},
                                 {0x345, 0x345},     {0x37A, 0x37A},     {0x1D2C, 0x1D6A},  {0x1D78, 0x1D78}, {0x1D9B, 0x1DBF},
                                 {0x2071, 0x2071},   {0x207F, 0x207F},   {0x2090, 0x209C},  {0x2160, 0x217F}, {0x24B6, 0x24E9},
                                 {0x2C7C, 0x2C7D},   {0xA69C, 0xA69D},   {0xA770, 0xA770},  {0xA7F8, 0xA7F9}, {0xAB5C, 0xAB5F},
                                 {0x1F130, 0x1F149}, {0x1F150, 0x1F169}, {0x1F170, 0x1F189}};
// Word_Break MidLetter, MidNumLet and Single_Quote: they do not end a word for the purpose of the final sigma.
constexpr Range kInsideWords[] = {{'\'', '\''},     {'.', '.'},       {':', ':'},       {0xB7, 0xB7},
                                  {0x387, 0x387},   {0x55F, 0x55F},   {0x5F4, 0x5F4},   {0x2018, 0x2019},
                                  {0x2024, 0x2024}, {0x2027, 0x2027}, {0xFE13, 0xFE13}, {0xFE52, 0xFE52},
                                  {0xFE55, 0xFE55}, {0xFF07, 0xFF07}, {0xFF0E, 0xFF0E}, {0xFF1A, 0xFF1A}};

bool is_cased(char32_t c) {
  const auto kind = category(c);
  return kind == UTF8PROC_CATEGORY_LU || kind == UTF8PROC_CATEGORY_LL || kind == UTF8PROC_CATEGORY_LT || within(kOtherCased, c);
}

bool is_case_ignorable(char32_t c) {
  const auto kind = category(c);
  return kind == UTF8PROC_CATEGORY_MN || kind == UTF8PROC_CATEGORY_ME || kind == UTF8PROC_CATEGORY_CF || kind == UTF8PROC_CATEGORY_LM ||
         kind == UTF8PROC_CATEGORY_SK || within(kInsideWords, c);
}

// A capital sigma at `at` ends a word: a cased letter before it, none after it (Unicode 15, section 3.13, Final_Sigma).
bool is_final_sigma(std::u32string_view text, size_t at) {
  size_t before = at;
  while (before > 0 && is_case_ignorable(text[before - 1])) --before;
  if (before == 0 || !is_cased(text[before - 1])) return false;
  size_t after = at + 1;
  while (after < text.size() && is_case_ignorable(text[after])) ++after;
  return after == text.size() || !is_cased(text[after]);
}

// Decomposes, and orders each run of combining marks ourselves: utf8proc's own ordering takes quadratic time on long runs.
std::u32string normalise(std::u32string_view text, int options) {
  std::vector<utf8proc_int32_t> codes;
  codes.reserve(text.size() + 1);
  std::array<utf8proc_int32_t, 32> buffer{};
  for (const char32_t c : text) {
    int boundary = 0;
    const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), buffer.data(), buffer.size(),
                                               static_cast<utf8proc_option_t>(options), &boundary);
    codes.insert(codes.end(), buffer.begin(), buffer.begin() + std::clamp<utf8proc_ssize_t>(count, 0, buffer.size()));
  }
  const auto combining = [](utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; };
  for (size_t i = 0; i < codes.size();) {
    size_t end = i;
    while (end < codes.size() && combining(codes[end]) != 0) ++end;
    std::stable_sort(codes.begin() + i, codes.begin() + end, [&](auto a, auto b) { return combining(a) < combining(b); });
    i = end + 1;
  }
  const auto length = utf8proc_normalize_utf32(codes.data(), codes.size(), static_cast<utf8proc_option_t>(options));
  return {codes.begin(), codes.begin() + length};
}
}  // namespace

std::u32string decode(std::string_view utf8) {
  const std::string valid = is_valid_utf8(utf8) ? std::string(utf8) : valid_utf8(utf8);
  std::u32string text;
  text.reserve(valid.size());
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(valid.data());
  for (size_t i = 0; i < valid.size();) {
    utf8proc_int32_t code = 0;
    i += std::max<utf8proc_ssize_t>(utf8proc_iterate(bytes + i, valid.size() - i, &code), 1);
    text += static_cast<char32_t>(code);
  }
  return text;
}

std::string encode(std::u32string_view text) {
  std::string utf8;
  utf8.reserve(text.size());
  std::array<utf8proc_uint8_t, 4> bytes{};
  for (const char32_t c : text) {
    const auto count = utf8proc_encode_char(static_cast<utf8proc_int32_t>(c), bytes.data());
    utf8.append(bytes.begin(), bytes.begin() + count);
  }
  return utf8;
}

bool is_space(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x1F);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

bool is_letter(char32_t c) {
  const auto kind = category(c);
  return kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO;
}

bool is_number(char32_t c) {
  const auto kind = category(c);
  return kind >= UTF8PROC_CATEGORY_ND && kind <= UTF8PROC_CATEGORY_NO;
}

bool is_word(char32_t c) { return c == '_' || is_letter(c) || is_number(c); }

int digit_value(char32_t c) {
  if (c >= '0' && c <= '9') return static_cast<int>(c - '0');
  if (c < 0x80 || category(c) != UTF8PROC_CATEGORY_ND) return -1;
  // The decimal digits of a script are ten consecutive code points, 0 first; runs of several scripts touch in whole tens.
  char32_t first = c;
  while (category(first - 1) == UTF8PROC_CATEGORY_ND) --first;
  return static_cast<int>((c - first) % 10);
}

std::u32string_view trim(std::u32string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

std::u32string lower(std::u32string_view text) {
  constexpr char32_t kCapitalSigma = 0x3A3, kSigma = 0x3C3, kFinalSigma = 0x3C2, kDottedCapitalI = 0x130, kDotAbove = 0x307;
  std::u32string result;
  result.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == kCapitalSigma) {
      result += is_final_sigma(text, i) ? kFinalSigma : kSigma;
    } else if (text[i] == kDottedCapitalI) {
      result += {U'i', kDotAbove};
    } else {
      result += static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(text[i])));
    }
  }
  return result;
}

std::u32string compose(std::u32string_view text) {
  constexpr char32_t kFirstCombining = 0x300;  // text below it is in form C already
  if (std::all_of(text.begin(), text.end(), [](char32_t c) { return c < kFirstCombining; })) return std::u32string(text);
  return normalise(text, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
}

std::u32string compatible(char32_t c) { return normalise({&c, 1}, UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT); }

char32_t upper(char32_t c) { return static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))); }

}  // namespace lorikeet::unicode
