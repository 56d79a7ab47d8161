// lorikeet plot: flags -> PlotRequest -> make_plot() -> the sheet, and the single pictures if they are wanted.
#include "generate/plot.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <ostream>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/output_files.h"
#include "cli/request_options.h"
#include "cli/run_report.h"
#include "cli/terminal_progress.h"

namespace lorikeet {

namespace {
using nlohmann::json;

struct PlotOptions {
  RequestOptions request;
  std::array<std::string, 3> axes;
  std::string title, cells;
  bool json = false, quiet = false;
};

std::string help_of_axes() {
  std::vector<std::string> kinds;
  for (const AxisKindInfo& kind : axis_kinds()) kinds.push_back(std::string(kind.spelling) + " (" + std::string(kind.help) + ")");
  return "What changes from column to column: KEY=VALUE,VALUE,…. KEY is one of " + join(kinds, "; ") +
         ". Numbers also as 1-5, 1-5 (+2), 0-1 [5]; a value with a comma in double quotes.";
}

PlotRequest plot_request(const PlotOptions& options, const Request& base) {
  PlotRequest plot{.base = base, .axes = {}, .title = options.title, .model_paths = true};
  for (size_t i = 0; i < plot.axes.size(); ++i)
    if (!options.axes[i].empty()) plot.axes[i] = read_plot_axis(options.axes[i]);
  if (plot.axes == PlotRequest{}.axes)
    throw Error(ErrorKind::bad_input, "nothing changes in this plot", "give at least one side, for example --x \"steps=10,20,30\"");
  return plot;
}

// The paths of the single pictures, in the order of the cells.
std::vector<std::string> write_cells(const PlotResult& result, const Request& base, OutputFiles& files) {
  std::vector<std::string> paths;
  for (const PlotCell& cell : result.cells) {
    const auto path = files.next(cell.made.seed);
    write_picture(path, cell.made.picture, {{"parameters", cell.made.infotext}}, base.quality);
    paths.push_back(path.string());
  }
  return paths;
}

json json_of(const PlotResult& result, const std::string& sheet, const std::vector<std::string>& paths) {
  json cells = json::array(), loras = json::array();
  for (size_t i = 0; i < result.cells.size(); ++i) {
    const PlotCell& cell = result.cells[i];
    cells.push_back({{"x", cell.at[0]}, {"y", cell.at[1]}, {"z", cell.at[2]}, {"seed", cell.made.seed}, {"infotext", cell.made.infotext}});
    if (!paths.empty()) cells.back()["path"] = paths[i];
  }
  for (const LoraReport& lora : result.loras) loras.push_back(json_of(lora));
  return {{"path", sheet}, {"cells", cells}, {"loras", loras}, {"warnings", result.warnings}, {"seconds", result.seconds}};
}

int run_plot(const PlotOptions& options, Output& output) {
  const ModelFolders folders = open_folders(options.request.folders);
  if (!OutputFiles::format_of(options.request.output))
    throw Error(ErrorKind::bad_input, options.request.output + " is no name of a picture file", "end the name in .png, .jpg or .webp");
  const RequestPlan plan = plan_request(options.request, folders);
  const PlotRequest plot = plot_request(options, plan.request);
  plan_plot(plot);  // what is wrong is told before a checkpoint is loaded
  OutputFiles sheet(options.request.output, plan.request.format);
  std::optional<OutputFiles> cells;
  if (!options.cells.empty()) cells.emplace(options.cells, PictureFormat::png);
  TerminalProgress progress(output, output.terminal && !options.quiet);
  progress.stage("loading " + plan.checkpoint.file.path.filename().string(), 0);
  Engine engine(engine_options(options.request, plan, folders));
  PlotResult result = make_plot(engine, plot, progress);
  result.warnings.insert(result.warnings.begin(), plan.notes.begin(), plan.notes.end());
  std::vector<std::string> paths;
  if (cells) paths = write_cells(result, plan.request, *cells);
  const std::string path = sheet.next(result.cells[0].made.seed).string();
  write_picture(path, result.sheet, {{"parameters", result.infotext}}, plan.request.quality);
  progress.clear_line();
  if (!options.quiet) print_reports(result.loras, result.warnings, output.err);
  if (options.json)
    output.out << json_of(result, path, paths).dump(2, ' ', false, json::error_handler_t::replace) << "\n";
  else
    output.out << path << "\n";
  return 0;
}
}  // namespace

RunCommand define_plot(CLI::App& app) {
  const auto options = std::make_shared<PlotOptions>();
  options->request.output = "outputs/plot.png";
  const auto add = [&](const char* flag, std::string& to, const std::string& help, const char* type) {
    app.add_option(flag, to, help)->group("Plot")->type_name(type);
  };
  add("--x", options->axes[0], help_of_axes(), "AXIS");
  add("--y", options->axes[1],
      "The same from row to row. --x \"{m}=0,0.5,1\" --y \"{l}=<lora:a:{m}>, <lora:b:{m}>\" with -p \"a house {l}\": "
      "one LoRA a row, its multiplier from column to column.",
      "AXIS");
  add("--z", options->axes[2], "The same from one block of columns and rows to the next.", "AXIS");
  add("--title", options->title, "A line above the sheet.", "TEXT");
  add("--cells", options->cells, "Keeps the single pictures too: a folder.", "DIR");
  add_request_options(app, options->request, "The sheet: a picture file.");
  add_folder_options(app, options->request.folders);
  add_device_options(app, options->request.device);
  app.add_flag("--json", options->json, "The result as JSON on the standard output.")->group("Advanced");
  app.add_flag("-q,--quiet", options->quiet, "No progress, reports and warnings.")->group("Advanced");
  return [options](Output& output) { return run_plot(*options, output); };
}

}  // namespace lorikeet
