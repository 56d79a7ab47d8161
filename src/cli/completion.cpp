// Shell completion, made from the command table and the options that each command defines.
#include <CLI/CLI.hpp>
#include <ostream>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/lora_inputs.h"
#include "generate/request.h"
#include "training/config.h"

namespace lorikeet {

namespace {
struct Flag {
  std::vector<std::string> names;  // "-s", "--steps"
  std::string help;
  bool takes_value = false;
  std::vector<std::string> values;  // known ones
};

std::vector<std::string> values_of(const Command& command, const std::string& flag) {
  if (flag == "--device") return {"auto", "cpu", "cuda"};
  if (flag == "--precision") return {"auto", "f32", "bf16", "f16"};
  std::vector<std::string> values;
  const bool trains = command.name == "train" || command.name == "lora slider";
  if (!trains && command.name.starts_with("lora ")) return lora_option_values(flag);
  for (const FieldInfo& info : trains ? train_field_list() : field_list())
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
      if (flag.values.empty()) flag.values = values_of(command, "--" + name);
    }
    flags.push_back(std::move(flag));
  }
  return flags;
}

// "info" of "lora info".
std::string verb_of(const Command& command, const Command& verb) { return std::string(verb.name.substr(command.name.size() + 1)); }

std::vector<std::string> verbs_of(const Command& command) {
  std::vector<std::string> verbs;
  if (command.verbs)
    for (const Command& verb : command.verbs()) verbs.push_back(verb_of(command, verb));
  return verbs;
}

std::string command_names() {
  std::vector<std::string> names;
  for (const Command& command : commands()) names.emplace_back(command.name);
  return join(names, " ");
}

// The options of one command, for a case that tells it.
std::string bash_options(const Command& command) {
  std::vector<std::string> names;
  std::string cases;
  for (const Flag& flag : flags_of(command)) {
    names.insert(names.end(), flag.names.begin(), flag.names.end());
    if (!flag.values.empty())
      cases += "        " + join(flag.names, "|") + ") COMPREPLY=($(compgen -W \"" + join(flag.values, " ") + "\" -- \"$word\")); return ;;\n";
  }
  return "      case $previous in\n" + cases + "      *) ;;\n      esac\n" + "      [[ $word == -* ]] && COMPREPLY=($(compgen -W \"" +
         join(names, " ") + "\" -- \"$word\")) && return ;;\n";
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
    script += "    " + std::string(command.name) + ")\n";
    if (!command.verbs) {
      script += bash_options(command);
      continue;
    }
    script += "      if ((COMP_CWORD == 2)); then COMPREPLY=($(compgen -W \"" + join(verbs_of(command), " ") +
              "\" -- \"$word\")); return; fi\n      case ${COMP_WORDS[2]} in\n";
    for (const Command& verb : command.verbs()) script += "      " + verb_of(command, verb) + ")\n" + bash_options(verb);
    script += "      esac ;;\n";
  }
  return script + "  esac\n  compopt -o default 2>/dev/null; COMPREPLY=()\n}\ncomplete -F _lorikeet lorikeet\n";
}

std::string escaped(const std::string& text) {
  std::string result = replace_all(text, "'", "'\\''");
  for (const char* sign : {"[", "]", ":"}) result = replace_all(result, sign, std::string("\\") + sign);
  return result;
}

std::string zsh_options(const Command& command) {
  std::string script = "_arguments";
  for (const Flag& flag : flags_of(command))
    for (const std::string& name : flag.names) {
      const std::string values = flag.values.empty() ? "_files" : "(" + join(flag.values, " ") + ")";
      script += " \\\n      '*" + name + "[" + escaped(flag.help) + "]" + (flag.takes_value ? ":value:" + values : "") + "'";
    }
  return script + " \\\n      '*:file:_files' ;;\n";
}

std::string zsh_script() {
  std::string script =
      "#compdef lorikeet\n# lorikeet: zsh completion. Use: lorikeet completion zsh > \"${fpath[1]}/_lorikeet\"\n_lorikeet() {\n"
      "  if ((CURRENT == 2)); then\n    local -a names=(";
  for (const Command& command : commands()) script += "'" + std::string(command.name) + ":" + escaped(std::string(command.summary)) + "' ";
  script += ")\n    _describe command names\n    return\n  fi\n  local name=$words[2]\n  shift words; ((CURRENT--))\n  case $name in\n";
  for (const Command& command : commands()) {
    script += "    " + std::string(command.name) + ") ";
    if (!command.verbs) {
      script += zsh_options(command);
      continue;
    }
    script += "\n      if ((CURRENT == 2)); then\n        local -a verbs=(";
    for (const Command& verb : command.verbs()) script += "'" + verb_of(command, verb) + ":" + escaped(std::string(verb.summary)) + "' ";
    script += ")\n        _describe verb verbs\n        return\n      fi\n      name=$words[2]\n      shift words; ((CURRENT--))\n      case $name in\n";
    for (const Command& verb : command.verbs()) script += "      " + verb_of(command, verb) + ") " + zsh_options(verb);
    script += "      esac ;;\n";
  }
  return script + "  esac\n}\ncompdef _lorikeet lorikeet\n";
}

std::string fish_quoted(std::string text) { return "'" + replace_all(replace_all(std::move(text), "\\", "\\\\"), "'", "\\'") + "'"; }

std::string fish_options(const Command& command, const std::string& condition) {
  std::string script;
  for (const Flag& flag : flags_of(command)) {
    script += "complete -c lorikeet -n '" + condition + "'";
    for (const std::string& name : flag.names) script += starts_with(name, "--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
    if (!flag.values.empty())
      script += " -x -a " + fish_quoted(join(flag.values, " "));
    else if (flag.takes_value)
      script += " -r";
    script += " -d " + fish_quoted(flag.help) + "\n";
  }
  return script;
}

std::string fish_script() {
  std::string script = "# lorikeet: fish completion. Use: lorikeet completion fish > ~/.config/fish/completions/lorikeet.fish\n";
  for (const Command& command : commands())
    script += "complete -c lorikeet -n __fish_use_subcommand -f -a " + std::string(command.name) + " -d " +
              fish_quoted(std::string(command.summary)) + "\n";
  for (const Command& command : commands()) {
    const std::string seen = "__fish_seen_subcommand_from " + std::string(command.name);
    if (!command.verbs) {
      script += fish_options(command, seen);
      continue;
    }
    for (const Command& verb : command.verbs()) {
      const std::string name = verb_of(command, verb);
      script += "complete -c lorikeet -n '" + seen + "; and not __fish_seen_subcommand_from " + join(verbs_of(command), " ") + "' -f -a " + name +
                " -d " + fish_quoted(std::string(verb.summary)) + "\n";
      script += fish_options(verb, seen + "; and __fish_seen_subcommand_from " + name);
    }
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
