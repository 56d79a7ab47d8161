// Settings (io/fields.h) <-> JSON objects with the names of fields().
#pragma once
#include <nlohmann/json.hpp>

#include "io/fields.h"

namespace lorikeet {

// A JSON value into a member. Enums also take the number of the choice, lists also a single text, optionals null. Error{bad_input} names
// the setting, what it wants and what it got.
struct ReadJson {
  const nlohmann::json& value;
  void operator()(int& member, const Field& field) const;
  void operator()(int64_t& member, const Field& field) const;
  void operator()(double& member, const Field& field) const;
  void operator()(bool& member, const Field& field) const;
  void operator()(std::string& member, const Field& field) const;
  void operator()(std::vector<std::string>& member, const Field& field) const;
  void operator()(PictureSource& member, const Field& field) const;
  template <class T>
  void operator()(std::optional<T>& member, const Field& field) const {
    if (value.is_null())
      member.reset();
    else
      (*this)(member.emplace(), field);
  }
  template <Enum E>
  void operator()(E& member, const Field& field) const {
    member = static_cast<E>(choice_index(field, choices(E{})));
  }

 private:
  size_t choice_index(const Field& field, std::span<const Choice> choices) const;
};

// A member as JSON: what ReadJson reads back. A list of one text is that text.
template <class T>
nlohmann::json as_json(const T& member) {
  if constexpr (Enum<T>)
    return choice_of(member).name;
  else
    return member;
}
template <class T>
nlohmann::json as_json(const std::optional<T>& member) {
  return member ? nlohmann::json(*member) : nlohmann::json(nullptr);
}
inline nlohmann::json as_json(const std::vector<std::string>& member) {
  return member.size() == 1 ? nlohmann::json(member[0]) : nlohmann::json(member);
}
inline nlohmann::json as_json(const PictureSource& member) { return member.text(); }

// What the object does not name stays as it is. Error{bad_input}: an unknown key, a wrong type or choice.
template <class S>
void read_fields(S& settings, const nlohmann::json& object) {
  for (const auto& [key, value] : object.items())
    if (!visit_field(settings, key, ReadJson{value})) refuse_unknown_field(key, describe_fields(S{}));
}

// Every setting.
template <class S>
nlohmann::json write_fields(const S& settings) {
  nlohmann::json result = nlohmann::json::object();
  const auto write = [&](const auto& member, const Field& field) { result[std::string(field.name)] = as_json(member); };
  fields(write, settings);
  return result;
}

}  // namespace lorikeet
