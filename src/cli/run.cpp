// From arguments to the exit code: finds the command, parses its options, prints errors.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <ostream>

#include "base/error.h"
#include "base/text.h"
#include "base/version.h"
#include "cli/command.h"
#include "cli/help.h"
#include "cli/lora_verbs.h"

namespace lorikeet {

namespace {
// To add a command: src/cli/<command>.cpp and one line here.
constexpr std::array kCommands{
    Command{"generate", "Make pictures from a prompt, or from a prompt and a picture.", define_generate},
    Command{"plot", "Make a labelled sheet of pictures in which one, two or three things change (X/Y/Z plot).", define_plot},
    Command{"inspect", "Tell what a checkpoint, LoRA, embedding or picture is and holds.", define_inspect},
    Command{"lora", "List, look into, mix, bake, extract, resize, convert, compare and edit LoRAs; train sliders.", define_lora, lora_verbs},
    Command{"train", "Train a LoRA, an embedding or a whole checkpoint on a folder of pictures.", define_train},
    Command{"serve", "Answer over HTTP: the page in a browser, A1111's API, jobs.", define_serve},
    Command{"fresh", "Write an untrained checkpoint of any size, to train from nothing.", define_fresh},
    Command{"bench", "Measure this machine with a full-size SD1.5: steps, decoding, loading, LoRAs.", define_bench},
    Command{"completion", "Print the completion script for bash, zsh or fish.", define_completion},
};

const Command& find_command(const std::string& name) {
  std::vector<std::string> names;
  for (const Command& command : kCommands) {
    if (command.name == name) return command;
    names.emplace_back(command.name);
  }
  if (starts_with(name, "-")) throw Error(ErrorKind::bad_input, "the command comes before " + name, "lorikeet generate " + name + " …");
  const std::string near = did_you_mean(name, names);
  throw Error(ErrorKind::bad_input, "there is no command " + name, near.empty() ? "the commands are " + join(names, ", ") : near);
}

// "info" of "lora".
const Command& find_verb(const Command& command, const std::string& verb) {
  std::vector<std::string> verbs;
  for (const Command& row : command.verbs()) {
    verbs.emplace_back(row.name.substr(command.name.size() + 1));
    if (verbs.back() == verb) return row;
  }
  const std::string near = did_you_mean(verb, verbs);
  throw Error(ErrorKind::bad_input, "there is no \"" + std::string(command.name) + " " + verb + "\"",
              near.empty() ? "the verbs are " + join(verbs, ", ") : near);
}

void refuse_unknown(CLI::App& app) {
  const auto rest = app.remaining();
  if (rest.empty()) return;
  if (!starts_with(rest[0], "-"))
    throw Error(ErrorKind::bad_input, "\"" + rest[0] + "\" is one argument too many", "quote a prompt that has spaces in it");
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const auto& name : option->get_lnames()) names.push_back("--" + name);
  const std::string flag = rest[0].substr(0, rest[0].find('='));
  throw Error(ErrorKind::bad_input, "there is no option " + flag,
              did_you_mean(flag, names) + (near_names(flag, names).empty() ? "see --help" : ""));
}

int run_command(const std::vector<std::string>& arguments, Output& output) {
  if (arguments.empty() || arguments[0] == "-h" || arguments[0] == "--help" || arguments[0] == "help") {
    output.out << program_help();
    return 0;
  }
  if (arguments[0] == "--version") {
    output.out << "lorikeet " << program_version() << "\n";
    return 0;
  }
  const Command& first = find_command(arguments[0]);
  const bool has_verb = first.verbs && arguments.size() > 1 && !starts_with(arguments[1], "-");
  const Command& command = has_verb ? find_verb(first, arguments[1]) : first;
  CLI::App app(std::string(command.summary), std::string(command.name));
  app.set_help_flag("");
  app.allow_extras();
  const RunCommand run = command.define(app);
  const size_t words = has_verb ? 2 : 1;
  for (size_t i = words; i < arguments.size(); ++i)
    if (arguments[i] == "-h" || arguments[i] == "--help") {
      output.out << command_help(command, app, arguments[i] == "--help");
      return 0;
    }
  try {
    std::vector<std::string> rest(arguments.rbegin(), arguments.rend() - static_cast<ptrdiff_t>(words));  // CLI11 wants them backwards
    app.parse(rest);
  } catch (const CLI::ParseError& error) {
    refuse_unknown(app);
    throw Error(ErrorKind::bad_input, error.what(), "see lorikeet " + std::string(command.name) + " --help");
  }
  refuse_unknown(app);
  return run(output);
}

int exit_code(ErrorKind kind) { return kind == ErrorKind::bad_input ? 2 : kind == ErrorKind::cancelled ? 130 : 1; }

void print(const Error& error, const std::vector<std::string>& arguments, Output& output) {
  output.err << "error: " << error.what() << "\n";
  if (std::find(arguments.begin(), arguments.end(), "--json") == arguments.end()) return;
  const nlohmann::json json{
      {"error", {{"kind", name(error.kind())}, {"message", error.message()}, {"hint", error.hint()}, {"context", error.context()}}}};
  output.out << json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
}
}  // namespace

std::span<const Command> commands() { return kCommands; }

int run_cli(const std::vector<std::string>& arguments, Output& output) {
  try {
    return run_command(arguments, output);
  } catch (const Error& error) {
    print(error, arguments, output);
    return exit_code(error.kind());
  } catch (const std::bad_alloc&) {
    print(Error(ErrorKind::out_of_memory, "there is not enough memory", "make the picture or the batch smaller"), arguments, output);
  } catch (const std::exception& error) {
    print(Error(ErrorKind::internal, std::string("this should not happen: ") + error.what(),
                "please report it with the command that you gave"),
          arguments, output);
  }
  return 1;
}

}  // namespace lorikeet
