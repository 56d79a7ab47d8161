// The axes of a plot: reading "key=values", and what each kind of key does to a request.
#include "generate/plot_axes.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <regex>

#include "base/error.h"
#include "base/text.h"
#include "generate/plot.h"
#include "prompt/lora_tag.h"

namespace lorikeet {

namespace {
constexpr std::string_view kLora = "lora:";
// Settings that say how many pictures there are and how they are stored, not what they show.
constexpr std::string_view kNotOfThePicture[] = {"batch_size", "n_iter", "format", "quality", "allow_missing"};

// "CFG scale" and "cfg-scale" are cfg_scale.
std::string setting_name(std::string_view key) { return replace_all(replace_all(lower(key), "-", "_"), " ", "_"); }

const FieldInfo* find_setting(std::string_view key) {
  for (const FieldInfo& info : field_list())
    if (info.field.name == setting_name(key)) return &info;
  return nullptr;
}

// All texts in which a prompt can stand. Only those that are in use: an empty hr_prompt follows the prompt.
template <class Change>
void each_prompt(Request& request, bool negative_too, Change change) {
  for (std::string& prompt : request.prompts) change(prompt);
  if (!request.hr_prompt.empty()) change(request.hr_prompt);
  if (!negative_too) return;
  change(request.negative_prompt);
  if (!request.hr_negative_prompt.empty()) change(request.hr_negative_prompt);
}

bool replace_in_prompts(Request& request, const std::string& from, const std::string& to) {
  bool found = false;
  each_prompt(request, true, [&](std::string& prompt) {
    found = found || prompt.find(from) != std::string::npos;
    prompt = replace_all(prompt, from, to);
  });
  return found;
}

// Gives the LoRA this multiplier, of text encoder and U-Net alike: in its first tag, where the other arguments stay; others of the same name
// go; without one, in a tag at the end.
std::string with_multiplier(std::string prompt, const std::string& name, const std::string& value) {
  bool placed = false;
  for (const ExtraNetworkTag& tag : take_extra_networks(prompt).tags) {
    if (!tag.is_lora() || tag.positional.empty() || tag.positional[0] != name) continue;
    prompt.replace(prompt.find(tag.text), tag.text.size(), placed ? "" : with_multiplier(tag, value));
    placed = true;
  }
  return placed ? prompt : prompt + "<lora:" + name + ":" + value + ">";
}

// --- the kinds ---

bool is_setting(std::string_view key) { return find_setting(key) != nullptr; }
bool is_search(std::string_view key) { return setting_name(key) == "prompt_sr" || setting_name(key) == "prompt_s/r"; }
bool is_word(std::string_view key) {
  return key.size() > 2 && key.front() == '{' && key.back() == '}' &&
         key.substr(1, key.size() - 2).find_first_of("{}") == std::string_view::npos;
}
bool is_lora(std::string_view key) { return starts_with(key, kLora) && key.size() > kLora.size(); }
bool is_model(std::string_view key) { return lower(key) == "model"; }

bool put_setting(PlannedCell& cell, const PlotAxis& axis, size_t index) {
  const std::string name = setting_name(axis.key);
  clear_if_list(cell.request, name);
  set_field(cell.request, name, axis.values[index]);
  return true;
}
bool put_search(PlannedCell& cell, const PlotAxis& axis, size_t index) {
  return replace_in_prompts(cell.request, axis.values[0], axis.values[index]);
}
bool put_word(PlannedCell& cell, const PlotAxis& axis, size_t index) {
  return replace_in_prompts(cell.request, axis.key, axis.values[index]);
}
bool put_lora(PlannedCell& cell, const PlotAxis& axis, size_t index) {
  const std::string name = axis.key.substr(kLora.size());
  each_prompt(cell.request, false, [&](std::string& prompt) { prompt = with_multiplier(prompt, name, axis.values[index]); });
  return true;
}
bool put_model(PlannedCell& cell, const PlotAxis& axis, size_t index) {
  cell.model = axis.values[index];
  return true;
}

std::string title_of_setting(std::string_view key) {
  const std::string name = setting_name(key);
  std::string title(name);
  const auto take = [&](const auto&, const Field& field, const InfotextKey& infotext) {
    if (field.name == name && !infotext.key.empty() && !ends_with(infotext.key, "-1") && !ends_with(infotext.key, "-2"))
      title = infotext.key;
  };
  const Request any;
  fields(take, any);
  return replace_all(title, "_", " ");
}
std::string title_of_search(std::string_view) { return "Prompt S/R"; }
std::string title_of_word(std::string_view key) { return std::string(key.substr(1, key.size() - 2)); }
std::string title_of_lora(std::string_view key) { return "LoRA " + std::string(key.substr(kLora.size())); }
std::string title_of_model(std::string_view) { return "Checkpoint name"; }

// In this order axes are applied: a prompt from an axis is there before something is searched for in it.
constexpr AxisKind kKinds[] = {
    {{"SETTING", "any setting of \"generate\": steps, cfg_scale, seed, sampler, schedule, width, prompt, …"},
     is_setting,
     title_of_setting,
     put_setting},
    {{"prompt_sr", "searches the prompts for the first value and puts each value there (A1111's Prompt S/R)"},
     is_search,
     title_of_search,
     put_search},
    {{"{WORD}", "puts each value where {WORD} stands in the prompts, or in values of another axis"},
     is_word,
     title_of_word,
     put_word,
     true},
    {{"lora:NAME", "the multiplier of this LoRA: in its tag in the prompt, else in a new one"}, is_lora, title_of_lora, put_lora},
    {{"model", "another checkpoint"}, is_model, title_of_model, put_model}};

// --- values ---

// Fields of one line of CSV (RFC 4180), white space around them gone, empty ones behind a last comma left out.
std::vector<std::string> csv_fields(std::string_view text) {
  std::vector<std::string> fields;
  for (size_t at = 0; at <= text.size();) {
    while (at < text.size() && text[at] == ' ') ++at;
    std::string field;
    if (at < text.size() && text[at] == '"') {
      for (++at; at < text.size() && (text[at] != '"' || (at + 1 < text.size() && text[at + 1] == '"')); ++at) {
        if (text[at] == '"') ++at;
        field += text[at];
      }
      if (at >= text.size())
        refuse("a double quote is not closed", "\"a, b\", c are two values; a quote inside of a value is written twice");
      const size_t comma = std::min(text.find(',', at), text.size());
      if (!trim(text.substr(at + 1, comma - at - 1)).empty())
        refuse("something stands behind a closing double quote", "put a comma after it");
      at = comma;
    } else {
      const size_t comma = std::min(text.find(',', at), text.size());
      field = trim(text.substr(at, comma - at));
      at = comma;
    }
    if (at < text.size() || !field.empty() || fields.empty()) fields.push_back(std::move(field));
    ++at;
  }
  return fields;
}

// A1111's ranges (scripts/xyz_grid.py): start "-" end, then "(+step)" or "[count]".
struct NumberRange {
  double first, last, step = 1;
  std::optional<int64_t> count;
};

std::optional<NumberRange> read_range(const std::string& text) {
  static const std::regex kRange(
      R"(\s*([+-]?\s*\d+(?:\.\d*)?)\s*-\s*([+-]?\s*\d+(?:\.\d*)?)\s*(?:\(\s*([+-]\d*\.?\d+)\s*\)|\[\s*(\d{1,4})\s*\])?\s*)");
  std::smatch found;
  if (!std::regex_match(text, found, kRange)) return std::nullopt;
  const auto number = [&](size_t group) { return std::stod(replace_all(found[group].str(), " ", "")); };
  NumberRange range{.first = number(1), .last = number(2), .count = {}};
  if (found[3].matched) range.step = number(3);
  if (found[4].matched) range.count = std::stoll(found[4].str());
  return range;
}

// Whole steps from the first number on, as far as the end; the tolerance makes up for steps such as 0.1 that doubles do not hold exactly.
std::vector<double> numbers_of(const NumberRange& range, const std::string& text) {
  std::vector<double> numbers;
  if (range.count) {
    for (int64_t i = 0; i < *range.count; ++i)
      numbers.push_back(*range.count == 1
                            ? range.first
                            : range.first + (range.last - range.first) * static_cast<double>(i) / static_cast<double>(*range.count - 1));
    return numbers;
  }
  if (range.step == 0 || (range.last - range.first) / range.step < 0)
    refuse("the range " + text + " is empty", "a range goes from its first number to its second");
  const double steps = std::floor((range.last - range.first) / range.step + 1e-9);
  if (steps >= kMostPlotCells) refuse("the range " + text + " has more than " + std::to_string(kMostPlotCells) + " values");
  for (double i = 0; i <= steps; ++i) numbers.push_back(range.first + i * range.step);
  return numbers;
}

// Decimals of a range, free of what doubles leave over (0.1 · 3 = 0.30000000000000004).
std::string plain_number(double value) { return format_number(std::round(value * 1e9) / 1e9 + 0.0); }

enum class Numbers { none, whole, any, if_plain };  // if_plain: a text, but "0-1 [5]" and "0-1 (+0.5)" can only be ranges
Numbers numbers_on(const PlotAxis& axis) {
  if (is_lora(axis.key)) return Numbers::any;
  if (is_word(axis.key)) return Numbers::if_plain;
  const FieldInfo* setting = find_setting(axis.key);
  if (!setting) return Numbers::none;
  return setting->type == FieldType::whole_number ? Numbers::whole : setting->type == FieldType::number ? Numbers::any : Numbers::none;
}

void add_values(PlotAxis& axis, const std::string& text) {
  const Numbers numbers = numbers_on(axis);
  const bool possible = numbers != Numbers::none && (numbers != Numbers::if_plain || text.find_first_of("([") != std::string::npos);
  const auto range = possible ? read_range(text) : std::nullopt;
  if (!range) {
    if (is_lora(axis.key) && !parse_double(text)) refuse("the multiplier \"" + text + "\" is no number");
    axis.values.push_back(text);
    return;
  }
  for (const double number : numbers_of(*range, text))
    axis.values.push_back(numbers == Numbers::whole ? std::to_string(static_cast<int64_t>(number)) : plain_number(number));
}

[[noreturn]] void refuse_key(const std::string& key) {
  std::vector<std::string> names{"prompt_sr", "model"};
  for (const FieldInfo& info : field_list()) names.emplace_back(info.field.name);
  const std::string near = did_you_mean(setting_name(key), names);
  std::vector<std::string> forms;
  for (const AxisKind& kind : kKinds) forms.emplace_back(kind.info.spelling);
  refuse("an axis cannot be \"" + key + "\"", near.empty() ? "it is one of " + join(forms, ", ") : near);
}
}  // namespace

std::span<const AxisKind> axis_kind_table() { return kKinds; }

std::span<const AxisKindInfo> axis_kinds() {
  static const auto list = [] {
    std::vector<AxisKindInfo> infos;
    for (const AxisKind& kind : kKinds) infos.push_back(kind.info);
    return infos;
  }();
  return list;
}

const AxisKind& kind_of(const PlotAxis& axis) {
  for (const AxisKind& kind : kKinds) {
    if (!kind.reads(axis.key)) continue;
    const std::string name = setting_name(axis.key);
    if (std::ranges::find(kNotOfThePicture, name) != std::end(kNotOfThePicture))
      refuse(name + " changes nothing in a picture, so it is no axis");
    return kind;
  }
  refuse_key(axis.key);
}

void check_axes(std::span<const PlotAxis> axes) {
  for (const PlotAxis& axis : axes) {
    if (axis.empty()) continue;
    kind_of(axis);
    if (axis.values.empty()) refuse("the axis " + axis.key + " has no values");
    const auto same = std::ranges::count_if(axes, [&](const PlotAxis& other) { return setting_name(other.key) == setting_name(axis.key); });
    if (same > 1 && !is_search(axis.key)) refuse("two axes change " + axis.key, "give each side something else to change");
  }
}

void fix_random_seeds(PlotAxis& axis, int64_t (*draw)()) {
  const std::string name = setting_name(axis.key);
  if (name != "seed" && name != "subseed") return;
  for (std::string& value : axis.values)
    if (parse_int(trim(value)) == -1) value = std::to_string(draw());
}

PlotAxis read_plot_axis(std::string_view text) {
  const size_t equals = text.find('=');
  PlotAxis axis{.key = std::string(trim(text.substr(0, equals))), .values = {}};
  return with_context("while reading the axis \"" + std::string(text.substr(0, 80)) + "\"", [&] {
    if (equals == std::string_view::npos) refuse("the values are missing", "write KEY=VALUE,VALUE, for example steps=10,20,30");
    kind_of(axis);
    for (const std::string& field : csv_fields(text.substr(equals + 1))) add_values(axis, field);
    return axis;
  });
}

std::string axis_title(const PlotAxis& axis) { return kind_of(axis).title(axis.key); }

std::string value_label(std::string_view value) {
  if (const auto number = parse_double(value)) return format_number(std::round(*number * 1e4) / 1e4 + 0.0);
  const TaggedPrompt tagged = take_extra_networks(value);
  if (tagged.tags.empty() || !trim(tagged.text).empty()) return std::string(trim(value));
  std::vector<std::string> names;
  for (const ExtraNetworkTag& tag : tagged.tags) {
    std::string label = tag.items[0];
    const bool multiplied = tag.positional.size() > 1 && parse_double(tag.positional[1]);
    for (size_t i = 1; multiplied && i < tag.positional.size(); ++i) label += (i == 1 ? " " : ":") + tag.positional[i];
    for (size_t i = 1; i < tag.items.size(); ++i)
      if (std::ranges::find(tag.positional, tag.items[i]) == tag.positional.end()) label += " " + tag.items[i];
    names.push_back(label);
  }
  return join(names, " + ");
}

std::string values_text(const PlotAxis& axis) {
  std::vector<std::string> fields;
  for (const std::string& value : axis.values) {
    const bool quoted = value.find_first_of(",\"") != std::string::npos || trim(value) != value || value.empty();
    fields.push_back(quoted ? "\"" + replace_all(value, "\"", "\"\"") + "\"" : value);
  }
  return join(fields, ",");
}

}  // namespace lorikeet
