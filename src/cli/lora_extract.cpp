// lorikeet lora extract: the difference of two checkpoints becomes a LoRA.
#include <CLI/CLI.hpp>
#include <ostream>

#include "base/error.h"
#include "cli/lora_inputs.h"
#include "cli/lora_verbs.h"
#include "lora/surgery/option_words.h"
#include "workshop/operations.h"

namespace fs = std::filesystem;

namespace lorikeet {

namespace {
struct ExtractFlags {
  LoraVerbOptions verb;
  std::string base, tuned, to = "kohya";
  RankFlags ranks;
  OutputFlags output;
  ExtractOptions options;
  bool no_conv = false, no_te = false;
};

int extract_lora(const ExtractFlags& flags, Output& output) {
  if (flags.base.empty() || flags.tuned.empty())
    throw Error(ErrorKind::bad_input, "which checkpoints?", "lorikeet lora extract --base A --tuned B --rank 32 -o DIFF.safetensors");
  LoraTable table = open_table(flags.verb);
  const OpenCheckpoint base = open_checkpoint(table.find_checkpoint(flags.base)), tuned = open_checkpoint(table.find_checkpoint(flags.tuned));
  const fs::path path = output_path(flags.output, {base.checkpoint->path(), tuned.checkpoint->path()});
  ExtractOptions options = flags.options;
  options.ranks = flags.ranks.options();
  options.convolutions = !flags.no_conv;
  options.text_encoder = !flags.no_te;
  options.dtype = dtype_of_word(flags.output.dtype).value_or(torch::kHalf);
  TerminalProgress progress(output, output.terminal && !flags.verb.quiet);
  const MadeLora made = extract_file(base, tuned, options, flags.to, path, progress);
  progress.clear_line();
  if (flags.verb.json) {
    print_written_json(path, made.notes, made.layers, output);
    return 0;
  }
  print_layers(made.layers, output.out);
  print_written(path, made.notes, flags.verb, output);
  return 0;
}
}  // namespace

RunCommand define_lora_extract(CLI::App& app) {
  const auto flags = std::make_shared<ExtractFlags>();
  app.add_option("--base", flags->base, "The checkpoint to start from.")->group("Options")->type_name("CHECKPOINT");
  app.add_option("--tuned", flags->tuned, "The checkpoint that is to be reached.")->group("Options")->type_name("CHECKPOINT");
  app.add_option("--to", flags->to, "The spelling of the keys.")->group("Options")->type_name("SPELLING")->capture_default_str();
  app.add_flag("--no-conv", flags->no_conv, "Leave out convolutions larger than 1×1.")->group("Options");
  app.add_flag("--no-te", flags->no_te, "Leave out the text encoder.")->group("Options");
  app.add_flag("--rest", flags->options.rest, "Norms and biases too, as whole differences.")->group("Options");
  app.add_flag("--exact", flags->options.exact, "All singular values, instead of the leading ones by random projection (slow).")
      ->group("Options");
  app.add_option("--min-diff", flags->options.min_difference, "Leave out layers no entry of which differs by more.")
      ->group("Options")
      ->type_name("X")
      ->capture_default_str();
  app.add_option("--clamp-quantile", flags->options.clamp_quantile,
                 "Cut off entries of the factors beyond this quantile (kohya's 0.99); 1: none.")
      ->group("Options")
      ->type_name("X")
      ->capture_default_str();
  app.add_option("--seed", flags->options.seed, "Of the random projections.")->group("Options")->type_name("N")->capture_default_str();
  add_output_options(app, flags->output, "f16");
  add_rank_options(app, flags->ranks);
  add_verb_options(app, flags->verb, /*with_model=*/false);
  return [flags](Output& output) { return extract_lora(*flags, output); };
}

}  // namespace lorikeet
