#include "io/fields.h"

#include "base/error.h"
#include "base/text.h"

namespace lorikeet {

namespace {
constexpr size_t kMostShown = 80;  // characters of a bad value in an error

[[noreturn]] void refuse_text(const Field& field, std::string_view text, const std::string& wanted) {
  refuse(std::string(field.name) + " wants " + wanted + ", not \"" + std::string(text.substr(0, kMostShown)) + "\"");
}

std::string in_range(const Field& field) {
  const bool open = field.range.most == std::numeric_limits<double>::max();
  const std::string give = field.range.or_zero ? "give 0, or " : "give ";
  return open ? give + format_number(field.range.least) + " or more"
              : give + "a value from " + format_number(field.range.least) + " to " + format_number(field.range.most);
}

void check_utf8(const std::string& text, const Field& field) {
  if (!is_valid_utf8(text)) refuse(std::string(field.name) + " is not valid UTF-8 text");
}
}  // namespace

size_t index_of_choice(const Field& field, std::span<const Choice> choices, std::string_view text) {
  const std::string low = lower(trim(text));
  std::vector<std::string> names;
  for (size_t i = 0; i < choices.size(); ++i) {
    if (lower(choices[i].name) == low || lower(choices[i].label) == low) return i;
    if (!choices[i].name.empty()) names.emplace_back(choices[i].name);
  }
  const std::string near = did_you_mean(text, names);
  refuse("\"" + std::string(text) + "\" is not a value of " + std::string(field.name),
         (near.empty() ? "" : near + " ") + "there are " + join(names, ", "));
}

bool ReadText::blank() const { return trim(text).empty(); }

void ReadText::operator()(int64_t& member, const Field& field) const {
  const auto value = parse_int(trim(text));
  if (!value) refuse_text(field, text, "a whole number");
  member = *value;
}

void ReadText::operator()(int& member, const Field& field) const {
  int64_t value = 0;
  (*this)(value, field);
  if (value < std::numeric_limits<int>::min() || value > std::numeric_limits<int>::max()) refuse_text(field, text, "a smaller number");
  member = static_cast<int>(value);
}

void ReadText::operator()(double& member, const Field& field) const {
  const auto value = parse_double(trim(text));
  if (!value) refuse_text(field, text, "a number");
  member = *value;
}

void ReadText::operator()(bool& member, const Field& field) const {
  const std::string low = lower(trim(text));
  const bool yes = low == "true" || low == "1" || low == "yes" || low == "on";
  if (!yes && low != "false" && low != "0" && low != "no" && low != "off") refuse_text(field, text, "true or false");
  member = yes;
}

void ReadText::operator()(PictureSource& member, const Field& field) const {
  with_context("while reading " + std::string(field.name), [&] { member = PictureSource::from_text(text); });
}

std::string text_of(double value) { return format_number(value); }
std::string text_of(const std::vector<std::string>& values) { return join(values, ", "); }

void CheckField::number(double value, const Field& field) const {
  if (value == 0 && field.range.or_zero) return;
  if (!(value >= field.range.least && value <= field.range.most))
    refuse(std::string(field.name) + " is " + format_number(value) + ", which is out of range", in_range(field));
}

void CheckField::operator()(std::string& value, const Field& field) const {
  check_utf8(value, field);
  if (!field.choices) return;
  const auto all = field.choices();
  value = all[index_of_choice(field, all, value)].name;
}

void CheckField::operator()(std::vector<std::string>& values, const Field& field) const {
  for (const auto& value : values) check_utf8(value, field);
}

void DescribeField::add(const Field& field, FieldType type, std::string default_text, std::span<const Choice> choices) {
  list.push_back(
      {field, type, "--" + replace_all(std::string(field.name), "_", "-"), std::move(default_text), {choices.begin(), choices.end()}});
}

void refuse_unknown_field(std::string_view name, std::span<const FieldInfo> known) {
  const std::string_view shown = name.substr(0, kMostShown);
  std::vector<std::string> names;
  for (const FieldInfo& info : known) names.emplace_back(info.field.name);
  refuse("there is no setting \"" + std::string(shown) + "\"", did_you_mean(shown, names));
}

}  // namespace lorikeet
