// Shared by the readers and writers of Request (request.cpp, request_text.cpp, request_json.cpp, infotext.cpp).
#pragma once
#include <type_traits>

#include "generate/request.h"

namespace lorikeet {

template <class E>
concept Enum = std::is_enum_v<E>;

// By name or label, any case. Error{bad_input} with the name of the setting and the near values.
const Choice& choice_named(const Field& field, std::span<const Choice> choices, std::string_view text);

template <Enum E>
E enum_named(const Field& field, std::string_view text) {
  const auto all = choices(E{});
  return static_cast<E>(&choice_named(field, all, text) - all.data());
}

template <Enum E>
const Choice& choice_of(E value) {
  return choices(E{})[static_cast<size_t>(value)];
}

// Reads text into one member; the errors name the setting.
struct ReadText {
  std::string_view text;
  void operator()(int& member, const Field& field) const;
  void operator()(int64_t& member, const Field& field) const;
  void operator()(double& member, const Field& field) const;
  void operator()(std::optional<double>& member, const Field& field) const;  // "" is unset
  void operator()(bool& member, const Field& field) const;
  void operator()(std::string& member, const Field&) const { member = text; }
  void operator()(std::vector<std::string>& member, const Field&) const { member.emplace_back(text); }
  void operator()(PictureSource& member, const Field& field) const;
  template <Enum E>
  void operator()(E& member, const Field& field) const {
    member = enum_named<E>(field, text);
  }
};

// Applies `visit` to the field that has this name only; false when there is none.
template <class Visit, class R>
bool visit_field(R& request, std::string_view name, const Visit& visit) {
  bool found = false;
  const auto one = [&](auto& member, const Field& field) {
    if (field.name != name) return;
    found = true;
    visit(member, field);
  };
  fields(one, request);
  return found;
}

}  // namespace lorikeet
