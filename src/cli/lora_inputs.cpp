#include "cli/lora_inputs.h"

#include <ATen/Parallel.h>
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <ostream>

#include "base/error.h"
#include "base/text.h"
#include "io/hash.h"
#include "lora/surgery/describe.h"
#include "lora/surgery/option_words.h"
#include "workshop/lora_summary.h"
#include "workshop/report.h"

namespace fs = std::filesystem;

namespace lorikeet {

void add_verb_options(CLI::App& app, LoraVerbOptions& options, bool with_model) {
  if (with_model)
    app.add_option("-m,--model", options.model, "The checkpoint that the LoRA is for: a name, a file, or a folder in diffusers' layout.")
        ->group("Options")
        ->type_name("CHECKPOINT");
  app.add_flag("--json", options.json, "Print the result as JSON.")->group("Options");
  app.add_flag("-q,--quiet", options.quiet, "No progress.")->group("Options");
  app.add_option("--threads", options.threads, "Threads of the CPU; 0: one a core.")
      ->group("Device")
      ->type_name("N")
      ->check(CLI::Range(0, 1024).description(""))
      ->capture_default_str();
  add_folder_options(app, options.folders);
}

LoraTable open_table(const LoraVerbOptions& options) {
  if (options.threads > 0) at::set_num_threads(options.threads);
  LoraTable table(open_folders(options.folders), /*with_paths=*/true);
  if (!options.model.empty()) table.use_checkpoint(table.find_checkpoint(options.model));
  return table;
}

RankOptions RankFlags::options() const {
  RankOptions options;
  options.rank = rank;
  options.conv_rank = conv_rank;
  if (!rule.empty()) read_rank_rule(rule, options);
  for (const std::string& list : block_ranks) read_block_ranks(list, options);
  return options;
}

void add_rank_options(CLI::App& app, RankFlags& flags) {
  std::vector<std::string> rules;
  for (const RankRule& rule : rank_rules()) rules.push_back(std::string(rule.name) + " (" + std::string(rule.summary) + ")");
  app.add_option("-r,--rank", flags.rank, "The rank; with --rule the most.")
      ->group("Ranks")
      ->type_name("N")
      ->check(CLI::Range(1, 100000).description(""));
  app.add_option("--conv-rank", flags.conv_rank, "The same for convolutions larger than 1×1 [as --rank].")
      ->group("Ranks")
      ->type_name("N")
      ->check(CLI::Range(1, 100000).description(""));
  app.add_option("--rule", flags.rule, "Choose each layer's rank by its singular values. One of " + join(rules, ", ") + ".")
      ->group("Ranks")
      ->type_name("NAME=P");
  app.add_option("--block-ranks", flags.block_ranks, "The most for single blocks: IN04=16,OUT=8,TE=4.")
      ->group("Ranks")
      ->type_name("BLOCK=N,…")
      ->allow_extra_args(false);
}

void add_output_options(CLI::App& app, OutputFlags& flags, const std::string& default_dtype) {
  flags.dtype = default_dtype;
  app.add_option("-o,--output", flags.path, "The file to write.")->group("Options")->type_name("FILE");
  app.add_option("--dtype", flags.dtype, "Type of the numbers: f16, bf16, f32, or keep.")
      ->group("Options")
      ->type_name("DTYPE")
      ->capture_default_str();
  app.add_flag("--force", flags.force, "Replace a file that is there already.")->group("Options");
}

fs::path output_path(const OutputFlags& flags, const std::vector<fs::path>& inputs, bool is_folder) {
  if (flags.path.empty()) throw Error(ErrorKind::bad_input, "where to?", "-o FILE.safetensors");
  fs::path path = flags.path;
  if (!is_folder && !path.has_extension()) path += ".safetensors";
  if (!is_folder && lower(path.extension().string()) != ".safetensors") {
    throw Error(ErrorKind::bad_input, path.string() + " would hold safetensors under another extension",
                "name it " + fs::path(path).replace_extension(".safetensors").string());
  }
  refuse_input_as_output(path, inputs);
  std::error_code code;
  if (!flags.force && fs::exists(path, code))
    throw Error(ErrorKind::bad_input, path.string() + " is there already", "choose another name, or --force to replace it");
  return path;
}

void print_layers(const std::vector<LayerResult>& layers, std::ostream& out) { out << line_of(layers) << "\n"; }

void print_written(const fs::path& path, const std::vector<std::string>& notes, const LoraVerbOptions&, Output& output) {
  for (const std::string& note : notes) output.err << "note: " << note << "\n";
  output.out << path.string() << "  " << size_text(fs::file_size(path)) << "  AutoV3 " << auto_v3(path).substr(0, 12) << "\n";
}

void print_written_json(const fs::path& path, const std::vector<std::string>& notes, const std::vector<LayerResult>& layers,
                        Output& output) {
  nlohmann::ordered_json json{{"path", path.string()}, {"bytes", fs::file_size(path)}, {"notes", notes}};
  json["hashes"] = lora_hashes(*LoraFile::open(path));
  json["relative_error"] = total_error(layers);
  json["layers"] = json_of(layers);
  output.out << json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
}

std::vector<std::string> lora_option_values(const std::string& flag) {
  std::vector<std::string> values;
  if (flag == "--to")
    for (const LoraNaming& naming : lora_namings()) values.emplace_back(naming.name);
  if (flag == "--method")
    for (const MixMethod& method : mix_methods()) values.emplace_back(method.name);
  if (flag == "--rule")
    for (const RankRule& rule : rank_rules()) values.push_back(std::string(rule.name) + "=");
  if (flag == "--kind") values = {"lora", "full"};
  if (flag == "--dtype") values = {"f16", "bf16", "f32", "keep"};
  return values;
}

}  // namespace lorikeet
