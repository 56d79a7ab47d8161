// lorikeet lora resize, lora convert: one file becomes another.
#include <CLI/CLI.hpp>
#include <ostream>

#include "base/error.h"
#include "base/text.h"
#include "cli/lora_inputs.h"
#include "cli/lora_verbs.h"
#include "lora/surgery/convert.h"
#include "lora/surgery/option_words.h"
#include "lora/surgery/resize.h"

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

void note_unmatched(const LoraReader& reader, std::vector<std::string>& notes) {
  for (const std::string& module : reader.report().unmatched)
    notes.push_back(module + " fits no layer and is left out; name the checkpoint with -m");
}

int resize_file(const ResizeFlags& flags, Output& output) {
  if (flags.file.empty()) throw Error(ErrorKind::bad_input, "which file?", "lorikeet lora resize FILE --rank 32 -o SMALL.safetensors");
  LoraTable table(flags.verb);
  const fs::path input = table.find(flags.file), path = output_path(flags.output, {input});
  const auto reader = table.open(input);
  ResizeOptions options{flags.ranks.options(), dtype_of_word(flags.output.dtype)};
  options.ranks.like_kohya = flags.like_kohya;
  TerminalProgress progress(output, output.terminal && !flags.verb.quiet);
  ResizeResult result;
  LoraDraft draft = resize(*reader, options, result, progress);
  WrittenLora written = write_draft(path, std::move(draft), naming_of(*reader), /*partial=*/false, progress);
  progress.clear_line();
  if (!result.carried.empty())
    written.notes.push_back(std::to_string(result.carried.size()) +
                            " layers are of other kinds and stay as they were (first: " + result.carried[0] + ")");
  note_unmatched(*reader, written.notes);
  report(path, written.notes, result.layers, flags.verb, output);
  return 0;
}

ToKind kind_of(const std::string& word) {
  if (word.empty()) return ToKind::as_is;
  if (word == "lora") return ToKind::lora;
  if (word == "full") return ToKind::full;
  throw Error(ErrorKind::bad_input, "there is no way to the kind \"" + word + "\"", "--kind lora, or --kind full");
}

int convert_file(const ConvertFlags& flags, Output& output) {
  if (flags.file.empty()) throw Error(ErrorKind::bad_input, "which file?", "lorikeet lora convert FILE --to kohya -o NEW.safetensors");
  LoraTable table(flags.verb);
  const fs::path input = table.find(flags.file), path = output_path(flags.output, {input});
  const auto reader = table.open(input);
  const LoraNaming& naming = flags.to.empty() ? naming_of(*reader) : find_lora_naming(flags.to);
  const ConvertOptions options{kind_of(flags.kind), flags.ranks.options(), dtype_of_word(flags.output.dtype), flags.to};
  TerminalProgress progress(output, output.terminal && !flags.verb.quiet);
  ConvertResult result;
  LoraDraft draft = convert(*reader, options, result, progress);
  WrittenLora written = write_draft(path, std::move(draft), naming, flags.partial, progress);
  progress.clear_line();
  if (!written.left_out.empty())
    written.notes.push_back(std::to_string(written.left_out.size()) +
                            " layers have no name in this spelling and are left out (first: " + written.left_out[0] + ")");
  note_unmatched(*reader, written.notes);
  report(path, written.notes, result.layers, flags.verb, output);
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
  return [flags](Output& output) { return resize_file(*flags, output); };
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
  return [flags](Output& output) { return convert_file(*flags, output); };
}

}  // namespace lorikeet
