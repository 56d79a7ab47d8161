// Texts made alike for searching and sorting.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace lorikeet {

// Without case, accents and compatibility forms (Unicode's case folding, NFKD, marks left out); runs of white space become one blank.
std::string fold(std::string_view text);

// Folded texts in the order of their keys (bytes) are in the order that people expect: numbers by their value, "fox2" before "fox10".
std::string sort_key(std::string_view text);

// What a person typed into a search box.
struct SearchWord {
  std::string text;  // folded, never empty
  bool excluded = false;
  bool operator==(const SearchWord&) const = default;
};
// Words between blanks; "…" keeps its blanks; -word is excluded. A lone quote or dash is a letter like others.
std::vector<SearchWord> search_words(std::string_view typed);

}  // namespace lorikeet
