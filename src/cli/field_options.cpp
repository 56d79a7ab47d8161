#include "cli/field_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "base/text.h"

namespace lorikeet {

namespace {
std::string_view type_name(FieldType type) {
  switch (type) {
    case FieldType::whole_number: return "N";
    case FieldType::number: return "X";
    case FieldType::picture: return "FILE";
    case FieldType::choice: return "NAME";
    default: return "TEXT";
  }
}

// " One of a, b, c."; nothing where "" is a choice too: the setting follows another one, which names them.
std::string choices_text(const FieldInfo& info) {
  std::vector<std::string> names;
  for (const Choice& choice : info.choices) names.emplace_back(choice.name);
  return names.empty() || names[0].empty() ? "" : " One of " + join(names, ", ") + ".";
}
}  // namespace

bool GivenFields::has(std::string_view name) const {
  return std::ranges::any_of(values, [&](const auto& value) { return value.first == name; });
}

CLI::Option* add_field_option(CLI::App& app, const FieldInfo& info, const std::shared_ptr<GivenFields>& given) {
  const std::string name(info.field.name), help = std::string(info.field.help) + choices_text(info);
  const std::string flags = info.flag + (info.field.flags.empty() ? "" : "," + std::string(info.field.flags));
  CLI::Option* option = nullptr;
  if (info.type == FieldType::yes_no) {
    const std::string no = ",!--no-" + info.flag.substr(2);
    option = app.add_flag_function(
        flags + no, [=](int64_t count) { given->values.emplace_back(name, count > 0 ? "true" : "false"); }, help);
  } else if (info.type == FieldType::texts) {
    option = app.add_option_function<std::vector<std::string>>(
                    flags,
                    [=](const std::vector<std::string>& texts) {
                      for (const auto& text : texts) given->values.emplace_back(name, text);
                    },
                    help)
                 ->allow_extra_args(false);
  } else {
    option = app.add_option_function<std::string>(
        flags, [=](const std::string& text) { given->values.emplace_back(name, text); }, help);
  }
  option->group(std::string(info.field.group.title));
  if (info.type != FieldType::yes_no) option->type_name(std::string(type_name(info.type)))->default_str(info.default_text);
  if (info.type == FieldType::yes_no && info.default_text == "true") option->default_str("on");
  return option;
}

void add_field_options(CLI::App& app, std::span<const FieldInfo> list, const std::shared_ptr<GivenFields>& given) {
  for (const FieldInfo& info : list) add_field_option(app, info, given);
}

}  // namespace lorikeet
