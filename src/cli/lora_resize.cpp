// lorikeet lora resize, lora convert: one file becomes another.
#include <CLI/CLI.hpp>
#include <ostream>

#include "base/error.h"
#include "base/text.h"
#include "cli/lora_inputs.h"
#include "cli/lora_verbs.h"
#include "lora/surgery/option_words.h"
#include "workshop/operations.h"

namespace fs = std::filesystem;

namespace lorikeet {

namespace {
struct OneFile {
  LoraVerbOptions verb;
  std::string file;
  RankFlags ranks;
  OutputFlags output;
};

struct ResizeFlags : OneFile {
  bool like_kohya = false;
};

struct ConvertFlags : OneFile {
  std::string to, kind;
  bool partial = false;
};

void report(const fs::path& path, const std::vector<std::string>& notes, const std::vector<LayerResult>& layers,
            const LoraVerbOptions& verb, Output& output) {
  if (verb.json) return print_written_json(path, notes, layers, output);
  if (!layers.empty()) print_layers(layers, output.out);
  print_written(path, notes, verb, output);
}

int run_resize(const ResizeFlags& flags, Output& output) {
  if (flags.file.empty()) throw Error(ErrorKind::bad_input, "which file?", "lorikeet lora resize FILE --rank 32 -o SMALL.safetensors");
  LoraTable table = open_table(flags.verb);
  const fs::path input = table.find(flags.file), path = output_path(flags.output, {input});
  const auto reader = table.open(input);
  ResizeOptions options{flags.ranks.options(), dtype_of_word(flags.output.dtype)};
  options.ranks.like_kohya = flags.like_kohya;
  TerminalProgress progress(output, output.terminal && !flags.verb.quiet);
  const MadeLora made = resize_file(*reader, options, path, progress);
  progress.clear_line();
  report(path, made.notes, made.layers, flags.verb, output);
  return 0;
}

int run_convert(const ConvertFlags& flags, Output& output) {
  if (flags.file.empty()) throw Error(ErrorKind::bad_input, "which file?", "lorikeet lora convert FILE --to kohya -o NEW.safetensors");
  LoraTable table = open_table(flags.verb);
  const fs::path input = table.find(flags.file), path = output_path(flags.output, {input});
  const auto reader = table.open(input);
  const ConvertOptions options{kind_of_word(flags.kind), flags.ranks.options(), dtype_of_word(flags.output.dtype), flags.to};
  TerminalProgress progress(output, output.terminal && !flags.verb.quiet);
  const MadeLora made = convert_file(*reader, options, flags.partial, path, progress);
  progress.clear_line();
  report(path, made.notes, made.layers, flags.verb, output);
  return 0;
}

void add_common(CLI::App& app, OneFile& flags) {
  app.add_option("file", flags.file, "A LoRA: a name or a file.")->group("Options")->type_name("FILE");
  add_output_options(app, flags.output, "keep");
  add_rank_options(app, flags.ranks);
  add_verb_options(app, flags.verb);
}
}  // namespace

RunCommand define_lora_resize(CLI::App& app) {
  const auto flags = std::make_shared<ResizeFlags>();
  add_common(app, *flags);
  app.add_flag("--like-kohya", flags->like_kohya, "Choose the ranks that kohya's resize_lora.py chooses.")->group("Ranks");
  return [flags](Output& output) { return run_resize(*flags, output); };
}

RunCommand define_lora_convert(CLI::App& app) {
  const auto flags = std::make_shared<ConvertFlags>();
  std::vector<std::string> namings;
  for (const LoraNaming& naming : lora_namings()) namings.emplace_back(naming.name);
  app.add_option("--to", flags->to, "The spelling of the keys [as it was]. One of " + join(namings, ", ") + ".")
      ->group("Options")
      ->type_name("SPELLING");
  app.add_option("--kind", flags->kind, "lora: all kinds become plain LoRA; full: whole differences.")->group("Options")->type_name("KIND");
  app.add_flag("--partial", flags->partial, "Leave out layers that the spelling has no name for.")->group("Options");
  add_common(app, *flags);
  return [flags](Output& output) { return run_convert(*flags, output); };
}

}  // namespace lorikeet
