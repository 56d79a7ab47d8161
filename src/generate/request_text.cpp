// Request from single texts, and its list of settings for command lines, completion and help.
#include <limits>

#include "base/error.h"
#include "base/text.h"
#include "generate/request_visit.h"
#include "io/picture_base64.h"

namespace lorikeet {

namespace {
[[noreturn]] void refuse(const Field& field, std::string_view text, const std::string& wanted) {
  throw Error(ErrorKind::bad_input, std::string(field.name) + " wants " + wanted + ", not \"" + std::string(text.substr(0, 80)) + "\"");
}

// The kind, the default as text and the choices of each setting.
struct Describe {
  std::vector<FieldInfo>& list;

  void add(const Field& field, FieldType type, std::string value, std::span<const Choice> choices = {}) {
    list.push_back(
        {field, type, "--" + replace_all(std::string(field.name), "_", "-"), std::move(value), {choices.begin(), choices.end()}});
  }
  void operator()(const int& value, const Field& field) { add(field, FieldType::whole_number, std::to_string(value)); }
  void operator()(const int64_t& value, const Field& field) { add(field, FieldType::whole_number, std::to_string(value)); }
  void operator()(const double& value, const Field& field) { add(field, FieldType::number, format_number(value)); }
  void operator()(const std::optional<double>&, const Field& field) { add(field, FieldType::number, ""); }
  void operator()(const bool& value, const Field& field) { add(field, FieldType::yes_no, value ? "true" : "false"); }
  void operator()(const std::string& value, const Field& field) {
    if (field.choices)
      add(field, FieldType::choice, value, field.choices());
    else
      add(field, FieldType::text, value);
  }
  void operator()(const std::vector<std::string>&, const Field& field) { add(field, FieldType::texts, ""); }
  void operator()(const PictureSource&, const Field& field) { add(field, FieldType::picture, ""); }
  template <Enum E>
  void operator()(const E& value, const Field& field) {
    add(field, FieldType::choice, std::string(choice_of(value).name), choices(E{}));
  }
};
}  // namespace

void ReadText::operator()(int64_t& member, const Field& field) const {
  const auto value = parse_int(trim(text));
  if (!value) refuse(field, text, "a whole number");
  member = *value;
}

void ReadText::operator()(int& member, const Field& field) const {
  int64_t value = 0;
  (*this)(value, field);
  if (value < std::numeric_limits<int>::min() || value > std::numeric_limits<int>::max()) refuse(field, text, "a smaller number");
  member = static_cast<int>(value);
}

void ReadText::operator()(double& member, const Field& field) const {
  const auto value = parse_double(trim(text));
  if (!value) refuse(field, text, "a number");
  member = *value;
}

void ReadText::operator()(std::optional<double>& member, const Field& field) const {
  if (trim(text).empty()) {
    member.reset();
  } else {
    (*this)(member.emplace(), field);
  }
}

void ReadText::operator()(bool& member, const Field& field) const {
  const std::string low = lower(trim(text));
  const bool yes = low == "true" || low == "1" || low == "yes" || low == "on";
  if (!yes && low != "false" && low != "0" && low != "no" && low != "off") refuse(field, text, "true or false");
  member = yes;
}

void ReadText::operator()(PictureSource& member, const Field& field) const {
  if (!is_data_uri(text)) {
    member = {std::string(text), nullptr};
    return;
  }
  with_context("while reading " + std::string(field.name), [&] {
    member = {"", std::make_shared<const Picture>(picture_from_base64(text).picture)};
  });
}

std::span<const FieldInfo> field_list() {
  static const auto list = [] {
    std::vector<FieldInfo> result;
    const Request defaults;
    Describe describe{result};
    fields(describe, defaults);
    return result;
  }();
  return list;
}

void set_field(Request& request, std::string_view name, std::string_view text) {
  if (visit_field(request, name, ReadText{text})) return;
  std::vector<std::string> names;
  for (const FieldInfo& info : field_list()) names.emplace_back(info.field.name);
  throw Error(ErrorKind::bad_input, "there is no setting \"" + std::string(name) + "\"", did_you_mean(name, names));
}

}  // namespace lorikeet
