#include "library/fold.h"

#include <utf8proc.h>

#include <cstdlib>
#include <memory>

#include "base/text.h"

namespace lorikeet {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string one_blank(std::string_view text) {
  std::string result;
  for (const char c : trim(text)) {
    const bool blank = c == ' ' || (c >= '\t' && c <= '\r');
    if (!blank)
      result += c;
    else if (!result.empty() && result.back() != ' ')
      result += ' ';
  }
  return result;
}

}  // namespace

std::string fold(std::string_view text) {
  const std::string valid = valid_utf8(text);
  utf8proc_uint8_t* mapped = nullptr;
  const auto options =
      static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD | UTF8PROC_STRIPMARK | UTF8PROC_IGNORE);
  const auto size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(valid.data()), static_cast<utf8proc_ssize_t>(valid.size()), &mapped, options);
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(mapped, &std::free);
  if (size < 0) return lower(valid);
  return one_blank({reinterpret_cast<const char*>(mapped), static_cast<size_t>(size)});
}

std::string sort_key(std::string_view text) {
  constexpr size_t kDigits = 20;  // of a 64-bit number; longer ones are compared as they are
  const std::string folded = fold(text);
  std::string key;
  for (size_t at = 0; at < folded.size();) {
    if (!is_digit(folded[at])) {
      key += folded[at++];
      continue;
    }
    size_t end = at;
    while (end < folded.size() && is_digit(folded[end])) ++end;
    while (at + 1 < end && folded[at] == '0') ++at;
    if (end - at < kDigits) key.append(kDigits - (end - at), '0');
    key.append(folded, at, end - at);
    at = end;
  }
  return key;
}

std::vector<SearchWord> search_words(std::string_view typed) {
  std::vector<SearchWord> words;
  size_t at = 0;
  while (at < typed.size()) {
    if (typed[at] == ' ' || (typed[at] >= '\t' && typed[at] <= '\r')) {
      ++at;
      continue;
    }
    SearchWord word;
    if (typed[at] == '-' && at + 1 < typed.size() && typed[at + 1] != ' ') word.excluded = true, ++at;
    const size_t closing = typed[at] == '"' ? typed.find('"', at + 1) : std::string_view::npos;
    size_t end = closing;
    if (closing != std::string_view::npos)
      ++at;
    else
      end = std::min(typed.find_first_of(" \t\n\v\f\r", at), typed.size());
    word.text = fold(typed.substr(at, end - at));
    at = closing == std::string_view::npos ? end : closing + 1;
    if (!word.text.empty()) words.push_back(std::move(word));
  }
  return words;
}

}  // namespace lorikeet
