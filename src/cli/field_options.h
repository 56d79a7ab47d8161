// Settings (io/fields.h) as options of the command line: each FieldInfo becomes one option, what was given is kept as text in its order and
// read into the settings afterwards, so that it can come on top of a file or a picture.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/fields.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace lorikeet {

// What was given: names of settings and their texts.
struct GivenFields {
  std::vector<std::pair<std::string, std::string>> values;
  bool has(std::string_view name) const;
};

// One option; it writes into `given`, which must live as long as the app parses. -> the option, for whoever wants to change it.
CLI::Option* add_field_option(CLI::App& app, const FieldInfo& info, const std::shared_ptr<GivenFields>& given);
void add_field_options(CLI::App& app, std::span<const FieldInfo> list, const std::shared_ptr<GivenFields>& given);

// Reads what was given into the settings. Texts of a list replace the list. Error{bad_input} names the setting.
template <class S>
void read_given(S& settings, const GivenFields& given) {
  for (const auto& [name, text] : given.values) clear_if_list(settings, name);
  for (const auto& [name, text] : given.values) read_field(settings, name, text);
}

}  // namespace lorikeet
