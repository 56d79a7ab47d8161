// Reading bodies as pydantic does for A1111: lenient about numbers and yes-or-no, 422 with the field for the rest.
#pragma once
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/text.h"
#include "io/fields.h"
#include "server/problem.h"

namespace lorikeet {

struct ReadSdapi {
  const nlohmann::json& value;

  void operator()(int64_t& member, const Field& field) const {
    member = static_cast<int64_t>(number(field, "value is not a valid integer", "type_error.integer"));
  }
  void operator()(int& member, const Field& field) const {
    const double read = number(field, "value is not a valid integer", "type_error.integer");
    if (std::abs(read) > 2147483647) refuse(field, "value is too large", "value_error.number");
    member = static_cast<int>(read);
  }
  void operator()(double& member, const Field& field) const { member = number(field, "value is not a valid float", "type_error.float"); }
  void operator()(bool& member, const Field& field) const;
  void operator()(std::string& member, const Field& field) const;
  void operator()(std::vector<std::string>& member, const Field& field) const;
  template <class T>
  void operator()(std::optional<T>& member, const Field& field) const {
    (*this)(member.emplace(), field);
  }

 private:
  double number(const Field& field, const char* message, const char* type) const;
  [[noreturn]] void refuse(const Field& field, const std::string& message, const std::string& type) const;
};

// Reads the members that S has; null is not given. -> the names of the others.
template <class S>
std::vector<std::string> read_sdapi_fields(S& to, const nlohmann::json& body, std::vector<std::string>* given = nullptr) {
  if (!body.is_object()) throw FieldError("body", "value is not a valid dict", "type_error.dict");
  std::vector<std::string> others;
  for (const auto& [key, value] : body.items()) {
    const bool known = visit_field(to, key, [&, &member_value = value](auto& member, const Field& field) {
      if constexpr (requires { ReadSdapi{member_value}(member, field); }) {
        if (member_value.is_null()) return;
        ReadSdapi{member_value}(member, field);
        if (given) given->push_back(std::string(field.name));
      }
    });
    if (!known) others.push_back(key);
  }
  return others;
}

}  // namespace lorikeet
