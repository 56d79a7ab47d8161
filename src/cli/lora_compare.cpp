// lorikeet lora compare: how alike two files are.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <ostream>

#include "base/error.h"
#include "base/text.h"
#include "cli/lora_inputs.h"
#include "cli/lora_verbs.h"
#include "lora/surgery/compare.h"
#include "workshop/report.h"

namespace lorikeet {

namespace {
struct CompareFlags {
  LoraVerbOptions verb;
  std::vector<std::string> files;
};

void print_json(const Comparison& comparison, Output& output) {
  output.out << json_of(comparison).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
}

void print_line(const Compared& compared, Output& output) {
  char line[120];
  std::snprintf(line, sizeof line, "  %-8s %-10.4g %-10.4g %7.4f\n", compared.name.c_str(), compared.first, compared.second,
                compared.cosine());
  output.out << line;
}

void print(const Comparison& comparison, Output& output) {
  if (comparison.same_tensors) output.out << "  the tensors are the same, byte by byte\n";
  output.out << "  block    ‖ΔW‖ of 1st, 2nd      cosine\n";
  for (const Compared& block : comparison.blocks) print_line(block, output);
  print_line(comparison.total, output);
  const auto list = [&](const char* what, const std::vector<std::string>& names) {
    if (!names.empty()) output.out << "  " << what << ": " << names.size() << " (first: " << names.front() << ")\n";
  };
  list("layers of the first only", comparison.only_first);
  list("layers of the second only", comparison.only_second);
  if (!comparison.metadata.empty()) output.out << "  metadata that differs: " << join(comparison.metadata, ", ") << "\n";
}

int compare_files(const CompareFlags& flags, Output& output) {
  if (flags.files.size() != 2) throw Error(ErrorKind::bad_input, "two files are compared", "lorikeet lora compare A B");
  LoraTable table = open_table(flags.verb);
  const auto first = table.open(table.find(flags.files[0])), second = table.open(table.find(flags.files[1]));
  TerminalProgress progress(output, output.terminal && !flags.verb.quiet);
  const Comparison comparison = compare(*first, *second, progress);
  progress.clear_line();
  flags.verb.json ? print_json(comparison, output) : print(comparison, output);
  return 0;
}
}  // namespace

RunCommand define_lora_compare(CLI::App& app) {
  const auto flags = std::make_shared<CompareFlags>();
  app.add_option("files", flags->files, "Two LoRAs: names or files.")->group("Options")->type_name("A B");
  add_verb_options(app, flags->verb);
  return [flags](Output& output) { return compare_files(*flags, output); };
}

}  // namespace lorikeet
