#include "cli/help.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "base/text.h"
#include "base/version.h"

namespace lorikeet {

namespace {
constexpr size_t kFlagColumn = 38, kLineWidth = 120;

std::string padded(std::string text, size_t width) {
  if (text.size() + 1 < width) return text + std::string(width - text.size(), ' ');
  return text + "\n" + std::string(width, ' ');
}

// "  -s, --steps N"
std::string flags_of(const CLI::Option& option) {
  std::string text = "  ";
  for (const auto& name : option.get_snames()) text += "-" + name + ", ";
  const auto& names = option.get_lnames();
  // "--no-x" beside "--x" goes without saying, unless x is on by itself: "--[no-]x"; alone it is the flag.
  for (size_t i = 0; i < names.size(); ++i) {
    const bool has_no = i == 0 && option.get_default_str() == "on" && std::ranges::find(names, "no-" + names[i]) != names.end();
    if (i == 0 || !starts_with(names[i], "no-")) text += (i ? ", --" : "--") + std::string(has_no ? "[no-]" : "") + names[i];
  }
  const std::string type = option.get_type_name();
  return type.empty() ? text : text + " " + type;
}

// Breaks lines between words; all but the first are indented to the column of the help texts.
std::string wrapped(const std::string& text) {
  std::string result;
  size_t column = kFlagColumn;
  for (const auto word : split(text, ' ')) {
    const bool fits = column + 1 + word.size() <= kLineWidth || result.empty();
    result += result.empty() ? "" : fits ? " " : "\n" + std::string(kFlagColumn, ' ');
    column = (fits ? column + 1 : kFlagColumn) + word.size();
    result += word;
  }
  return result;
}

std::string line_of(const CLI::Option& option) {
  if (option.get_positional()) return padded("  " + option.get_type_name(), kFlagColumn) + wrapped(option.get_description());
  const std::string value = option.get_default_str();
  return padded(flags_of(option), kFlagColumn) +
         wrapped(option.get_description() + (value.empty() || value == "[]" ? "" : " [" + value + "]"));
}
}  // namespace

std::string program_help() {
  std::string text = "lorikeet " + std::string(program_version()) +
                     ": pictures from prompts with LoRAs, for Stable Diffusion 1.x, 2.x and XL\n\n"
                     "  lorikeet generate -m CHECKPOINT -p \"a lighthouse at dusk <lora:monet:0.7>\"\n\nCommands:\n";
  for (const Command& command : commands()) text += padded("  " + std::string(command.name), 14) + std::string(command.summary) + "\n";
  return text + "\nlorikeet COMMAND -h: the most used options; lorikeet COMMAND --help: all of them.\n";
}

std::string command_help(const Command& command, CLI::App& app, bool full) {
  std::string usage = "lorikeet " + std::string(command.name);
  for (const CLI::Option* option : app.get_options())
    if (option->get_positional()) usage += " " + option->get_type_name();
  std::string text = std::string(command.summary) + "\n\nUsage: " + usage + (command.verbs ? " VERB" : "") + " [options]\n";
  if (command.verbs) {
    text += "\nVerbs:\n";
    for (const Command& verb : command.verbs()) text += padded("  " + std::string(verb.name), 18) + std::string(verb.summary) + "\n";
    return text + "\nlorikeet " + std::string(command.name) + " VERB --help: the options of a verb.\n";
  }
  bool left_out = false;
  for (const std::string& group : app.get_groups()) {
    const bool is_short = std::find(std::begin(kShortGroups), std::end(kShortGroups), group) != std::end(kShortGroups);
    const auto options = app.get_options([&](const CLI::Option* option) { return option->get_group() == group; });
    if (options.empty() || group.empty()) continue;
    if (!full && !is_short) {
      left_out = true;
      continue;
    }
    text += "\n" + group + ":\n";
    for (const CLI::Option* option : options) text += line_of(*option) + "\n";
  }
  return left_out ? text + "\nMore with --help.\n" : text;
}

}  // namespace lorikeet
