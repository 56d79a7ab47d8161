// Prompt editing: [from:to:when], [to:when], [from::when], [a|b|c], nested. As in AUTOMATIC1111's webui (modules/prompt_parser.py).
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lorikeet {

struct ScheduledText {
  int end_step;  // the text is used up to and including this step, counted from 1
  std::string text;
};

struct ScheduleSteps {
  int steps = 20;
  // The second pass of a hires fix has steps of its own and goes on where the first pass ended: its `steps` are hires_steps, and
  // `when` counts the base_steps before them: 1..base_steps (0.0..1.0) is the first pass, base_steps + 1.. (1.0..2.0) the second.
  std::optional<int> hires_steps = {};
  // The webui before 1.6: numbers below 1 are a share of the steps, all others steps, in each pass from the start.
  bool old_rules = false;
};

// At least one entry; the last one's end_step is the number of steps. `when` with a point is a share of the steps, without one a step.
// A prompt that the grammar does not take (a '|' outside of brackets, a lone backslash at the end) comes back as it is.
// Where brackets do not match, those that form a whole [ ] or ( ) are syntax and the others are text (there the webui itself
// is not certain: its grammar is ambiguous, and its choice varies from start to start).
std::vector<ScheduledText> parse_schedule(std::string_view prompt, const ScheduleSteps& steps);

}  // namespace lorikeet
