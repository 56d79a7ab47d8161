#include "prompt/schedule.h"

#include <algorithm>
#include <set>

#include "prompt/python_number.h"
#include "prompt/unicode.h"

namespace lorikeet {

namespace {
enum class GroupKind { emphasis, scheduled, alternate };

// A pair of brackets that belong together, and the ':' or '|' between its parts.
struct Group {
  GroupKind kind = GroupKind::emphasis;
  size_t close = 0;                // token of the closing bracket
  std::vector<size_t> separators;  // tokens of its own ':' or '|'
  int when = 0;                    // scheduled: the last step of the first state
};

struct Token {
  std::u32string_view text;  // a run of plain text, or one of ()[]:|
  char32_t special = 0;      // that one, else 0
  int group = -1;            // of an opening bracket: its group, if it has one
};

bool is_special(char32_t c) { return std::u32string_view(U"()[]:|").find(c) != std::u32string_view::npos; }

// Nothing when the grammar cannot take the text: a backslash that escapes nothing.
std::optional<std::vector<Token>> split_tokens(std::u32string_view text) {
  std::vector<Token> tokens;
  for (size_t i = 0; i < text.size();) {
    size_t end = i;
    while (end < text.size() && !is_special(text[end])) {
      const bool escape = text[end] == U'\\';
      if (escape && (end + 1 == text.size() || text[end + 1] == U'\n')) return std::nullopt;
      end += escape ? 2 : 1;
    }
    const bool special = end == i;
    tokens.push_back({text.substr(i, special ? 1 : end - i), special ? text[i] : U'\0'});
    i = special ? i + 1 : end;
  }
  return tokens;
}

// 5, -1, 0.5, .5, 3., 1e1: Lark's SIGNED_NUMBER. Nothing else may stand beside it except white space.
std::optional<std::string> read_number(const Token& token) {
  if (token.special) return std::nullopt;
  const std::u32string_view trimmed = unicode::trim(token.text);
  const bool ascii = std::all_of(trimmed.begin(), trimmed.end(), [](char32_t c) {
    return (c >= '0' && c <= '9') || c == '.' || c == '+' || c == '-' || c == 'e' || c == 'E';
  });
  const std::string number = unicode::encode(trimmed);
  return ascii && python_float(number) ? std::optional(number) : std::nullopt;
}

// The step until which [from:to:number] shows `from`, truncated as int() does.
int last_step(const std::string& number, const ScheduleSteps& rules) {
  const bool hires = rules.hires_steps && !rules.old_rules;
  const int steps = hires ? *rules.hires_steps : rules.steps;
  double when = *python_float(number);
  if (rules.old_rules) {
    if (when < 1) when *= steps;
  } else if (number.find('.') != std::string::npos) {
    when = (when - (hires ? 1.0 : 0.0)) * steps;
  } else {
    when -= hires ? rules.steps : 0;
  }
  return static_cast<int>(std::clamp(when, -1.0, static_cast<double>(steps)));
}

class Grammar {
 public:
  Grammar(std::vector<Token> tokens, const ScheduleSteps& rules) : tokens_(std::move(tokens)), rules_(rules) {}

  // Finds all groups; false when a '|' belongs to none.
  bool match() {
    for (size_t i = 0; i < tokens_.size(); ++i) {
      const char32_t c = tokens_[i].special;
      if (c == U'(' || c == U'[') {
        open_.push_back({i, {}, {}});
      } else if (c == U')' || c == U']') {
        close(i, c == U')' ? U'(' : U'[');
      } else if (c == U':' && !open_.empty()) {
        open_.back().colons.push_back(i);
      } else if (c == U'|') {
        ++bars_;
        if (!open_.empty()) open_.back().bars.push_back(i);
      }
    }
    return bars_ == 0;
  }

  std::set<int> end_steps(int steps) const {
    std::set<int> ends{steps};
    for (const Group& group : groups_) {
      if (group.kind == GroupKind::scheduled && group.when >= 1) ends.insert(group.when);
      if (group.kind == GroupKind::alternate)
        for (int step = 1; step <= steps; ++step) ends.insert(step);
    }
    return ends;
  }

  std::string text_at(int step) const {
    std::u32string text;
    std::vector<Frame> frames;
    for (size_t i = 0; i < tokens_.size(); ++i) {
      if (tokens_[i].group >= 0) {
        const Group& group = groups_[static_cast<size_t>(tokens_[i].group)];
        const bool visible = frames.empty() || frames.back().visible;
        frames.push_back({&group, visible, visible && shows(group, 0, step), 0});
        if (visible && group.kind == GroupKind::emphasis) text += tokens_[i].text;
        continue;
      }
      const bool syntax = !frames.empty() && !next_part(frames.back(), i, step);
      if (!syntax && (frames.empty() || frames.back().visible)) text += tokens_[i].text;
      if (!frames.empty() && frames.back().group->close == i) frames.pop_back();
    }
    return unicode::encode(text);
  }

 private:
  struct Open {
    size_t token;
    std::vector<size_t> colons, bars;
  };
  // A group that the walk of text_at is in: whether it is shown at all, and whether its present part is.
  struct Frame {
    const Group* group;
    bool shown, visible;
    size_t part;
  };

  void close(size_t at, char32_t opening) {
    // A bracket of the wrong kind, or one that makes no group, stays text; no group can reach across it.
    if (open_.empty() || tokens_[open_.back().token].special != opening) return open_.clear();
    const auto group = make_group(open_.back(), at);
    if (!group) return open_.clear();
    tokens_[open_.back().token].group = static_cast<int>(groups_.size());
    if (group->kind == GroupKind::alternate) bars_ -= group->separators.size();
    groups_.push_back(*group);
    open_.pop_back();
  }

  std::optional<Group> make_group(const Open& open, size_t close) const {
    const bool square = tokens_[open.token].special == U'[';
    if (!open.bars.empty()) {
      if (!square || !open.colons.empty()) return std::nullopt;
      return Group{GroupKind::alternate, close, open.bars};
    }
    if (open.colons.empty() || (!square && open.colons.size() == 1)) return Group{GroupKind::emphasis, close, {}};
    if (!square || open.colons.size() > 2 || close != open.colons.back() + 2) return std::nullopt;
    const auto number = read_number(tokens_[close - 1]);
    if (!number) return std::nullopt;
    return Group{GroupKind::scheduled, close, open.colons, last_step(*number, rules_)};
  }

  static bool shows(const Group& group, size_t part, int step) {
    if (group.kind == GroupKind::emphasis) return true;
    if (group.kind == GroupKind::alternate) return part == static_cast<size_t>(step - 1) % (group.separators.size() + 1);
    const bool before = step <= group.when;
    const size_t parts = group.separators.size();  // the number behind the last ':' is never shown
    return parts == 2 ? part == (before ? 0 : 1) : part == 0 && !before;
  }

  // Token i of the group's own level: false when it is the group's syntax (a separator, the closing bracket) and shown nowhere.
  static bool next_part(Frame& frame, size_t i, int step) {
    const Group& group = *frame.group;
    if (group.kind == GroupKind::emphasis) return true;
    if (group.close == i) return false;
    if (frame.part >= group.separators.size() || group.separators[frame.part] != i) return true;
    ++frame.part;
    frame.visible = frame.shown && shows(group, frame.part, step);
    return false;
  }

  std::vector<Token> tokens_;
  const ScheduleSteps& rules_;
  std::vector<Open> open_;
  std::vector<Group> groups_;
  size_t bars_ = 0;  // not yet in a group
};
}  // namespace

std::vector<ScheduledText> parse_schedule(std::string_view prompt, const ScheduleSteps& rules) {
  const int steps = rules.hires_steps && !rules.old_rules ? *rules.hires_steps : rules.steps;
  const std::u32string wide = unicode::decode(prompt);
  auto tokens = split_tokens(wide);
  if (!tokens) return {{steps, std::string(prompt)}};
  Grammar grammar(std::move(*tokens), rules);
  if (!grammar.match()) return {{steps, std::string(prompt)}};
  std::vector<ScheduledText> schedule;
  for (const int step : grammar.end_steps(steps)) schedule.push_back({step, grammar.text_at(step)});
  return schedule;
}

}  // namespace lorikeet
