#include "server/sdapi_fields.h"

#include <algorithm>

namespace lorikeet {

using nlohmann::json;

void ReadSdapi::refuse(const Field& field, const std::string& message, const std::string& type) const {
  throw FieldError(std::string(field.name), std::string(field.name) + ": " + message, type);
}

double ReadSdapi::number(const Field& field, const char* message, const char* type) const {
  double read = 0;
  if (value.is_number()) {
    read = value.get<double>();
  } else if (value.is_boolean()) {
    read = value.get<bool>() ? 1 : 0;
  } else {
    const auto text = value.is_string() ? parse_double(trim(value.get_ref<const std::string&>())) : std::nullopt;
    if (!text) refuse(field, message, type);
    read = *text;
  }
  if (!std::isfinite(read) || std::abs(read) > 9e15) refuse(field, message, type);
  return read;
}

void ReadSdapi::operator()(bool& member, const Field& field) const {
  const std::string word = value.is_string() ? lower(value.get_ref<const std::string&>()) : "";
  if (value.is_boolean())
    member = value.get<bool>();
  else if (value == 1 || word == "true" || word == "on" || word == "yes" || word == "1")
    member = true;
  else if (value == 0 || word == "false" || word == "off" || word == "no" || word == "0")
    member = false;
  else
    refuse(field, "value could not be parsed to a boolean", "type_error.bool");
}

void ReadSdapi::operator()(std::string& member, const Field& field) const {
  if (value.is_string())
    member = value.get<std::string>();
  else if (value.is_number())
    member = dump(value);
  else
    refuse(field, "str type expected", "type_error.str");
  if (!is_valid_utf8(member)) refuse(field, "the text is no UTF-8", "value_error");
}

void ReadSdapi::operator()(std::vector<std::string>& member, const Field& field) const {
  if (!value.is_array()) refuse(field, "value is not a valid list", "type_error.list");
  member.clear();
  for (const json& one : value) {
    if (!one.is_string()) refuse(field, "str type expected", "type_error.str");
    member.push_back(one.get<std::string>());
  }
}

}  // namespace lorikeet
