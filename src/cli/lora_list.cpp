// lorikeet lora list: what LoRAs there are.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <ostream>

#include "base/text.h"
#include "workshop/lora_summary.h"
#include "cli/lora_verbs.h"
#include "cli/options.h"
#include "library/facts.h"

namespace lorikeet {

namespace {
struct LoraOptions {
  FolderOptions folders;
  bool json = false;
};

struct Row {
  ModelFile file;
  uintmax_t bytes = 0;
  std::optional<LoraSummary> summary;
  std::string fault;  // one bad file is a line of the list, not its end
};

std::vector<Row> read_rows(const ModelFolders& folders) {
  std::vector<Row> rows;
  for (const ModelFile& file : folders.list(ModelKind::lora)) {
    Row row{file, 0, std::nullopt, {}};
    std::error_code code;
    row.bytes = std::filesystem::file_size(file.path, code);
    FileFacts facts = read_facts(file);
    row.summary = std::move(facts.lora);
    row.fault = std::move(facts.error);
    rows.push_back(std::move(row));
  }
  return rows;
}

// By the layers; else what the metadata claims, marked with '?'.
std::string family_text(const LoraSummary& summary) { return summary.family.empty() ? summary.claimed_family + "?" : summary.family; }

void print_table(const std::vector<Row>& rows, Output& output) {
  std::vector<std::array<std::string, 5>> cells{{"name", "family", "kind", "size", "trigger words"}};
  for (const Row& row : rows) {
    if (!row.summary) {
      cells.push_back({row.file.name, "-", "-", size_text(row.bytes), "(cannot be read: " + row.fault + ")"});
      continue;
    }
    cells.push_back({row.file.name, family_text(*row.summary), kinds_text(*row.summary), size_text(row.bytes), trigger_text(*row.summary)});
  }
  std::array<size_t, 5> widths{};
  for (const auto& line : cells)
    for (size_t i = 0; i < 4; ++i) widths[i] = std::max(widths[i], line[i].size());
  for (const auto& line : cells) {
    for (size_t i = 0; i < 4; ++i) output.out << line[i] << std::string(widths[i] - line[i].size() + 2, ' ');
    output.out << line[4] << "\n";
  }
}

void print_json(const std::vector<Row>& rows, Output& output) {
  nlohmann::json list = nlohmann::json::array();
  for (const Row& row : rows) {
    nlohmann::json one{{"name", row.file.name}, {"path", row.file.path.string()}, {"bytes", row.bytes}};
    if (row.summary)
      one.update(json_of(*row.summary));
    else
      one["error"] = row.fault;
    list.push_back(std::move(one));
  }
  output.out << list.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
}

int list(const LoraOptions& options, Output& output) {
  const ModelFolders folders = open_folders(options.folders);
  const auto rows = read_rows(folders);
  if (options.json) {
    print_json(rows, output);
  } else if (!rows.empty()) {
    print_table(rows, output);
  } else {
    std::vector<std::string> places;
    for (const auto& place : folders.places(ModelKind::lora)) places.push_back(place.string());
    output.err << "there are no LoRAs" << (places.empty() ? "; name your models folder with --models DIR" : " in " + join(places, ", "))
               << "\n";
  }
  return 0;
}
}  // namespace

RunCommand define_lora_list(CLI::App& app) {
  const auto options = std::make_shared<LoraOptions>();
  app.add_flag("--json", options->json, "As JSON.")->group("Options");
  add_folder_options(app, options->folders);
  return [options](Output& output) { return list(*options, output); };
}

}  // namespace lorikeet
