#include "prompt/attention.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "prompt/python_number.h"
#include "prompt/unicode.h"

namespace lorikeet {

namespace {
constexpr double kRound = 1.1, kSquare = 1 / 1.1;  // what one pair of brackets multiplies by
constexpr std::u32string_view kSpecial = U"\\()[]:";
constexpr std::u32string_view kBreak = U"BREAK";

class Parser {
 public:
  explicit Parser(std::u32string_view text) : rest_(text) {}

  std::vector<WeightedText> run() {
    while (!rest_.empty()) step();
    for (const size_t from : round_) multiply(from, kRound);
    for (const size_t from : square_) multiply(from, kSquare);
    if (texts_.empty()) add(U"");
    return joined();
  }

 private:
  void step() {
    const char32_t c = rest_[0];
    if (c == U'\\') {
      // The backslash goes; a special character behind it is taken as text.
      const bool escapes = rest_.size() > 1 && kSpecial.substr(0, 5).find(rest_[1]) != std::u32string_view::npos;
      add(take(escapes ? 2 : 1).substr(1));
    } else if (c == U'(' || c == U'[') {
      (c == U'(' ? round_ : square_).push_back(texts_.size());
      take(1);
    } else if (const size_t length = c == U':' ? weight_length() : 0) {
      close_with_weight(take(length));
    } else if (c == U')' && !round_.empty()) {
      close(round_, kRound);
      take(1);
    } else if (c == U']' && !square_.empty()) {
      close(square_, kSquare);
      take(1);
    } else {
      const size_t end = kSpecial.find(c) != std::u32string_view::npos ? 1 : std::min(rest_.find_first_of(kSpecial), rest_.size());
      add_words(take(end));
    }
  }

  std::u32string_view take(size_t length) {
    const auto taken = rest_.substr(0, length);
    rest_.remove_prefix(length);
    return taken;
  }

  // Length of ": 1.3 )" at the start of the rest, or 0.
  size_t weight_length() const {
    size_t i = 1;
    const auto skip_space = [&] {
      while (i < rest_.size() && unicode::is_space(rest_[i])) ++i;
    };
    skip_space();
    if (i < rest_.size() && (rest_[i] == U'+' || rest_[i] == U'-')) ++i;
    const size_t digits = i;
    while (i < rest_.size() && (rest_[i] == U'.' || unicode::digit_value(rest_[i]) >= 0)) ++i;
    if (i == digits) return 0;
    skip_space();
    return i < rest_.size() && rest_[i] == U')' ? i + 1 : 0;
  }

  void close_with_weight(std::u32string_view match) {
    if (round_.empty()) return add_words(match);
    const std::string number = unicode::encode(match.substr(1, match.size() - 2));
    const auto weight = python_float(number);
    if (!weight) {
      throw Error(ErrorKind::bad_input, "\"" + unicode::encode(match) + "\" in the prompt: the weight is no number",
                  "write a weight as in (words:1.3), or escape the bracket: \\(");
    }
    close(round_, *weight);
  }

  void close(std::vector<size_t>& brackets, double factor) {
    multiply(brackets.back(), factor);
    brackets.pop_back();
  }

  void multiply(size_t from, double factor) {
    for (size_t i = from; i < weights_.size(); ++i) weights_[i] *= factor;
  }

  void add(std::u32string_view text, double weight = 1) {
    texts_.emplace_back(text);
    weights_.push_back(weight);
  }

  // Plain text; each BREAK that is a word of its own takes the white space around it with it.
  void add_words(std::u32string_view text) {
    size_t begin = 0;
    for (size_t at = text.find(kBreak); at != std::u32string_view::npos; at = text.find(kBreak, at + 1)) {
      const size_t end = at + kBreak.size();
      if ((at > 0 && unicode::is_word(text[at - 1])) || (end < text.size() && unicode::is_word(text[end]))) continue;
      size_t before = at, after = end;
      while (before > begin && unicode::is_space(text[before - 1])) --before;
      while (after < text.size() && unicode::is_space(text[after])) ++after;
      add(text.substr(begin, before - begin));
      add(kBreak, -1);
      begin = after;
    }
    add(text.substr(begin));
  }

  std::vector<WeightedText> joined() const {
    std::vector<WeightedText> result;
    for (size_t i = 0; i < texts_.size(); ++i) {
      if (result.empty() || result.back().weight != weights_[i]) result.push_back({"", weights_[i]});
      result.back().text += unicode::encode(texts_[i]);
    }
    return result;
  }

  std::u32string_view rest_;
  std::vector<std::u32string> texts_;
  std::vector<double> weights_;         // beside texts_
  std::vector<size_t> round_, square_;  // first text inside each open bracket
};
}  // namespace

std::vector<WeightedText> parse_attention(std::string_view text) {
  const std::u32string wide = unicode::decode(text);
  return Parser(wide).run();
}

}  // namespace lorikeet
