// Jobs of the kind "train": the fields of TrainConfig, data sets and models by their names -> a file that is usable at once. A run that was
// paused, or ended with the program, goes on from its newest backup, exactly where it was.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "io/fields_json.h"
#include "server/app.h"
#include "server/datasets.h"
#include "server/job_kinds.h"
#include "server/job_progress.h"
#include "server/openapi.h"
#include "server/problem.h"
#include "server/training_run.h"
#include "training/train.h"

namespace fs = std::filesystem;

namespace lorikeet {

namespace {
using nlohmann::json;
constexpr size_t kMostLogRows = 500;

fs::path run_folder(App& app, const Job& job) { return app.data_folder("runs") / (std::to_string(job.id)); }

void refuse_settled(const json& request) {
  for (const auto& [key, value] : request.items())
    if (is_settled_by_server(key))
      throw Error(ErrorKind::bad_input, "\"" + key + "\" is not for a request: this server settles it itself", "leave it out");
}

// The names of a request as files here.
TrainConfig read_config(App& app, const json& request) {
  if (!request.is_object())
    throw Error(ErrorKind::bad_input, "the request of a training is a JSON object with the fields of \"train\" in /api/v1/schema");
  refuse_settled(request);
  TrainConfig config;
  read_fields(config, request);
  const Datasets sets(app.data_folder("datasets"));
  if (config.method == TrainMethod::slider) {  // learns from words alone
    if (config.out.empty()) config.out = config.slider_positive;
  } else {
    if (config.images.empty()) throw Error(ErrorKind::bad_input, "\"images\" wants the name of a data set");
    if (config.out.empty()) config.out = config.images;
    config.images = sets.folder(config.images).string();
  }
  config.out = checked_file_name(config.out, "name of a file");
  if (!config.class_images.empty()) {
    Datasets(sets).create(config.class_images);
    config.class_images = sets.folder(config.class_images).string();
  }
  if (!config.validation_images.empty()) config.validation_images = sets.folder(config.validation_images).string();
  const std::string checkpoint = config.model.empty() ? app.chosen_checkpoint() : app.checkpoint_named(config.model);
  config.model = app.options.folders.find(ModelKind::checkpoint, checkpoint).file.path.string();
  if (!config.vae.empty()) config.vae = app.options.folders.find(ModelKind::vae, config.vae).file.path.string();
  config.device = app.options.device;
  config.precision = app.options.precision;
  config.threads = app.options.threads;
  return config;
}

json number_or_null(double value) { return std::isfinite(value) ? json(value) : json(); }

json row_json(const LogRow& row) {
  json value{{"step", row.step}, {"loss", number_or_null(row.loss)}, {"lr", number_or_null(row.learning_rate)}, {"validation", nullptr}};
  if (row.validation) value["validation"] = number_or_null(*row.validation);
  return value;
}

// Every n-th row, the last one, and those with a validation loss.
json thinned(const std::vector<LogRow>& rows) {
  json list = json::array();
  const size_t every = rows.size() / kMostLogRows + 1;
  for (size_t i = 0; i < rows.size(); ++i)
    if (i % every == 0 || i + 1 == rows.size() || (rows[i].validation && rows.size() < 10 * kMostLogRows))
      list.push_back(row_json(rows[i]));
  return list;
}

json samples_json(App& app, const Job& job) {
  json samples = json::array();
  std::error_code code;
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(run_folder(app, job) / "samples", code)) files.push_back(entry.path());
  std::ranges::sort(files);
  for (const fs::path& file : files) {
    const std::string stem = file.stem().string();
    const auto step = starts_with(stem, "step-") ? parse_int(stem.substr(5)) : std::nullopt;
    if (!step || file.extension() != ".png") continue;
    samples.push_back(
        {{"step", *step}, {"url", "/api/v1/training/sample?run=" + std::to_string(job.id) + "&step=" + std::to_string(*step)}});
  }
  return samples;
}

// The state of a run as its folder tells it.
void note_course(App& app, Job& job) {
  const auto rows = read_log(run_folder(app, job) / "log.csv");
  job.result["run"] = std::to_string(job.id);
  job.result["log"] = thinned(rows);
  job.result["steps"] = rows.empty() ? 0 : rows.back().step;
  job.result["samples"] = samples_json(app, job);
}

TrainHooks hooks_of(JobRun& run, Job& job, Progress& progress) {
  TrainHooks hooks;
  hooks.generate = [&](const SampleRequest& wanted) { return sample_pictures(wanted, run.app.options.folders, progress); };
  hooks.logged = [&run, &job, told = std::chrono::steady_clock::time_point()](const LogRow& row, int64_t) mutable {
    const auto now = std::chrono::steady_clock::now();
    if (now - told < std::chrono::seconds(1)) return;
    told = now;
    note_course(run.app, job);
    job.result["loss"] = number_or_null(row.loss);
    run.save(job);
  };
  hooks.sampled = [&run, &job](const fs::path&, int64_t) {
    note_course(run.app, job);
    run.save(job);
  };
  return hooks;
}
}  // namespace

void check_train_job(App& app, Job& job) {
  TrainConfig config = read_config(app, job.request);
  config.run_dir = (app.data_folder("runs") / "new").string();
  const TrainConfig complete = checked(config);
  job.request["out"] = complete.out;
  job.request["model"] = job.request.contains("model") && job.request["model"] != ""
                             ? app.checkpoint_named(job.request["model"].get<std::string>())
                             : app.chosen_checkpoint();
  if (job.title.empty()) job.title = "Training of " + complete.out;
}

void run_train_job(JobRun& run) {
  Job& job = run.jobs[0];
  TrainConfig config = read_config(run.app, job.request);
  config.run_dir = run_folder(run.app, job).string();
  run.free_engine();
  JobProgress& progress = run.begin();
  const TrainHooks hooks = hooks_of(run, job, progress);
  TrainResult made;
  try {
    std::error_code code;
    made = fs::exists(fs::path(config.run_dir) / "run.toml", code) ? resume_training(config.run_dir, hooks, progress)
                                                                   : train(config, hooks, progress);
  } catch (const Error&) {
    note_course(run.app, job);
    run.save(job);
    throw;
  }
  note_course(run.app, job);
  const fs::path installed = install_trained(made.file, config.method, run.app.options.folders, /*number=*/true);
  run.app.library.refresh();
  for (const std::string& warning : made.warnings) job.warnings.push_back(without_folders(warning));
  job.result["file"] = made.file.filename().string();
  job.result["loss"] = number_or_null(made.loss);
  job.result["steps"] = made.steps;
  if (made.best_step) job.result["best_step"] = *made.best_step;
  job.result["installed"] = installed.empty() ? "" : installed.stem().string();
  job.result["trigger"] = config.trigger;
}

}  // namespace lorikeet
