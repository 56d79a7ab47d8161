// lorikeet lora edit: what a file says about itself.
#include <CLI/CLI.hpp>
#include <ostream>

#include "base/error.h"
#include "cli/lora_inputs.h"
#include "cli/lora_verbs.h"
#include "lora/surgery/edit.h"

namespace fs = std::filesystem;

namespace lorikeet {

namespace {
struct EditFlags {
  LoraVerbOptions verb;
  std::string file, output, trigger, title, description;
  std::vector<std::string> set, unset;
};

int edit_file(const EditFlags& flags, Output& output) {
  if (flags.file.empty()) throw Error(ErrorKind::bad_input, "which file?", "lorikeet lora edit FILE --set ss_output_name=fox");
  LoraTable table = open_table(flags.verb);
  MetadataEdit edit;
  for (const std::string& item : flags.set) {
    const size_t equals = item.find('=');
    if (equals == std::string::npos || equals == 0) throw Error(ErrorKind::bad_input, "\"" + item + "\" sets nothing", "--set KEY=TEXT");
    edit.set[item.substr(0, equals)] = item.substr(equals + 1);
  }
  for (const auto& [text, key] : {std::pair(&flags.trigger, "modelspec.trigger_phrase"), std::pair(&flags.title, "modelspec.title"),
                                  std::pair(&flags.description, "modelspec.description")})
    if (!text->empty()) edit.set[key] = *text;
  edit.unset = flags.unset;
  const fs::path file = table.find(flags.file), path = flags.output.empty() ? file : fs::path(flags.output);
  TerminalProgress progress(output, output.terminal && !flags.verb.quiet);
  edit_metadata(file, edit, path, progress);
  progress.clear_line();
  if (flags.verb.json)
    print_written_json(path, {}, {}, output);
  else
    print_written(path, {}, flags.verb, output);
  return 0;
}
}  // namespace

RunCommand define_lora_edit(CLI::App& app) {
  const auto flags = std::make_shared<EditFlags>();
  app.add_option("file", flags->file, "A LoRA: a name or a file.")->group("Options")->type_name("FILE");
  app.add_option("--set", flags->set, "An entry of the metadata; may be given several times.")
      ->group("Options")
      ->type_name("KEY=TEXT")
      ->allow_extra_args(false);
  app.add_option("--unset", flags->unset, "Remove an entry; may be given several times.")
      ->group("Options")
      ->type_name("KEY")
      ->allow_extra_args(false);
  app.add_option("--trigger", flags->trigger, "The trigger words (modelspec.trigger_phrase).")->group("Options")->type_name("TEXT");
  app.add_option("--title", flags->title, "modelspec.title.")->group("Options")->type_name("TEXT");
  app.add_option("--description", flags->description, "modelspec.description.")->group("Options")->type_name("TEXT");
  app.add_option("-o,--output", flags->output, "Another file to write, instead of the file itself.")->group("Options")->type_name("FILE");
  add_verb_options(app, flags->verb, /*with_model=*/false);
  return [flags](Output& output) { return edit_file(*flags, output); };
}

}  // namespace lorikeet
