// Jobs of the kind "plot": {base: {generate fields}, x, y, z: "KEY=VALUES", title} -> one labelled sheet.
#include "base/error.h"
#include "base/text.h"
#include "generate/engine.h"
#include "generate/plot.h"
#include "server/app.h"
#include "server/job_kinds.h"
#include "server/job_progress.h"
#include "server/problem.h"

namespace lorikeet {

namespace {
using nlohmann::json;

// VAEs become files by their names here; a value that is a path of another file would be taken as one below.
void settle_vaes(App& app, PlotRequest& plot) {
  for (PlotAxis& axis : plot.axes) {
    if (axis.key != "vae") continue;
    for (std::string& value : axis.values)
      if (!value.empty() && lower(value) != "automatic" && lower(value) != "none")
        value = app.options.folders.find(ModelKind::vae, value).file.path.string();
  }
}

void refuse_picture_axes(const PlotRequest& plot) {
  for (const PlotAxis& axis : plot.axes)
    if (axis.key == "init_image" || axis.key == "mask_image")
      throw Error(ErrorKind::bad_input, axis.key + " cannot be an axis of a plot here");
}

PlotRequest read_plot(App& app, const json& request) {
  Members members(request);
  const json* base = members.any("base");
  PlotRequest plot;
  plot.base = read_generate_request(app, base ? *base : json::object());
  const char* sides[] = {"x", "y", "z"};
  for (size_t i = 0; i < 3; ++i)
    if (const auto text = members.text(sides[i]); text && !trim(*text).empty()) plot.axes[i] = read_plot_axis(*text);
  plot.title = members.text("title").value_or("");
  members.any("checkpoint");
  members.finish();
  if (plot.axes == PlotRequest{}.axes)
    throw Error(ErrorKind::bad_input, "nothing changes in this plot", "give at least one side, for example \"x\": \"steps=10,20,30\"");
  refuse_picture_axes(plot);
  settle_vaes(app, plot);
  return plot;
}
}  // namespace

void check_plot_job(App& app, Job& job) {
  if (!job.request.is_object())
    throw Error(ErrorKind::bad_input, "the request of a plot is a JSON object, {\"base\": {…}, \"x\": \"KEY=VALUES\"}");
  json* base = job.request.contains("base") ? &job.request["base"] : nullptr;
  if (base && !base->is_object()) throw Error(ErrorKind::bad_input, "\"base\" wants the settings of a picture, {\"prompt\": …}");
  const std::string checkpoint = take_checkpoint(app, base && base->contains("checkpoint") ? *base : job.request);
  const PlotRequest plot = read_plot(app, job.request);
  const auto cells = plan_plot(plot);
  for (const PlannedCell& cell : cells)
    if (!cell.model.empty()) app.checkpoint_named(cell.model);
  job.request["checkpoint"] = checkpoint;
  job.seed = drawn_seed(plot.base.seed);
  job.subseed = drawn_seed(plot.base.subseed);
  if (job.title.empty()) {
    std::vector<std::string> sides;
    for (const PlotAxis& axis : plot.axes)
      if (!axis.empty()) sides.push_back(axis_title(axis));
    job.title = "Plot of " + std::to_string(cells.size()) + " pictures: " + join(sides, ", ");
  }
}

void run_plot_job(JobRun& run) {
  Job& job = run.jobs[0];
  PlotRequest plot = read_plot(run.app, job.request);
  plot.base.seed = job.seed;
  plot.base.subseed = job.subseed;
  Engine& engine = run.engine(job.request.at("checkpoint"));
  JobProgress& progress = run.begin(0, 1, plot.base.enable_hr ? 2 : 1);
  progress.preview_with(engine, 1);
  const PlotResult made = make_plot(engine, plot, progress);
  for (const std::string& warning : made.warnings) job.warnings.push_back(without_folders(warning));
  job.result = {
      {"pictures", json::array({keep_picture(run.app, made.sheet, made.infotext, job.seed, plot.base.format, plot.base.quality)})},
      {"loras", loras_json(made.loras)},
      {"cells", made.cells.size()},
      {"seconds", made.seconds}};
}

}  // namespace lorikeet
