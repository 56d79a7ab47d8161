// lorikeet generate: flags -> Request -> generate() -> picture files and a report.
#include "generate/generate.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <ostream>

#include "cli/command.h"
#include "cli/output_files.h"
#include "cli/request_options.h"
#include "cli/run_report.h"
#include "cli/terminal_progress.h"
#include "generate/engine.h"
#include "generate/latents.h"
#include "generate/pixels.h"
#include "generate/request.h"

namespace lorikeet {

namespace {
using nlohmann::json;
using Clock = std::chrono::steady_clock;

struct GenerateOptions {
  RequestOptions request;
  std::string preview;
  bool json = false, quiet = false;
};

std::vector<std::string> write_pictures(const GenerateResult& result, const Request& request, OutputFiles& files) {
  std::vector<std::string> paths;
  for (const GeneratedPicture& one : result.pictures) {
    const auto path = files.next(one.seed);
    write_picture(path, one.picture, {{"parameters", one.infotext}}, request.quality);
    paths.push_back(path.string());
  }
  return paths;
}

void report(const GenerateOptions& options, const GenerateResult& result, const std::vector<std::string>& paths, double load_seconds,
            Output& output) {
  if (!options.quiet) print_reports(result.loras, result.warnings, output.err);
  if (!options.json) {
    for (const std::string& path : paths) output.out << path << "\n";
    return;
  }
  json pictures = json::array(), loras = json::array();
  for (size_t i = 0; i < paths.size(); ++i)
    pictures.push_back({{"path", paths[i]}, {"seed", result.pictures[i].seed}, {"infotext", result.pictures[i].infotext}});
  for (const LoraReport& lora : result.loras) loras.push_back(json_of(lora));
  const json all{
      {"pictures", pictures}, {"loras", loras}, {"warnings", result.warnings}, {"load_seconds", load_seconds}, {"seconds", result.seconds}};
  output.out << all.dump(2, ' ', false, json::error_handler_t::replace) << "\n";
}

int run_generate(const GenerateOptions& options, Output& output) {
  const ModelFolders folders = open_folders(options.request.folders);
  RequestPlan plan = plan_request(options.request, folders);
  OutputFiles files(options.request.output, plan.request.format);
  if (!options.preview.empty()) picture_format_of_path(options.preview);
  TerminalProgress progress(output, output.terminal && !options.quiet);
  progress.stage("loading " + plan.checkpoint.file.path.filename().string(), 0);
  const auto began = Clock::now();
  Engine engine(engine_options(options.request, plan, folders));
  const double load_seconds = std::chrono::duration<double>(Clock::now() - began).count();
  if (!options.preview.empty())
    progress.preview_to(options.preview, [&](const Tensor& x0) {
      const Tensor small = preview_image(engine.spec().latent, x0.slice(0, 0, 1).to(torch::kCPU, torch::kFloat));
      return picture_of(resize(small, static_cast<int>(small.size(2)) * 8, static_cast<int>(small.size(1)) * 8, Resampling::nearest));
    });
  GenerateResult result = generate(engine, plan.request, progress);
  result.warnings.insert(result.warnings.begin(), plan.notes.begin(), plan.notes.end());
  const auto paths = write_pictures(result, plan.request, files);
  progress.clear_line();
  report(options, result, paths, load_seconds, output);
  return 0;
}
}  // namespace

RunCommand define_generate(CLI::App& app) {
  const auto options = std::make_shared<GenerateOptions>();
  add_request_options(app, options->request, "A picture file, or a folder.");
  app.add_option("--preview", options->preview, "Keep writing the picture so far to this file.")->group("Advanced")->type_name("FILE");
  add_folder_options(app, options->request.folders);
  add_device_options(app, options->request.device);
  app.add_flag("--json", options->json, "The result as JSON on the standard output.")->group("Advanced");
  app.add_flag("-q,--quiet", options->quiet, "No progress, reports and warnings.")->group("Advanced");
  return [options](Output& output) { return run_generate(*options, output); };
}

}  // namespace lorikeet
