#include "prompt/lora_tag.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "prompt/python_number.h"

namespace lorikeet {

namespace {

constexpr std::string_view kForms =
    "write <lora:name:0.8>, or <lora:name:te:unet:dyn> with two multipliers and a whole number of ranks; a multiplier may be a list such "
    "as "
    "0@0,1@0.5";

[[noreturn]] void fail(const ExtraNetworkTag& tag, const std::string& what, std::string_view hint = kForms) {
  throw Error(ErrorKind::bad_input, tag.text + ": " + what, std::string(hint));
}

// --- one value each: from the text of an argument ---

double read_number(const ExtraNetworkTag& tag, std::string_view text, const std::string& what, std::string_view hint = kForms) {
  const auto value = python_float(text);
  if (!value) fail(tag, what + " \"" + std::string(text) + "\" is no number", hint);
  return *value;
}

MultiplierCurve::Point read_point(const ExtraNetworkTag& tag, std::string_view text) {
  constexpr std::string_view kHint = "write multiplier@position with commas between: 0@0,1@0.5";
  const size_t at = text.find('@');
  if (at == std::string_view::npos) fail(tag, "\"" + std::string(text) + "\" in a list of multipliers has no position", kHint);
  const double value = read_number(tag, text.substr(0, at), "the multiplier", kHint);
  const double position = read_number(tag, text.substr(at + 1), "the position", kHint);
  if (!std::isfinite(position) || position < 0)
    fail(tag, "the position \"" + std::string(text.substr(at + 1)) + "\" is not in the run", kHint);
  return {position, value};
}

MultiplierCurve read_multiplier(const ExtraNetworkTag& tag, const std::string& text) {
  if (text.find('@') == std::string::npos) {
    const auto value = python_float(text);
    // The extension's old form <lora:name:1:PRESET>.
    const bool word = !text.empty() && std::ranges::all_of(text, [](unsigned char c) { return std::isalnum(c); }) && !std::isdigit(text[0]);
    if (!value)
      fail(tag, "the multiplier \"" + text + "\" is no number",
           word ? "a preset of block weights is written lbw=" + text : std::string(kForms));
    return MultiplierCurve(*value);
  }
  std::vector<MultiplierCurve::Point> points;
  const std::string list = replace_all(text, ";", ",");
  for (const auto item : split(list, ',')) points.push_back(read_point(tag, item));
  std::ranges::stable_sort(points, {}, &MultiplierCurve::Point::position);
  return MultiplierCurve(std::move(points));
}

int64_t read_rank(const ExtraNetworkTag& tag, const std::string& text) {
  const auto value = python_int(text);
  if (!value) fail(tag, "the number of ranks \"" + text + "\" is no whole number");
  return *value;
}

StepMark read_step(const ExtraNetworkTag& tag, std::string_view text) {
  constexpr std::string_view kHint =
      "write a step, counted from 1 (start=5), or with a point a share of the steps (start=0.25); step=5-10 and step=0.2-0.6 are both ends";
  const auto number = parse_double(trim(text));
  const bool share = text.find('.') != std::string_view::npos;
  const bool whole = number && *number == std::floor(*number);
  if (!number || *number < 0 || (share ? *number > 1 : !whole)) fail(tag, "\"" + std::string(text) + "\" is no step", kHint);
  return {*number, share};
}

void read_steps(const ExtraNetworkTag& tag, const std::string& text, LoraTag& lora) {
  const auto ends = split(text, '-');
  if (ends.size() != 2)
    fail(tag, "step=" + text + " is no range of steps", "write step=5-10, or with points shares of the steps: step=0.2-0.6");
  lora.start = read_step(tag, ends[0]);
  lora.stop = read_step(tag, ends[1]);
}

SideSpan read_span(const ExtraNetworkTag& tag, const std::string& name, const std::string& text) {
  const std::string hint = "write two shares of the side with '-' between: " + name + "=0-0.5";
  const auto ends = split(text, '-');
  const auto from = parse_double(trim(ends[0])), to = ends.size() == 2 ? parse_double(trim(ends[1])) : std::nullopt;
  if (!from || !to) fail(tag, name + "=" + text + " is no part of the picture", hint);
  if (*from < 0 || *to > 1 || *from >= *to) fail(tag, name + "=" + text + " is not a part of the picture, which goes from 0 to 1", hint);
  return {*from, *to};
}

std::string read_blocks(const ExtraNetworkTag& tag, const std::string& text) {
  if (trim(text).empty()) fail(tag, "lbw= is empty", "write block weights, lbw=1,0,…, or a preset, lbw=MIDD");
  return std::string(trim(text));
}

std::string read_mask(const ExtraNetworkTag& tag, const std::string& text) {
  if (trim(text).empty()) fail(tag, "mask= is empty", "name a picture: mask=left.png");
  return std::string(trim(text));
}

// --- the arguments by name ---

struct Argument {
  std::string_view name;
  void (*read)(const ExtraNetworkTag& tag, const std::string& value, LoraTag& lora);
};

// In the order in which they are read: hr= before the two that are more exact.
constexpr auto kArguments = std::to_array<Argument>({
    {"te", [](auto& tag, auto& value, auto& lora) { lora.te = read_multiplier(tag, value); }},
    {"unet", [](auto& tag, auto& value, auto& lora) { lora.unet = read_multiplier(tag, value); }},
    {"dyn", [](auto& tag, auto& value, auto& lora) { lora.dyn = read_rank(tag, value); }},
    {"hr", [](auto& tag, auto& value, auto& lora) { lora.hr_te = lora.hr_unet = read_multiplier(tag, value); }},
    {"hrte", [](auto& tag, auto& value, auto& lora) { lora.hr_te = read_multiplier(tag, value); }},
    {"hrunet", [](auto& tag, auto& value, auto& lora) { lora.hr_unet = read_multiplier(tag, value); }},
    {"lbw", [](auto& tag, auto& value, auto& lora) { lora.blocks = read_blocks(tag, value); }},
    {"start", [](auto& tag, auto& value, auto& lora) { lora.start = read_step(tag, value); }},
    {"stop", [](auto& tag, auto& value, auto& lora) { lora.stop = read_step(tag, value); }},
    {"step", [](auto& tag, auto& value, auto& lora) { read_steps(tag, value, lora); }},
    {"mask", [](auto& tag, auto& value, auto& lora) { lora.mask = read_mask(tag, value); }},
    {"x", [](auto& tag, auto& value, auto& lora) { lora.x = read_span(tag, "x", value); }},
    {"y", [](auto& tag, auto& value, auto& lora) { lora.y = read_span(tag, "y", value); }},
});

constexpr auto kNames = [] {
  std::array<std::string_view, kArguments.size()> names;
  for (size_t i = 0; i < names.size(); ++i) names[i] = kArguments[i].name;
  return names;
}();

void refuse_unknown(const ExtraNetworkTag& tag) {
  for (const auto& [name, value] : tag.named) {
    if (std::ranges::find(kNames, name) != kNames.end()) continue;
    const std::vector<std::string> known(kNames.begin(), kNames.end());
    const std::string near = did_you_mean(trim(name), known);
    fail(tag, "'" + name + "=' is not known in a LoRA's tag", near.empty() ? "there are " + join(known, "=, ") + "=" : near);
  }
}

void check_steps(const ExtraNetworkTag& tag, const LoraTag& lora) {
  if (lora.start && lora.stop && lora.start->share == lora.stop->share && lora.stop->value <= lora.start->value)
    fail(tag, "it stops before it starts, so that it would never work", "step=5-10: from step 5 on, until before step 10");
}

}  // namespace

MultiplierCurve::MultiplierCurve(std::vector<Point> points) : points_(std::move(points)) {
  const bool rising = std::ranges::is_sorted(points_, {}, &Point::position);
  if (points_.empty() || !rising) throw Error(ErrorKind::internal, "a curve of multipliers without rising positions");
}

double MultiplierCurve::at(int step, int steps) const {
  const bool shares = points_.back().position <= 1;
  const double at = !shares ? step + 1 : steps > 1 ? static_cast<double>(step) / (steps - 1) : 0;
  const auto behind = std::ranges::upper_bound(points_, at, {}, &Point::position);
  if (behind == points_.begin()) return points_.front().value;
  const Point& before = *(behind - 1);
  if (behind == points_.end() || before.value == behind->value) return before.value;
  return before.value + (behind->value - before.value) * ((at - before.position) / (behind->position - before.position));
}

bool MultiplierCurve::is_zero() const {
  return std::ranges::all_of(points_, [](const Point& point) { return point.value == 0; });
}

bool MultiplierCurve::is_finite() const {
  return std::ranges::all_of(points_, [](const Point& point) { return std::isfinite(point.value); });
}

// Half of 5 steps is 2.5 steps, and reached with the third done; what a share like 0.3 of 10 loses in binary must not cost a step.
bool StepMark::reached(int step, int steps) const { return share ? step >= value * steps - 1e-9 : step + 1 >= value; }

bool LoraTag::is_off() const {
  const auto zero = [](const std::optional<MultiplierCurve>& curve) { return !curve || curve->is_zero(); };
  return te.is_zero() && unet.is_zero() && zero(hr_te) && zero(hr_unet);
}

bool LoraTag::is_finite() const {
  const auto finite = [](const std::optional<MultiplierCurve>& curve) { return !curve || curve->is_finite(); };
  return te.is_finite() && unet.is_finite() && finite(hr_te) && finite(hr_unet);
}

std::span<const std::string_view> lora_arguments() { return kNames; }

LoraTag parse_lora_tag(const ExtraNetworkTag& tag) {
  if (tag.positional.empty()) fail(tag, "the name is missing");
  refuse_unknown(tag);
  LoraTag lora;
  lora.text = tag.text;
  lora.name = tag.positional[0];
  // Positional ones first, named ones win. All are read, so that a malformed one is always reported.
  if (tag.positional.size() > 1) lora.te = read_multiplier(tag, tag.positional[1]);
  const auto unet = tag.positional.size() > 2 ? std::optional(read_multiplier(tag, tag.positional[2])) : std::nullopt;
  if (tag.positional.size() > 3) lora.dyn = read_rank(tag, tag.positional[3]);
  for (size_t i = 4; i < tag.positional.size(); ++i) lora.surplus.push_back(tag.positional[i]);
  for (const Argument& argument : kArguments)
    if (const auto named = tag.named.find(std::string(argument.name)); named != tag.named.end()) argument.read(tag, named->second, lora);
  if (!tag.named.contains("unet")) lora.unet = unet.value_or(lora.te);
  check_steps(tag, lora);
  return lora;
}

std::string with_multiplier(const ExtraNetworkTag& tag, std::string_view multiplier) {
  const std::string value(multiplier);
  std::string text = "<" + tag.type + ":" + (tag.positional.empty() ? "" : tag.positional[0]) + ":" + value;
  if (tag.positional.size() > 3) text += ":" + value + ":" + tag.positional[3];
  for (const auto& item : tag.items) {
    if (std::ranges::find(tag.positional, item) != tag.positional.end()) continue;
    const std::string name = item.substr(0, item.find('='));
    if (name != "te" && name != "unet") text += ":" + item;
  }
  return text + ">";
}

}  // namespace lorikeet
