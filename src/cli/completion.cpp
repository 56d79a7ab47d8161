// Shell completion, made from the command table and the options that each command defines.
#include <CLI/CLI.hpp>
#include <ostream>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "generate/request.h"

namespace lorikeet {

namespace {
struct Flag {
  std::vector<std::string> names;  // "-s", "--steps"
  std::string help;
  bool takes_value = false;
  std::vector<std::string> values;  // known ones
};

std::vector<std::string> values_of(const std::string& flag) {
  if (flag == "--device") return {"auto", "cpu", "cuda"};
  if (flag == "--precision") return {"auto", "f32", "bf16", "f16"};
  std::vector<std::string> values;
  for (const FieldInfo& info : field_list())
    if (info.flag == flag)
      for (const Choice& choice : info.choices)
        if (!choice.name.empty()) values.emplace_back(choice.name);
  return values;
}

std::vector<Flag> flags_of(const Command& command) {
  CLI::App app;
  app.set_help_flag("");
  const RunCommand keeps_the_options_alive = command.define(app);
  std::vector<Flag> flags{{{"-h"}, "The most used options.", false, {}}, {{"--help"}, "All options.", false, {}}};
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_positional()) continue;
    Flag flag{{}, option->get_description(), option->get_items_expected_max() > 0, {}};
    for (const auto& name : option->get_snames()) flag.names.push_back("-" + name);
    for (const auto& name : option->get_lnames()) {
      flag.names.push_back("--" + name);
      if (flag.values.empty()) flag.values = values_of("--" + name);
    }
    flags.push_back(std::move(flag));
  }
  return flags;
}

std::string command_names() {
  std::vector<std::string> names;
  for (const Command& command : commands()) names.emplace_back(command.name);
  return join(names, " ");
}

std::string bash_script() {
  std::string script =
      "# lorikeet: bash completion. Use: source <(lorikeet completion bash)\n_lorikeet() {\n"
      "  local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
      "  if ((COMP_CWORD == 1)); then COMPREPLY=($(compgen -W \"" +
      command_names() +
      "\" -- \"$word\")); return; fi\n"
      "  case ${COMP_WORDS[1]} in\n";
  for (const Command& command : commands()) {
    std::vector<std::string> names;
    std::string cases;
    for (const Flag& flag : flags_of(command)) {
      names.insert(names.end(), flag.names.begin(), flag.names.end());
      if (!flag.values.empty())
        cases +=
            "        " + join(flag.names, "|") + ") COMPREPLY=($(compgen -W \"" + join(flag.values, " ") + "\" -- \"$word\")); return ;;\n";
    }
    script += "    " + std::string(command.name) + ")\n      case $previous in\n" + cases + "      *) ;;\n      esac\n" +
              "      [[ $word == -* ]] && COMPREPLY=($(compgen -W \"" + join(names, " ") + "\" -- \"$word\")) && return ;;\n";
  }
  return script + "  esac\n  compopt -o default 2>/dev/null; COMPREPLY=()\n}\ncomplete -F _lorikeet lorikeet\n";
}

std::string escaped(const std::string& text) {
  std::string result = replace_all(text, "'", "'\\''");
  for (const char* sign : {"[", "]", ":"}) result = replace_all(result, sign, std::string("\\") + sign);
  return result;
}

std::string zsh_script() {
  std::string script =
      "#compdef lorikeet\n# lorikeet: zsh completion. Use: lorikeet completion zsh > \"${fpath[1]}/_lorikeet\"\n_lorikeet() {\n"
      "  if ((CURRENT == 2)); then\n    local -a names=(";
  for (const Command& command : commands()) script += "'" + std::string(command.name) + ":" + escaped(std::string(command.summary)) + "' ";
  script += ")\n    _describe command names\n    return\n  fi\n  local name=$words[2]\n  shift words; ((CURRENT--))\n  case $name in\n";
  for (const Command& command : commands()) {
    script += "    " + std::string(command.name) + ") _arguments";
    for (const Flag& flag : flags_of(command))
      for (const std::string& name : flag.names) {
        const std::string values = flag.values.empty() ? "_files" : "(" + join(flag.values, " ") + ")";
        script += " \\\n      '*" + name + "[" + escaped(flag.help) + "]" + (flag.takes_value ? ":value:" + values : "") + "'";
      }
    script += " \\\n      '*:file:_files' ;;\n";
  }
  return script + "  esac\n}\ncompdef _lorikeet lorikeet\n";
}

std::string fish_script() {
  std::string script = "# lorikeet: fish completion. Use: lorikeet completion fish > ~/.config/fish/completions/lorikeet.fish\n";
  const auto quoted = [](std::string text) { return "'" + replace_all(replace_all(std::move(text), "\\", "\\\\"), "'", "\\'") + "'"; };
  for (const Command& command : commands())
    script += "complete -c lorikeet -n __fish_use_subcommand -f -a " + std::string(command.name) + " -d " +
              quoted(std::string(command.summary)) + "\n";
  for (const Command& command : commands())
    for (const Flag& flag : flags_of(command)) {
      script += "complete -c lorikeet -n '__fish_seen_subcommand_from " + std::string(command.name) + "'";
      for (const std::string& name : flag.names) script += starts_with(name, "--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      if (!flag.values.empty())
        script += " -x -a " + quoted(join(flag.values, " "));
      else if (flag.takes_value)
        script += " -r";
      script += " -d " + quoted(flag.help) + "\n";
    }
  return script;
}
}  // namespace

RunCommand define_completion(CLI::App& app) {
  const auto shell = std::make_shared<std::string>();
  app.add_option("shell", *shell, "bash, zsh or fish.")->group("Options")->type_name("SHELL");
  return [shell](Output& output) {
    if (*shell == "bash")
      output.out << bash_script();
    else if (*shell == "zsh")
      output.out << zsh_script();
    else if (*shell == "fish")
      output.out << fish_script();
    else
      throw Error(ErrorKind::bad_input, shell->empty() ? "which shell?" : "there is no completion for " + *shell,
                  "lorikeet completion bash, zsh or fish");
    return 0;
  };
}

}  // namespace lorikeet
