// lorikeet train, and lorikeet lora slider, which is the same with its method settled: flags and file -> TrainConfig -> train() -> a file
// that is usable at once.
#include "training/train.h"

#include <CLI/CLI.hpp>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <ostream>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/field_options.h"
#include "cli/lora_verbs.h"
#include "cli/options.h"
#include "cli/terminal_progress.h"
#include "server/training_run.h"
#include "training/process_group.h"

namespace lorikeet {

namespace {
namespace fs = std::filesystem;

struct TrainOptions {
  FolderOptions folders;
  std::string config, resume;
  std::optional<TrainMethod> method;  // what the command is for; nothing: as the settings say
  std::shared_ptr<GivenFields> given = std::make_shared<GivenFields>();
  bool json = false, quiet = false;
};

TrainConfig config_of(const TrainOptions& options, const ModelFolders& folders) {
  TrainConfig config;
  if (!options.config.empty()) {
    config = read_train_config(options.config);
    if (options.given->has("out")) config.run_dir.clear();  // the folder of that name, unless one is given
  }
  if (options.method) config.method = *options.method;
  read_given(config, *options.given);
  config.model = find_checkpoint(folders, config.model).file.path.string();
  if (!config.vae.empty()) config.vae = folders.find(ModelKind::vae, config.vae, /*with_paths=*/true).file.path.string();
  return config;
}

// Three significant digits at least: losses get small.
std::string loss_text(double loss) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", loss);
  return text;
}

TrainHooks hooks_of(const ModelFolders& folders, TerminalProgress& progress) {
  TrainHooks hooks;
  hooks.generate = [&](const SampleRequest& wanted) { return sample_pictures(wanted, folders, progress); };
  hooks.logged = [&progress, mean = std::optional<double>()](const LogRow& row, int64_t) mutable {
    mean = mean ? 0.98 * *mean + 0.02 * row.loss : row.loss;
    progress.note("loss " + loss_text(*mean) + (row.validation ? ", held out " + loss_text(*row.validation) : ""));
  };
  return hooks;
}

// As install_trained(); a file that is in the way is told.
fs::path install(const TrainResult& result, TrainMethod method, const ModelFolders& folders, Output& output) {
  const fs::path target = install_trained(result.file, method, folders, /*number=*/false);
  if (target.empty() && !folders.places(model_kind_of(method)).empty())
    output.err << "warning: " << (folders.places(model_kind_of(method)).front() / result.file.filename()).string()
               << " is there already and was left; the new file is " << result.file.string() << "\n";
  return target;
}

void report(const TrainOptions& options, const TrainConfig& config, const TrainResult& result, const fs::path& installed, Output& output) {
  if (!options.quiet)
    for (const std::string& warning : result.warnings) output.err << "warning: " << warning << "\n";
  if (options.json) {
    output.out << nlohmann::json{{"file", result.file.string()}, {"installed", installed.string()}, {"folder", result.folder.string()}, {"steps", result.steps},
                                 {"loss", result.loss}, {"best_step", result.best_step ? nlohmann::json(*result.best_step) : nlohmann::json()},
                                 {"warnings", result.warnings}}.dump(2)
               << "\n";
    return;
  }
  output.out << result.file.string() << "\n";
  if (installed.empty()) return;
  output.out << installed.string() << "\n";
  if (options.quiet) return;
  if (config.method == TrainMethod::slider) {
    output.err << "In a prompt: <lora:" << config.out << ":1> for \"" << config.slider_positive << "\", <lora:" << config.out << ":-1> for \""
               << config.slider_negative << "\"\n";
  } else if (model_kind_of(config.method) == ModelKind::lora) {
    output.err << "In a prompt: <lora:" << config.out << ">" << (config.trigger.empty() ? "" : " with " + config.trigger) << "\n";
  }
}

// The same command in `count` processes; each finds its rank in its environment.
int run_processes(int count, Output& output) {
  std::vector<std::string> command;
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  for (std::string argument; std::getline(file, argument, '\0');) command.push_back(argument);
  return launch_processes(count, command);
}

int run_train(const TrainOptions& options, Output& output) {
  const ModelFolders folders = open_folders(options.folders);
  TrainConfig config;
  if (options.resume.empty()) {
    config = checked(config_of(options, folders));
  } else {
    if (!options.given->values.empty() || !options.config.empty())
      throw Error(ErrorKind::bad_input, "a run that is resumed keeps its settings; " + (options.given->values.empty() ? "--config" : options.given->values[0].first) + " was given",
                  "start a new run for other settings");
    config = read_train_config(fs::path(options.resume) / "run.toml");
  }
  if (config.procs > 1 && !std::getenv("RANK")) return run_processes(config.procs, output);
  TerminalProgress progress(output, output.terminal && !options.quiet);
  const TrainHooks hooks = hooks_of(folders, progress);
  const TrainResult result = options.resume.empty() ? train(config, hooks, progress) : resume_training(options.resume, hooks, progress);
  progress.clear_line();
  if (result.file.empty()) return 0;  // another process has it
  report(options, config, result, config.install ? install(result, config.method, folders, output) : fs::path(), output);
  return 0;
}

RunCommand define(CLI::App& app, std::span<const FieldInfo> settings, std::optional<TrainMethod> method) {
  const auto options = std::make_shared<TrainOptions>();
  options->method = method;
  app.add_option("--config", options->config, "Settings from a TOML file; other options come on top.")->group("Run")->type_name("FILE");
  app.add_option("--resume", options->resume, "Go on with the run in this folder, exactly where it was.")->group("Run")->type_name("FOLDER");
  add_field_options(app, settings, options->given);
  add_folder_options(app, options->folders);
  app.add_flag("--json", options->json, "The result as JSON on the standard output.")->group("Run");
  app.add_flag("-q,--quiet", options->quiet, "No progress and warnings.")->group("Run");
  return [options](Output& output) { return run_train(*options, output); };
}
}  // namespace

RunCommand define_train(CLI::App& app) { return define(app, train_field_list(), {}); }

RunCommand define_lora_slider(CLI::App& app) {
  std::vector<FieldInfo> settings = train_field_list(TrainMethod::slider);
  std::erase_if(settings, [](const FieldInfo& info) { return info.field.name == "method" || info.field.name == "train_text_encoder"; });
  return define(app, settings, TrainMethod::slider);
}

}  // namespace lorikeet
