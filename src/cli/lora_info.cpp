// lorikeet lora info, lora check: what a file is, what it changes and how much.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <ostream>

#include "base/error.h"
#include "base/text.h"
#include "cli/lora_inputs.h"
#include "workshop/lora_summary.h"
#include "cli/lora_verbs.h"
#include "io/atomic_file.h"
#include "io/picture.h"
#include "lora/surgery/describe.h"
#include "lora/surgery/heat_map.h"
#include "workshop/report.h"

namespace fs = std::filesystem;

namespace lorikeet {

namespace {
using nlohmann::ordered_json;

struct InfoOptions {
  LoraVerbOptions verb;
  std::vector<std::string> files;
  std::string heat_map;
  bool layers = false;
};

std::string text_of(double value, const char* format = "%.3g") {
  char text[40];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string counts_text(const std::map<std::string, int>& counts) {
  std::vector<std::string> parts;
  for (const auto& [name, count] : counts) parts.push_back(name + " ×" + std::to_string(count));
  return join(parts, ", ");
}

template <class Number, class Text>
std::string range_of(const std::map<Number, int>& counts, Text text) {
  if (counts.empty()) return "-";
  const std::string least = text(counts.begin()->first), most = text(counts.rbegin()->first);
  return least == most ? least : least + "-" + most;
}

void print_header(const LoraDescription& d, std::ostream& out) {
  const LoraSummary& s = d.summary;
  out << s.name << "  (" << d.path << ")\n";
  out << "  family        " << (s.family.empty() ? "not told by its layers" : s.family);
  if (!s.claimed_base.empty()) out << "; its metadata says " << s.claimed_base;
  out << "\n  kinds         " << kinds_text(s) << "  (" << counts_text(s.kinds) << ")\n";
  out << "  changes       " << (s.unet ? "U-Net" : "") << (s.unet && s.text_encoder ? " and " : "")
      << (s.text_encoder ? "text encoder" : "") << ", " << s.modules << " modules\n";
  out << "  size          " << size_text(d.bytes) << "; tensors " << counts_text(d.dtypes) << "\n";
  for (const auto& [name, hash] : d.hashes) out << "  " << name << std::string(14 - std::min<size_t>(13, name.size()), ' ') << hash << "\n";
  if (!s.trigger_phrase.empty()) out << "  trigger       " << s.trigger_phrase << "\n";
  if (!s.embeddings.empty()) out << "  embeddings    " << join(s.embeddings, ", ") << "\n";
  std::vector<std::string> tags;
  for (size_t i = 0; i < s.tags.size() && i < 12; ++i) tags.push_back(s.tags[i].first + " ×" + std::to_string(s.tags[i].second));
  if (!tags.empty()) out << "  top tags      " << join(tags, ", ") << "\n";
  for (const auto& [words, text] : d.training) {
    constexpr size_t kLongest = 120;
    out << "  " << words << ": " << (text.size() > kLongest ? valid_utf8(text.substr(0, kLongest)) + "…" : text) << "\n";
  }
}

// "resize of fox.safetensors (rank 32)"
void print_history(const std::string& history, std::ostream& out) {
  if (history.empty()) return;
  out << "  history\n";
  for (const auto& entry : ordered_json::parse(history)) {
    std::vector<std::string> names;
    if (entry.contains("inputs"))
      for (const auto& input : entry["inputs"]) names.push_back(input.value("name", "?"));
    out << "    " << entry.value("operation", "?") << " of " << join(names, ", ") << " "
        << (entry.contains("options") ? entry["options"].dump() : "") << "\n";
  }
}

void print_blocks(const LoraDescription& d, std::ostream& out) {
  const char* last = d.with_checkpoint ? "change of W" : "";
  out << "  block    layers  rank      alpha     ‖ΔW‖      largest σ  eff. rank  " << last << "\n";
  for (const BlockFacts& block : d.blocks) {
    char line[200];
    std::snprintf(line, sizeof line, "  %-8s %5d   %-9s %-9s %-9s %-10s %-9s  %s", block.name.c_str(), block.layers,
                  range_of(block.ranks, [](int64_t rank) { return std::to_string(rank); }).c_str(),
                  range_of(block.alphas, [](double alpha) { return text_of(alpha); }).c_str(), text_of(block.norm).c_str(),
                  text_of(block.largest_value).c_str(), text_of(block.effective_rank).c_str(),
                  block.weight_norm > 0 ? text_of(100 * block.norm / block.weight_norm, "%.3g %%").c_str() : "");
    out << line;
    if (block.dead > 0) out << "  " << block.dead << " dead";
    if (block.faults > 0) out << "  " << block.faults << " faulty";
    out << "\n";
  }
}

void print_layers(const LoraDescription& d, std::ostream& out) {
  for (const LayerFacts& layer : d.layers) {
    out << "  " << layer.path << "  " << layer.kind << (layer.rank > 0 ? " " + std::to_string(layer.rank) : "") << "  ‖ΔW‖ "
        << text_of(layer.norm) << "  σ";
    for (size_t i = 0; i < layer.values.size() && i < 4; ++i) out << " " << text_of(layer.values[i]);
    out << "  eff. rank " << text_of(layer.effective_rank) << "\n";
  }
}

void print_faults(const LoraDescription& d, std::ostream& out) {
  constexpr size_t kMost = 8;
  const auto list = [&](const std::string& what, const std::vector<std::string>& names) {
    if (names.empty()) return;
    out << "  " << what << ": " << names.size() << "\n";
    for (size_t i = 0; i < names.size() && i < kMost; ++i) out << "    " << names[i] << "\n";
    if (names.size() > kMost) out << "    … (all with --json)\n";
  };
  std::vector<std::string> faults, dead;
  for (const LayerFacts& layer : d.layers) {
    if (!layer.fault.empty()) faults.push_back(layer.path + ": " + layer.fault);
    if (layer.dead()) dead.push_back(layer.path);
  }
  list("modules that fit no layer", d.unmatched);
  list("tensors that are not used", d.unused);
  list("faults", faults);
  list("dead modules (they change nothing)", dead);
}

void print(const LoraDescription& d, bool layers, std::ostream& out) {
  print_header(d, out);
  print_history(d.history, out);
  if (d.with_checkpoint) {
    out << "  matched       " << d.matched << " of " << d.total << " modules\n";
    if (d.weight_norm > 0) out << "  ‖ΔW‖ / ‖W‖    " << text_of(100 * d.norm / d.weight_norm) << " %\n";
    if (d.suggested_multiplier > 0)
      out << "  multiplier    at most about " << text_of(d.suggested_multiplier, "%.2g") << " (no block changes by more than "
          << text_of(100 * kLargestChange, "%.0f") << " %)\n";
  }
  print_blocks(d, out);
  if (layers) print_layers(d, out);
  print_faults(d, out);
}

void write_heat_map(const LoraDescription& description, const fs::path& path) {
  const Drawing drawing = heat_map(description);
  if (lower(path.extension().string()) == ".svg")
    write_file_atomically(path, to_svg(drawing));
  else
    write_picture(path, to_picture(drawing));
}

int run_info(const InfoOptions& options, bool needs_checkpoint, Output& output) {
  if (options.files.empty()) throw Error(ErrorKind::bad_input, "which file?", "lorikeet lora info FILE…");
  if (!options.heat_map.empty() && options.files.size() > 1) throw Error(ErrorKind::bad_input, "a heat map is of one file");
  LoraVerbOptions verb = options.verb;
  LoraTable table = open_table(verb);
  if (needs_checkpoint && verb.model.empty()) table.use_checkpoint(find_checkpoint(table.folders(), "").file.path);
  ordered_json all = ordered_json::array();
  TerminalProgress progress(output, output.terminal && !verb.quiet);
  for (const std::string& name : options.files) {
    const auto reader = table.open(table.find(name));
    const LoraDescription description = describe(*reader, progress, [&] {
      if (table.checkpoint()) table.checkpoint()->checkpoint->release_pages();
    });
    progress.clear_line();
    if (!options.heat_map.empty()) write_heat_map(description, options.heat_map);
    if (verb.json)
      all.push_back(json_of(description));
    else
      print(description, options.layers, output.out);
  }
  if (verb.json) output.out << (all.size() == 1 ? all[0] : all).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
  return 0;
}

RunCommand define(CLI::App& app, bool needs_checkpoint) {
  const auto options = std::make_shared<InfoOptions>();
  app.add_option("files", options->files, "LoRAs: names or files.")->group("Options")->type_name("FILE…");
  app.add_flag("--layers", options->layers, "A line for each layer.")->group("Options");
  app.add_option("--heat-map", options->heat_map, "Write how much changes where as a picture: .svg, .png, .jpg or .webp.")
      ->group("Options")
      ->type_name("FILE");
  add_verb_options(app, options->verb);
  return [options, needs_checkpoint](Output& output) { return run_info(*options, needs_checkpoint, output); };
}
}  // namespace

RunCommand define_lora_info(CLI::App& app) { return define(app, false); }
RunCommand define_lora_check(CLI::App& app) { return define(app, true); }

}  // namespace lorikeet
