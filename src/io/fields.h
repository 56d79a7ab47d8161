// Settings as data. A struct of settings T has one function template, found by its namespace:
//   template <class V, SameSettings<T> S> void fields(V& v, S& s);   // S: T or const T
// which calls v(member, field) for every setting, one line each. Command lines, files, help, completion and range checks all come from it;
// JSON: io/fields_json.h.
// A member is int, int64_t, double, an optional of these, bool, string, vector<string>, PictureSource, or an enum with choices().
#pragma once
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "io/picture_source.h"

namespace lorikeet {

// One value of a setting that has only some. name: in flags, JSON and files; label: what other programs or people call it. An enum E has
// std::span<const Choice> choices(E) in the order of its values.
struct Choice {
  std::string_view name, label;
};

// Settings that stand together. name: the table of a file; title: the heading of help.
struct FieldGroup {
  std::string_view name, title;
};

// What is known about a setting apart from its member.
struct Field {
  struct Range {
    double least = std::numeric_limits<double>::lowest(), most = std::numeric_limits<double>::max();  // both included
    bool or_zero = false;  // 0 too, which leaves the value to something else
  };
  std::string_view name;  // the key, snake_case; "--name-with-dashes" is the flag
  std::string_view help;  // one sentence or more, with a full stop
  FieldGroup group = {};
  Range range = {};                                // of numbers
  std::string_view flags = {};                     // further spellings of the flag: "-s", "-W,--w"
  std::span<const Choice> (*choices)() = nullptr;  // of a string; enums have their own
};

enum class FieldType { whole_number, number, yes_no, text, texts, picture, choice };

// A setting without templates, for command lines, completion and help.
struct FieldInfo {
  Field field;
  FieldType type;
  std::string flag;             // "--cfg-scale"
  std::string default_text;     // as read_field() would read it; "" where the default is nothing
  std::vector<Choice> choices;  // empty: anything
};

template <class E>
concept Enum = std::is_enum_v<E>;

// S is T or const T: keeps the fields() of one struct from those of another.
template <class S, class T>
concept SameSettings = std::is_same_v<std::remove_const_t<S>, T>;

// By name or label, any case. Error{bad_input} with the name of the setting, the near values and all values.
size_t index_of_choice(const Field& field, std::span<const Choice> choices, std::string_view text);

template <Enum E>
const Choice& choice_of(E value) {
  return choices(E{})[static_cast<size_t>(value)];
}

// --- visitors for fields() ---

// Text into a member: "20", "true", "cpu". A text for a list is added to it; "" unsets an optional. Error{bad_input} names the setting.
struct ReadText {
  std::string_view text;
  void operator()(int& member, const Field& field) const;
  void operator()(int64_t& member, const Field& field) const;
  void operator()(double& member, const Field& field) const;
  void operator()(bool& member, const Field& field) const;
  void operator()(std::string& member, const Field&) const { member = text; }
  void operator()(std::vector<std::string>& member, const Field&) const { member.emplace_back(text); }
  void operator()(PictureSource& member, const Field& field) const;
  template <class T>
  void operator()(std::optional<T>& member, const Field& field) const {
    if (blank())
      member.reset();
    else
      (*this)(member.emplace(), field);
  }
  template <Enum E>
  void operator()(E& member, const Field& field) const {
    member = static_cast<E>(index_of_choice(field, choices(E{}), text));
  }

 private:
  bool blank() const;
};

// A member as text: what ReadText reads back; "" where it holds nothing, a list joined by ", ".
inline std::string text_of(int64_t value) { return std::to_string(value); }
inline std::string text_of(int value) { return std::to_string(value); }
inline std::string text_of(bool value) { return value ? "true" : "false"; }
inline std::string text_of(const std::string& value) { return value; }
inline std::string text_of(const PictureSource& value) { return value.text(); }
std::string text_of(double value);
std::string text_of(const std::vector<std::string>& values);
template <Enum E>
std::string text_of(E value) {
  return std::string(choice_of(value).name);
}
template <class T>
std::string text_of(const std::optional<T>& value) {
  return value ? text_of(*value) : "";
}

// Ranges, choices and UTF-8 of each setting by itself; brings choices to their names. Error{bad_input} names the setting and says what
// would do.
struct CheckField {
  void operator()(int& value, const Field& field) const { number(value, field); }
  void operator()(int64_t& value, const Field& field) const { number(static_cast<double>(value), field); }
  void operator()(double& value, const Field& field) const { number(value, field); }
  void operator()(std::string& value, const Field& field) const;
  void operator()(std::vector<std::string>& values, const Field& field) const;
  void operator()(bool&, const Field&) const {}
  void operator()(PictureSource&, const Field&) const {}
  template <class T>
  void operator()(std::optional<T>& value, const Field& field) const {
    if (value) (*this)(*value, field);
  }
  template <Enum E>
  void operator()(E&, const Field&) const {}

 private:
  void number(double value, const Field& field) const;
};

// One FieldInfo a setting.
struct DescribeField {
  std::vector<FieldInfo>& list;

  template <class T>
  void operator()(const T& member, const Field& field) {
    if constexpr (Enum<T>)
      add(field, FieldType::choice, text_of(member), choices(T{}));
    else
      add(field, field.choices ? FieldType::choice : type_of(member), text_of(member),
          field.choices ? field.choices() : std::span<const Choice>{});
  }

 private:
  void add(const Field& field, FieldType type, std::string default_text, std::span<const Choice> choices);
  template <class T>
  static FieldType type_of(const std::optional<T>&) {
    return type_of(T{});
  }
  static FieldType type_of(int64_t) { return FieldType::whole_number; }
  static FieldType type_of(int) { return FieldType::whole_number; }
  static FieldType type_of(double) { return FieldType::number; }
  static FieldType type_of(bool) { return FieldType::yes_no; }
  static FieldType type_of(const std::string&) { return FieldType::text; }
  static FieldType type_of(const std::vector<std::string>&) { return FieldType::texts; }
  static FieldType type_of(const PictureSource&) { return FieldType::picture; }
};

// --- on a whole struct of settings ---

// Applies `visit` to the setting of this name only; false when there is none.
template <class Visit, class S>
bool visit_field(S& settings, std::string_view name, const Visit& visit) {
  bool found = false;
  const auto one = [&](auto& member, const Field& field) {
    if (field.name != name) return;
    found = true;
    visit(member, field);
  };
  fields(one, settings);
  return found;
}

template <class S>
std::vector<FieldInfo> describe_fields(const S& defaults = {}) {
  std::vector<FieldInfo> list;
  DescribeField describe{list};
  fields(describe, defaults);
  return list;
}

// Error{bad_input}: there is no setting `name`; with the near ones.
[[noreturn]] void refuse_unknown_field(std::string_view name, std::span<const FieldInfo> known);

// Reads one setting from text. Error{bad_input} names the setting, and the near ones where there is none of that name.
template <class S>
void read_field(S& settings, std::string_view name, std::string_view text) {
  if (!visit_field(settings, name, ReadText{text})) refuse_unknown_field(name, describe_fields(S{}));
}

// Empties the setting if it is a list, so that texts read afterwards replace it.
template <class S>
void clear_if_list(S& settings, std::string_view name) {
  visit_field(settings, name, [](auto& member, const Field&) {
    if constexpr (std::is_same_v<std::decay_t<decltype(member)>, std::vector<std::string>>) member.clear();
  });
}

template <class S>
void check_fields(S& settings) {
  const CheckField check;
  fields(check, settings);
}

// The names of the settings in which two differ, in the order of fields(). Against S{}: what was changed from the defaults.
template <class S>
std::vector<std::string> differing_fields(const S& a, const S& b) {
  std::vector<std::string> names;
  const auto each = [&](const auto& one, const Field& field) {
    visit_field(b, field.name, [&](const auto& other, const Field&) {
      if constexpr (std::is_same_v<decltype(one), decltype(other)>)
        if (!(one == other)) names.emplace_back(field.name);
    });
  };
  fields(each, a);
  return names;
}

}  // namespace lorikeet
