#include "cli/lora_inputs.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <ostream>

#include "base/error.h"
#include "base/text.h"
#include "cli/lora_summary.h"
#include "io/hash.h"
#include "lora/block_presets.h"
#include "lora/surgery/describe.h"
#include "lora/surgery/option_words.h"
#include "workshop/outline.h"

namespace fs = std::filesystem;

namespace lorikeet {

namespace {

double number_of(std::string_view text, const std::string& whole) {
  const auto number = parse_double(trim(text));
  if (!number)
    throw Error(ErrorKind::bad_input, "\"" + std::string(text) + "\" in \"" + whole + "\" is no multiplier", "NAME:0.8, or NAME:0.8:0.5");
  return *number;
}

std::string short_number(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.3g", value);
  return text;
}

std::string range_text(int64_t least, int64_t most) { return std::to_string(least) + (least == most ? "" : "-" + std::to_string(most)); }

}  // namespace

OpenCheckpoint open_checkpoint(const fs::path& path) {
  OpenCheckpoint open;
  open.checkpoint = Checkpoint::open(path);
  open.spec = recognise_model(*open.checkpoint);
  open.layers = outline(*open.checkpoint, open.spec);
  return open;
}

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

LoraTable::LoraTable(const LoraVerbOptions& options) : folders_(open_folders(options.folders)) {
  if (options.threads > 0) at::set_num_threads(options.threads);
  if (!options.model.empty()) use_checkpoint(folders_.find(ModelKind::checkpoint, options.model, true).file.path);
}

fs::path LoraTable::find(const std::string& name) const { return folders_.find(ModelKind::lora, name, /*with_paths=*/true).file.path; }

std::shared_ptr<const LoraReader> LoraTable::open(const fs::path& path) {
  for (const auto& reader : readers_)
    if (reader->file().path() == path) return reader;
  const auto file = LoraFile::open(path);
  const auto reader = with_context("while reading LoRA " + path.filename().string(), [&] {
    if (checkpoint_) return std::make_shared<const LoraReader>(file, checkpoint_->layers, checkpoint_->spec.family);
    return std::make_shared<const LoraReader>(LoraReader::by_shapes(file, known_layers(guess_family(*file))));
  });
  readers_.push_back(reader);
  return reader;
}

BlockWeights LoraTable::blocks(std::string_view text) const {
  if (checkpoint_) return BlockPresets::in(folders_).weights(text, checkpoint_->layers);
  if (text.find(',') == std::string_view::npos)
    throw Error(ErrorKind::bad_input, "the blocks that \"lbw=" + std::string(text) + "\" means depend on the model", "name the checkpoint with -m, or write numbers");
  return BlockWeights::parse(text);
}

MixInput LoraTable::input(const std::string& text) {
  std::error_code code;
  if (fs::exists(text, code)) return {open(text)};  // a path may have colons
  const auto parts = split(text, ':');
  MixInput input{open(find(std::string(parts[0])))};
  int positional = 0;
  for (size_t i = 1; i < parts.size(); ++i) {
    const size_t equals = parts[i].find('=');
    const std::string_view key = parts[i].substr(0, equals == std::string_view::npos ? 0 : equals), value = parts[i].substr(equals + 1);
    if (equals == std::string_view::npos) {
      const double number = number_of(parts[i], text);
      if (positional == 0) input.te = number;
      if (positional > 1) throw Error(ErrorKind::bad_input, "\"" + text + "\" has more than two multipliers", "NAME:TEXT_ENCODER:UNET");
      input.unet = number;
      ++positional;
    } else if (key == "te") {
      input.te = number_of(value, text);
    } else if (key == "unet") {
      input.unet = number_of(value, text);
    } else if (key == "lbw") {
      input.blocks = blocks(value);
    } else {
      throw Error(ErrorKind::bad_input, "\"" + std::string(key) + "\" in \"" + text + "\" is not known", "te=, unet= and lbw= are");
    }
  }
  return input;
}

RankOptions RankFlags::options() const {
  RankOptions options;
  options.rank = rank;
  options.conv_rank = conv_rank;
  if (!rule.empty()) {
    const size_t equals = rule.find('=');
    const auto number = equals == std::string::npos ? std::nullopt : parse_double(rule.substr(equals + 1));
    options.rule = find_rank_rule(rule.substr(0, equals)).name;
    if (!number) throw Error(ErrorKind::bad_input, "\"" + rule + "\" has no number", "--rule " + options.rule + "=0.9");
    options.parameter = *number;
  }
  for (const std::string& list : block_ranks)
    for (const std::string_view item : split(list, ',')) {
      const size_t equals = item.find('=');
      const auto number = equals == std::string_view::npos ? std::nullopt : parse_int(item.substr(equals + 1));
      if (!number || *number < 1)
        throw Error(ErrorKind::bad_input, "\"" + std::string(item) + "\" is no rank of a block", "--block-ranks IN04=16,OUT=8");
      options.block_ranks[std::string(item.substr(0, equals))] = *number;
    }
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

fs::path output_path(const OutputFlags& flags, const std::vector<fs::path>& inputs) {
  if (flags.path.empty()) throw Error(ErrorKind::bad_input, "where to?", "-o FILE.safetensors");
  const fs::path path = flags.path;
  refuse_input_as_output(path, inputs);
  std::error_code code;
  if (!flags.force && fs::exists(path, code))
    throw Error(ErrorKind::bad_input, path.string() + " is there already", "choose another name, or --force to replace it");
  return path;
}

void print_layers(const std::vector<LayerResult>& layers, std::ostream& out) {
  int64_t least = 0, most = 0, least_before = 0, most_before = 0;
  int ranked = 0;
  const LayerResult* worst = nullptr;
  for (const LayerResult& layer : layers) {
    if (layer.rank > 0) {
      least = ranked ? std::min(least, layer.rank) : layer.rank;
      most = std::max(most, layer.rank);
      least_before = ranked ? std::min(least_before, layer.rank_before) : layer.rank_before;
      most_before = std::max(most_before, layer.rank_before);
      ++ranked;
    }
    if (!worst || layer.error > worst->error) worst = &layer;
  }
  out << layers.size() << " layers";
  if (ranked) out << ", rank " << (most_before ? range_text(least_before, most_before) + " -> " : "") << range_text(least, most);
  out << ", relative error " << short_number(total_error(layers));
  if (worst && worst->error > 0) out << " (largest " << short_number(worst->error) << " at " << worst->path << ")";
  out << "\n";
}

void print_written(const fs::path& path, const std::vector<std::string>& notes, const LoraVerbOptions&, Output& output) {
  for (const std::string& note : notes) output.err << "note: " << note << "\n";
  output.out << path.string() << "  " << size_text(fs::file_size(path)) << "  AutoV3 " << auto_v3(path).substr(0, 12) << "\n";
}

void print_written_json(const fs::path& path, const std::vector<std::string>& notes, const std::vector<LayerResult>& layers,
                        Output& output) {
  nlohmann::ordered_json json{{"path", path.string()}, {"bytes", fs::file_size(path)}, {"notes", notes}};
  json["hashes"] = lora_hashes(*LoraFile::open(path));
  json["relative_error"] = total_error(layers);
  json["layers"] = nlohmann::ordered_json::array();
  for (const LayerResult& layer : layers)
    json["layers"].push_back({{"path", layer.path},
                              {"block", layer.block},
                              {"rank_before", layer.rank_before},
                              {"rank", layer.rank},
                              {"norm", layer.norm},
                              {"relative_error", layer.error}});
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
