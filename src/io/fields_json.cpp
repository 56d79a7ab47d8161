#include "io/fields_json.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"

namespace lorikeet {

namespace {
using nlohmann::json;

[[noreturn]] void refuse(const Field& field, const json& value, const std::string& wanted) {
  std::string shown = value.dump(-1, ' ', false, json::error_handler_t::replace);
  if (shown.size() > 80) shown = shown.substr(0, 77) + "…";
  throw Error(ErrorKind::bad_input, "\"" + std::string(field.name) + "\" wants " + wanted + ", not " + shown);
}
}  // namespace

void ReadJson::operator()(int64_t& member, const Field& field) const {
  if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
    refuse(field, value, "a smaller number");
  if (value.is_number_integer()) {
    member = value.get<int64_t>();
  } else if (value.is_number_float() && std::floor(value.get<double>()) == value.get<double>() && std::abs(value.get<double>()) < 9e15) {
    member = static_cast<int64_t>(value.get<double>());  // JavaScript may write 20 as 20.0
  } else {
    refuse(field, value, "a whole number");
  }
}

void ReadJson::operator()(int& member, const Field& field) const {
  int64_t wide = 0;
  (*this)(wide, field);
  if (wide < std::numeric_limits<int>::min() || wide > std::numeric_limits<int>::max()) refuse(field, value, "a smaller number");
  member = static_cast<int>(wide);
}

void ReadJson::operator()(double& member, const Field& field) const {
  if (!value.is_number()) refuse(field, value, "a number");
  member = value.get<double>();
}

void ReadJson::operator()(bool& member, const Field& field) const {
  if (!value.is_boolean()) refuse(field, value, "true or false");
  member = value.get<bool>();
}

void ReadJson::operator()(std::string& member, const Field& field) const {
  if (!value.is_string()) refuse(field, value, "a text");
  member = value.get<std::string>();
}

void ReadJson::operator()(std::vector<std::string>& member, const Field& field) const {
  const bool texts = value.is_array() && std::ranges::all_of(value, [](const json& one) { return one.is_string(); });
  if (!value.is_string() && !texts) refuse(field, value, "a text, or a list of texts");
  member = texts ? value.get<std::vector<std::string>>() : std::vector<std::string>{value.get<std::string>()};
}

void ReadJson::operator()(PictureSource& member, const Field& field) const {
  if (!value.is_string()) refuse(field, value, "a picture as \"data:image/png;base64,…\", or a path");
  ReadText{value.get_ref<const std::string&>()}(member, field);
}

size_t ReadJson::choice_index(const Field& field, std::span<const Choice> choices) const {
  if (value.is_string()) return index_of_choice(field, choices, value.get_ref<const std::string&>());
  if (value.is_number_integer() && value >= 0 && value < choices.size()) return value.get<size_t>();  // A1111's resize_mode is a number
  std::vector<std::string> names;
  for (const Choice& choice : choices) names.emplace_back(choice.name);
  refuse(field, value, "one of " + join(names, ", "));
}

}  // namespace lorikeet
