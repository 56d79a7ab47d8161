// The emphasis syntax of a prompt: (x) [x] (x:1.3), escapes with a backslash, BREAK. As in AUTOMATIC1111's webui.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace lorikeet {

struct WeightedText {
  std::string text;
  double weight = 1;
  // A BREAK outside of all brackets: the next words begin a new chunk. (Inside brackets it is a word, as in the webui.)
  bool is_break() const { return weight == -1 && text == "BREAK"; }
};

// At least one entry; neighbours of equal weight are joined. Unbalanced brackets act up to the end, or are text.
// Throws Error{bad_input} for a weight that is no number, "(a:1.2.3)".
std::vector<WeightedText> parse_attention(std::string_view text);

}  // namespace lorikeet
