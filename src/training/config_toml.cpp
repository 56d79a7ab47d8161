// TrainConfig <-> TOML (toml.io, version 1.0). Read with toml++; written here, so that every setting carries its help as a comment.
#include <fstream>
#include <map>
#include <sstream>

#include "base/error.h"
#include "base/text.h"
#include "io/fields_json.h"
#include "training/config.h"

#ifndef LORIKEET_NO_TOML
#include <toml++/toml.h>
#endif

namespace lorikeet {

namespace {
using nlohmann::json;

// JSON's strings and numbers are TOML's too, but for the sign 0x7F.
std::string toml_value(const json& value) { return replace_all(value.dump(), "\x7f", "\\u007F"); }

// "One line of help. One of a, b. [a]"
std::string comment_of(const FieldInfo& info) {
  std::string text = "# " + std::string(info.field.help);
  std::vector<std::string> names;
  for (const Choice& choice : info.choices)
    if (!choice.name.empty()) names.emplace_back(choice.name);
  if (!names.empty()) text += " One of " + join(names, ", ") + ".";
  return info.default_text.empty() ? text : text + " [" + info.default_text + "]";
}

struct WriteToml {
  std::string& text;
  std::string_view group = {};
  std::map<std::string_view, std::string> comments = {};

  template <class T>
  void operator()(const T& member, const Field& field) {
    add(field, toml_value(as_json(member)));
  }
  template <class T>
  void operator()(const std::optional<T>& member, const Field& field) {
    add(field, member ? toml_value(as_json(member)) : "");
  }
  void operator()(const std::vector<std::string>& member, const Field& field) { add(field, toml_value(json(member))); }

 private:
  void add(const Field& field, const std::string& value) {
    if (field.group.name != group) text += "\n[" + std::string(field.group.name) + "]  # " + std::string(field.group.title) + "\n";
    group = field.group.name;
    text += comments.at(field.name) + "\n" + (value.empty() ? "# " : "") + std::string(field.name) + " =" +
            (value.empty() ? "" : " " + value) + "\n";
  }
};

#ifndef LORIKEET_NO_TOML
[[noreturn]] void refuse_at(const toml::source_region& place, const std::string& what, const std::string& hint = {}) {
  throw Error(ErrorKind::bad_input, "line " + std::to_string(place.begin.line) + ": " + what, hint);
}

json json_of(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return number->get();
  if (const auto* number = node.as_floating_point()) return number->get();
  if (const auto* truth = node.as_boolean()) return truth->get();
  const auto* list = node.as_array();
  if (!list) refuse_at(node.source(), "a setting is a text, a number, true or false, or a list of texts");
  json result = json::array();
  for (const toml::node& one : *list) result.push_back(json_of(one));
  return result;
}

class TomlReader {
 public:
  explicit TomlReader(TrainConfig& config) : config_(config) {}

  void read_all(const toml::table& root) {
    for (const auto& [key, node] : root) {
      if (const toml::table* table = node.as_table())
        read_group(key, *table);
      else
        read_one(key, node, "");
    }
  }

 private:
  void read_group(const toml::key& key, const toml::table& table) {
    std::vector<std::string> groups;
    for (const FieldInfo& info : train_field_list())
      if (groups.empty() || groups.back() != info.field.group.name) groups.emplace_back(info.field.group.name);
    if (std::ranges::find(groups, key.str()) == groups.end())
      refuse_at(key.source(), "there is no group [" + std::string(key.str()) + "] of settings", "there are [" + join(groups, "], [") + "]");
    for (const auto& [name, node] : table) read_one(name, node, key.str());
  }

  // group: the table that the setting stands in; "": above all tables.
  void read_one(const toml::key& key, const toml::node& node, std::string_view group) {
    try {
      if (!visit_field(config_, key.str(), [&](auto& member, const Field& field) { read_member(member, field, node, group); }))
        refuse_unknown_field(key.str(), train_field_list());
    } catch (const Error& error) {
      if (starts_with(error.message(), "line ")) throw;
      refuse_at(key.source(), error.message(), error.hint());
    }
    const auto line = key.source().begin.line;
    if (const auto [before, first] = lines_.emplace(key.str(), line); !first)
      refuse_at(key.source(), std::string(key.str()) + " is given a second time", "the other is in line " + std::to_string(before->second));
  }

  template <class T>
  void read_member(T& member, const Field& field, const toml::node& node, std::string_view group) {
    if (!group.empty() && group != field.group.name)
      refuse_at(node.source(), std::string(field.name) + " stands in [" + std::string(group) + "], but belongs to [" +
                                   std::string(field.group.name) + "]");
    const json value = json_of(node);
    ReadJson{value}(member, field);
    CheckField{}(member, field);
  }

  TrainConfig& config_;
  std::map<std::string, size_t> lines_;
};
#endif
}  // namespace

std::string to_toml(const TrainConfig& config) {
  TrainConfig valid = config;
  check_fields(valid);  // UTF-8, finite numbers
  std::string text = "# A training run of Lorikeet, complete: lorikeet train --config FILE\n";
  WriteToml write{text};
  for (const FieldInfo& info : train_field_list()) write.comments[info.field.name] = comment_of(info);
  fields(write, std::as_const(valid));
  return text;
}

TrainConfig from_toml(std::string_view text, const TrainConfig& base) {
#ifdef LORIKEET_NO_TOML
  throw Error(ErrorKind::unsupported, "this build was made without toml++ and cannot read TOML", "build it with libtomlplusplus-dev");
#else
  TrainConfig config = base;
  try {
    TomlReader(config).read_all(toml::parse(text));
  } catch (const toml::parse_error& error) {
    refuse_at(error.source(), "this is no TOML: " + std::string(error.description()),
              "a setting is written like rank = 8, a text in \"quotes\"");
  }
  return config;
#endif
}

TrainConfig read_train_config(const std::filesystem::path& path, const TrainConfig& base) {
  return with_context("while reading " + path.string(), [&] {
    std::ifstream file(path, std::ios::binary);
    std::error_code code;
    if (!file || std::filesystem::is_directory(path, code))
      throw Error(ErrorKind::not_found, "there is no settings file " + path.string(), "check the path and its spelling");
    std::ostringstream text;
    text << file.rdbuf();
    return from_toml(text.str(), base);
  });
}

}  // namespace lorikeet
