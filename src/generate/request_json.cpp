// Request <-> JSON.
#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "generate/request_visit.h"
#include "io/picture_base64.h"

namespace lorikeet {

namespace {
using nlohmann::json;

[[noreturn]] void refuse(const Field& field, const json& value, const std::string& wanted) {
  std::string shown = value.dump(-1, ' ', false, json::error_handler_t::replace);
  if (shown.size() > 80) shown = shown.substr(0, 77) + "…";
  throw Error(ErrorKind::bad_input, "\"" + std::string(field.name) + "\" wants " + wanted + ", not " + shown);
}

// Reads one value into one member.
struct ReadValue {
  const json& value;

  void operator()(int64_t& member, const Field& field) const {
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
  void operator()(int& member, const Field& field) const {
    int64_t wide = 0;
    (*this)(wide, field);
    if (wide < std::numeric_limits<int>::min() || wide > std::numeric_limits<int>::max()) refuse(field, value, "a smaller number");
    member = static_cast<int>(wide);
  }
  void operator()(double& member, const Field& field) const {
    if (!value.is_number()) refuse(field, value, "a number");
    member = value.get<double>();
  }
  void operator()(std::optional<double>& member, const Field& field) const {
    if (value.is_null()) {
      member.reset();
    } else {
      (*this)(member.emplace(), field);
    }
  }
  void operator()(bool& member, const Field& field) const {
    if (!value.is_boolean()) refuse(field, value, "true or false");
    member = value.get<bool>();
  }
  void operator()(std::string& member, const Field& field) const {
    if (!value.is_string()) refuse(field, value, "a text");
    member = value.get<std::string>();
  }
  void operator()(std::vector<std::string>& member, const Field& field) const {
    const bool texts = value.is_array() && std::all_of(value.begin(), value.end(), [](const json& one) { return one.is_string(); });
    if (!value.is_string() && !texts) refuse(field, value, "a text, or a list of texts");
    member = texts ? value.get<std::vector<std::string>>() : std::vector<std::string>{value.get<std::string>()};
  }
  void operator()(PictureSource& member, const Field& field) const {
    if (!value.is_string()) refuse(field, value, "a picture as \"data:image/png;base64,…\", or a path");
    ReadText{value.get_ref<const std::string&>()}(member, field);
  }
  template <Enum E>
  void operator()(E& member, const Field& field) const {
    const auto all = choices(E{});
    if (value.is_string()) {
      member = enum_named<E>(field, value.get_ref<const std::string&>());
    } else if (value.is_number_integer() && value >= 0 && value < all.size()) {  // A1111's resize_mode and inpainting_fill are numbers
      member = static_cast<E>(value.get<int>());
    } else {
      std::vector<std::string> names;
      for (const Choice& choice : all) names.emplace_back(choice.name);
      refuse(field, value, "one of " + join(names, ", "));
    }
  }
};

struct WriteAll {
  json& result;

  template <class T>
  void operator()(const T& member, const Field& field) {
    result[std::string(field.name)] = as_json(member);
  }
  template <class T>
  requires(!Enum<T>) static json as_json(const T& member) { return member; }
  template <Enum E>
  static json as_json(const E& member) {
    return choice_of(member).name;
  }
  static json as_json(const std::optional<double>& member) { return member ? json(*member) : json(nullptr); }
  static json as_json(const std::vector<std::string>& member) { return member.size() == 1 ? json(member[0]) : json(member); }
  static json as_json(const PictureSource& member) { return member.picture ? to_data_uri(*member.picture) : member.path; }
};
}  // namespace

Request request_from_json(const json& object, const Request& base) {
  if (!object.is_object()) throw Error(ErrorKind::bad_input, "a request is a JSON object, {\"prompt\": …}");
  Request request = base;
  for (const auto& [key, value] : object.items()) {
    if (visit_field(request, key, ReadValue{value})) continue;
    std::vector<std::string> names;
    for (const FieldInfo& info : field_list()) names.emplace_back(info.field.name);
    throw Error(ErrorKind::bad_input, "there is no setting \"" + key.substr(0, 80) + "\"", did_you_mean(key.substr(0, 80), names));
  }
  return request;
}

json request_to_json(const Request& request) {
  json result = json::object();
  WriteAll write{result};
  fields(write, request);
  return result;
}

}  // namespace lorikeet
