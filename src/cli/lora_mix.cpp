// lorikeet lora mix, lora bake: several files become one, or part of a checkpoint.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <ostream>

#include "base/error.h"
#include "base/text.h"
#include "cli/lora_inputs.h"
#include "workshop/lora_summary.h"
#include "cli/lora_verbs.h"
#include "io/hash.h"
#include "lora/surgery/option_words.h"
#include "workshop/bake.h"
#include "workshop/operations.h"

namespace fs = std::filesystem;

namespace lorikeet {

namespace {
struct ManyFiles {
  LoraVerbOptions verb;
  std::vector<std::string> files;
  OutputFlags output;
};

struct MixFlags : ManyFiles {
  std::string method = "sum", recipe, to;
  RankFlags ranks;
  double density = 0.5;
  uint64_t seed = 0;
};

struct Mixture {
  std::vector<MixInput> inputs;
  MixOptions options;
};

Mixture mixture_of_flags(const MixFlags& flags, LoraTable& table) {
  Mixture mixture;
  for (const std::string& file : flags.files) mixture.inputs.push_back(table.input(file));
  mixture.options = {flags.method, flags.ranks.options(), flags.density, flags.seed, dtype_of_word(flags.output.dtype), {}};
  if (table.checkpoint()) mixture.options.checkpoint = table.checkpoint()->checkpoint->path();
  return mixture;
}

fs::path file_of_hash(const LoraTable& table, ModelKind kind, const std::string& name, const std::string& hash) {
  if (const auto found = table.folders().find_hash(kind, hash)) return found->path;
  // Beside the models folders: a file of that name here, if it is the one.
  std::error_code code;
  if (fs::exists(name, code) && content_hash(name) == hash) return name;
  throw Error(ErrorKind::not_found,
              "the recipe wants " + name + " (sha256 " + hash.substr(0, 12) + "…), and no file in the models folders is that one",
              "add its folder with --lora-dir");
}

Mixture mixture_of_recipe(const MixFlags& flags, LoraTable& table) {
  if (!flags.files.empty()) throw Error(ErrorKind::bad_input, "a recipe names its files itself", "leave out " + flags.files[0]);
  const MixRecipe recipe = read_recipe(TensorFile::open(table.find(flags.recipe))->metadata());
  Mixture mixture{{}, recipe.options};
  if (!recipe.checkpoint_sha256.empty()) {
    if (!table.checkpoint()) table.use_checkpoint(file_of_hash(table, ModelKind::checkpoint, "a checkpoint", recipe.checkpoint_sha256));
    mixture.options.checkpoint = table.checkpoint()->checkpoint->path();
  }
  for (const auto& input : recipe.inputs)
    mixture.inputs.push_back(
        {table.open(file_of_hash(table, ModelKind::lora, input.name, input.sha256)), input.te, input.unet, input.blocks});
  return mixture;
}

int run_mix(const MixFlags& flags, Output& output) {
  LoraTable table = open_table(flags.verb);
  const Mixture mixture = flags.recipe.empty() ? mixture_of_flags(flags, table) : mixture_of_recipe(flags, table);
  const fs::path path = output_path(flags.output, paths_of(mixture.inputs));
  TerminalProgress progress(output, output.terminal && !flags.verb.quiet);
  const MadeLora made = mix_files(mixture.inputs, mixture.options, flags.to, path, progress);
  progress.clear_line();
  if (flags.verb.json) {
    print_written_json(path, made.notes, made.layers, output);
    return 0;
  }
  print_layers(made.layers, output.out);
  print_written(path, made.notes, flags.verb, output);
  return 0;
}

int bake_files(const ManyFiles& flags, Output& output) {
  LoraVerbOptions verb = flags.verb;
  LoraTable table = open_table(verb);
  if (verb.model.empty()) table.use_checkpoint(find_checkpoint(table.folders(), "").file.path);
  std::vector<MixInput> inputs;
  for (const std::string& file : flags.files) inputs.push_back(table.input(file));
  if (inputs.empty()) throw Error(ErrorKind::bad_input, "which LoRAs?", "lorikeet lora bake -m CHECKPOINT a:0.8 -o merged.safetensors");
  const OpenCheckpoint& model = *table.checkpoint();
  std::vector<fs::path> sources = paths_of(inputs);
  sources.push_back(model.checkpoint->path());
  const fs::path path = output_path(flags.output, sources, fs::is_directory(model.checkpoint->path()));
  TerminalProgress progress(output, output.terminal && !verb.quiet);
  const BakeResult result = bake(*model.checkpoint, model.layers, inputs, {dtype_of_word(flags.output.dtype)}, path, progress);
  progress.clear_line();
  if (verb.json) {
    const nlohmann::ordered_json json{
        {"path", path.string()}, {"layers", result.layers}, {"tensors", result.tensors}, {"notes", result.notes}};
    output.out << json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
    return 0;
  }
  for (const std::string& note : result.notes) output.err << "note: " << note << "\n";
  output.out << path.string() << "  " << result.layers << " layers changed\n";
  return 0;
}
}  // namespace

RunCommand define_lora_mix(CLI::App& app) {
  const auto flags = std::make_shared<MixFlags>();
  std::vector<std::string> methods, namings;
  for (const MixMethod& method : mix_methods()) methods.push_back(std::string(method.name) + " (" + std::string(method.summary) + ")");
  for (const LoraNaming& naming : lora_namings()) namings.emplace_back(naming.name);
  app.add_option("files", flags->files, "LoRAs with multipliers: NAME:0.7, NAME:TEXT:UNET, NAME:0.7:lbw=1,0,….")
      ->group("Options")
      ->type_name("LORA:X…");
  app.add_option("--method", flags->method, "One of " + join(methods, "; ") + ".")
      ->group("Options")
      ->type_name("NAME")
      ->capture_default_str();
  app.add_option("--recipe", flags->recipe, "Make a mixed file again from what it says about itself; the files are found by their hashes.")
      ->group("Options")
      ->type_name("FILE");
  app.add_option("--to", flags->to, "The spelling of the keys [the first file's]. One of " + join(namings, ", ") + ".")
      ->group("Options")
      ->type_name("SPELLING");
  app.add_option("--density", flags->density, "ties, dare: the share of the entries that is kept.")
      ->group("Options")
      ->type_name("X")
      ->capture_default_str();
  app.add_option("--seed", flags->seed, "dare: of what is kept.")->group("Options")->type_name("N")->capture_default_str();
  add_output_options(app, flags->output, "f16");
  add_rank_options(app, flags->ranks);
  add_verb_options(app, flags->verb);
  return [flags](Output& output) { return run_mix(*flags, output); };
}

RunCommand define_lora_bake(CLI::App& app) {
  const auto flags = std::make_shared<ManyFiles>();
  app.add_option("files", flags->files, "LoRAs with multipliers: NAME:0.8, NAME:TEXT:UNET, NAME:0.8:lbw=1,0,….")
      ->group("Options")
      ->type_name("LORA:X…");
  add_output_options(app, flags->output, "keep");
  add_verb_options(app, flags->verb);
  return [flags](Output& output) { return bake_files(*flags, output); };
}

}  // namespace lorikeet
