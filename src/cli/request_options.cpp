#include "cli/request_options.h"

#include <CLI/CLI.hpp>

#include "base/error.h"
#include "cli/from_picture.h"
#include "cli/output_files.h"
#include "generate/infotext.h"

namespace lorikeet {

void add_request_options(CLI::App& app, RequestOptions& options, const std::string& help_of_output) {
  app.add_option("-m,--model", options.model, "The checkpoint: a name in the models folder, or a file.")
      ->group("Picture")
      ->type_name("NAME");
  add_field_options(app, field_list(), options.given);
  app.add_option("-o,--output", options.output, help_of_output)->group("Picture")->type_name("PATH")->capture_default_str();
  app.add_option("--from", options.from, "Take the settings from this picture; other options come on top.")
      ->group("Picture")
      ->type_name("FILE");
}

RequestPlan plan_request(const RequestOptions& options, const ModelFolders& folders) {
  RequestPlan plan;
  std::optional<FoundModel> checkpoint;
  if (!options.from.empty()) {
    FromPicture from = read_from_picture(options.from, folders);
    plan.request = std::move(from.request);
    plan.notes = std::move(from.notes);
    checkpoint = std::move(from.checkpoint);
    const std::string note = note_of_other_pictures(from.needs_picture && !options.given->has("init_image"), from.needs_mask && !options.given->has("mask_image"));
    if (!note.empty()) plan.notes.push_back(note);
  }
  read_given(plan.request, *options.given);
  if (!options.given->has("prompt") && options.from.empty())
    throw Error(ErrorKind::bad_input, "there is no prompt", "say what to paint: -p \"a lighthouse at dusk\"");
  if (const auto format = OutputFiles::format_of(options.output)) plan.request.format = *format;
  validate(plan.request);
  plan.checkpoint = checkpoint && options.model.empty() ? *checkpoint : find_checkpoint(folders, options.model);
  plan.notes.insert(plan.notes.end(), plan.checkpoint.notes.begin(), plan.checkpoint.notes.end());
  return plan;
}

EngineOptions engine_options(const RequestOptions& options, const RequestPlan& plan, const ModelFolders& folders) {
  return {.checkpoint = plan.checkpoint.file.path,
          .vae = {},
          .device = options.device.device,
          .precision = options.device.precision,
          .threads = options.device.threads,
          .folders = folders,
          .paths_in_tags = true};
}

}  // namespace lorikeet
