// lorikeet bench: the rows of bench/ as a table or as JSON.
#include "bench.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <ostream>

#include "cli/command.h"
#include "cli/options.h"

namespace lorikeet {

namespace {
struct BenchCommand {
  DeviceOptions device;
  FolderOptions folders;
  BenchOptions bench;
  std::string model;
  bool json = false, small = false;
};

std::string row_text(const BenchRow& row) {
  char text[160];
  std::snprintf(text, sizeof text, "%-62s %10.4g %s", row.name.c_str(), row.value, row.unit.c_str());
  std::string line = text;
  if (row.share > 0) {
    std::snprintf(text, sizeof text, "  %.0f %% of the matrix rate", 100 * row.share);
    line += text;
  }
  return line;
}

int run_bench_command(BenchCommand& command, Output& output) {
  BenchOptions& options = command.bench;
  options.device = command.device.device;
  options.threads = command.device.threads;
  options.large = !command.small;
  if (!command.model.empty()) options.checkpoint = find_checkpoint(open_folders(command.folders), command.model).file.path;
  const auto rows = run_bench(options, [&](const BenchRow& row) {
    if (!command.json) output.out << row_text(row) << std::endl;
  });
  if (!command.json) return 0;
  auto list = nlohmann::json::array();
  for (const BenchRow& row : rows) list.push_back({{"name", row.name}, {"value", row.value}, {"unit", row.unit}, {"share_of_matrix_rate", row.share}});
  output.out << nlohmann::json{{"rows", list}}.dump(2) << "\n";
  return 0;
}
}  // namespace

RunCommand define_bench(CLI::App& app) {
  auto command = std::make_shared<BenchCommand>();
  app.add_option("-m,--model", command->model, "An SD1.5 checkpoint; without it one with pseudo-random weights is written to the temporary folder (2.1 GB).");
  app.add_option("--only", command->bench.only, "Only rows whose name contains this text.");
  app.add_flag("--small", command->small, "Leave out the rows at 512².");
  app.add_flag("--json", command->json, "Print JSON at the end instead of a table.");
  add_folder_options(app, command->folders);
  add_device_options(app, command->device);
  return [command](Output& output) { return run_bench_command(*command, output); };
}

}  // namespace lorikeet
