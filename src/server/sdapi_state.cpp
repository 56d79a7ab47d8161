// A1111's state: progress, interrupt, skip, options, flags, memory, the end of the server.
#include <sys/sysinfo.h>

#include <cmath>
#include <ctime>
#include <fstream>

#include "base/error.h"
#include "base/text.h"
#include "io/picture_base64.h"
#include "server/app.h"
#include "server/job_kinds.h"
#include "server/openapi.h"
#include "server/problem.h"
#include "server/routes.h"
#include "server/sdapi_titles.h"

namespace lorikeet {

namespace sdapi_state {
namespace {
using nlohmann::json;

HttpResponse done(int status = 200) { return json_response(json::object(), status); }

std::string job_timestamp(double seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  localtime_r(&time, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y%m%d%H%M%S", &parts);
  return seconds > 0 ? text : "0";
}

json state_json(const Job& job, const LiveJob& live, Ask asked) {
  return {{"skipped", asked == Ask::skip},
          {"interrupted", asked == Ask::interrupt || asked == Ask::cancel},
          {"stopping_generation", false},
          {"job", job.id ? "Batch " + std::to_string(live.part + 1) + " out of " + std::to_string(live.parts) : ""},
          {"job_count", job.id ? live.parts : 0},
          {"job_timestamp", job_timestamp(job.started)},
          {"job_no", job.id ? live.part : 0},
          {"sampling_step", job.id ? live.step : 0},
          {"sampling_steps", job.id ? live.steps : 0}};
}

HttpResponse progress(App& app, const HttpRequest& request) {
  const auto running = app.worker.running();
  Job job;
  LiveJob live;
  if (!running.empty()) {
    job = app.jobs.find(running[0]).value_or(Job{});
    live = app.worker.live().find(running[0]).value_or(LiveJob{});
  }
  const std::string skip = lower(request.parameter("skip_current_image"));
  json answer{{"progress", job.id ? std::max(0.01, live.progress) : 0.0},
              {"eta_relative", job.id ? live.eta_s.value_or(0) : 0.0},
              {"state", state_json(job, live, app.worker.asked())},
              {"current_image", nullptr},
              {"textinfo", job.id && !live.stage.empty() ? json(live.stage) : json()},
              {"current_task", job.task.empty() ? json() : json(job.task)}};
  if (job.id && live.preview && skip != "true" && skip != "1")
    answer["current_image"] = to_base64(std::span(reinterpret_cast<const uint8_t*>(live.preview->data()), live.preview->size()));
  return json_response(answer);
}

HttpResponse interrupt(App& app, const HttpRequest&) {
  app.worker.interrupt();
  return done();
}

HttpResponse skip(App& app, const HttpRequest&) {
  app.worker.skip();
  return json_response(nullptr);
}

HttpResponse get_options(App& app, const HttpRequest&) {
  json options = app.settings.all();
  try {
    const std::string chosen = app.chosen_checkpoint();
    const auto card = app.library.card(ModelKind::checkpoint, chosen);
    options["sd_model_checkpoint"] = card ? checkpoint_title(*card) : chosen;
    options["sd_checkpoint_hash"] = card ? card->sha256 : "";
  } catch (const Error&) {  // there is none
  }
  return json_response(options);
}

void check_names(App& app, const json& changes) {
  const json vae = changes.value("sd_vae", json());
  if (!vae.is_string()) return;
  const std::string name = lower(vae.get<std::string>());
  if (!name.empty() && name != "automatic" && name != "none") app.options.folders.find(ModelKind::vae, vae.get<std::string>());
}

HttpResponse set_options(App& app, const HttpRequest& request) {
  if (!request.json.is_object()) throw FieldError("body", "value is not a valid dict", "type_error.dict");
  json changes = request.json;
  if (const json checkpoint = changes.value("sd_model_checkpoint", json()); checkpoint.is_string() && checkpoint != "")
    changes["sd_model_checkpoint"] = app.checkpoint_named(checkpoint.get<std::string>());
  check_names(app, changes);
  changes.erase("sd_checkpoint_hash");  // follows from the checkpoint
  const auto warnings = app.settings.change(changes);
  app.publish_status();
  return json_response(warnings.empty() ? json() : json{{"warnings", warnings}});
}

json options_body() {
  json schema = object_schema({});
  for (const SettingRow& row : setting_rows()) schema["properties"][std::string(row.name)] = {{"default", json::parse(row.default_json)}};
  return schema;
}

HttpResponse flags(App& app, const HttpRequest&) {
  return json_response({{"api", true},
                        {"nowebui", false},
                        {"listen", app.options.host != "127.0.0.1"},
                        {"port", app.options.port},
                        {"api_auth", app.guard.needs_secret() ? json("…") : json()},
                        {"api_server_stop", app.options.server_stop},
                        {"device_id", app.options.device},
                        {"ckpt", app.options.model.empty() ? json() : json(app.options.model)},
                        {"cors_allow_origins", app.options.guard.origins.empty() ? json() : json(join(app.options.guard.origins, ","))}});
}

HttpResponse memory(App&, const HttpRequest&) {
  struct sysinfo info {};
  sysinfo(&info);
  std::ifstream file("/proc/self/statm");
  int64_t whole = 0, resident = 0;
  file >> whole >> resident;
  const auto unit = static_cast<double>(info.mem_unit);
  const double used = static_cast<double>(resident) * 4096, total = static_cast<double>(info.totalram) * unit;
  return json_response({{"ram", {{"free", static_cast<double>(info.freeram) * unit}, {"used", used}, {"total", total}}},
                        {"cuda", {{"error", "unavailable"}}}});
}

HttpResponse unload(App& app, const HttpRequest&) {
  app.worker.unload();
  return done();
}

// It is loaded when the next picture wants it.
HttpResponse reload(App&, const HttpRequest&) { return done(); }

void want_server_stop(App& app) {
  if (!app.options.server_stop) throw Error(ErrorKind::not_found, "Not Found");
}

HttpResponse stop(App& app, const HttpRequest&) {
  want_server_stop(app);
  app.ends = true;
  return {.content_type = "text/plain", .body = "Stopping."};
}

HttpResponse restart(App& app, const HttpRequest&) {
  want_server_stop(app);
  throw HttpError(501, "unsupported", "this server does not start itself again", "server-stop ends it");
}

constexpr Route kRoutes[] = {
    {Method::get, "/sdapi/v1/progress", "How far the running job is, with the picture so far.", progress},
    {Method::post, "/sdapi/v1/interrupt", "Ends the running job; it answers with what there is.", interrupt},
    {Method::post, "/sdapi/v1/skip", "Goes on with the next batch.", skip},
    {Method::get, "/sdapi/v1/options", "All options.", get_options},
    {Method::post, "/sdapi/v1/options", "Changes options; they are kept.", set_options, options_body},
    {Method::get, "/sdapi/v1/cmd-flags", "How the server was started.", flags},
    {Method::get, "/sdapi/v1/memory", "Memory.", memory},
    {Method::post, "/sdapi/v1/unload-checkpoint", "Frees the checkpoint when the running job is done.", unload},
    {Method::post, "/sdapi/v1/reload-checkpoint", "The next picture loads it.", reload},
    {Method::post, "/sdapi/v1/server-kill", "Ends the server, where it was started with --api-server-stop.", stop},
    {Method::post, "/sdapi/v1/server-stop", "Ends the server, where it was started with --api-server-stop.", stop},
    {Method::post, "/sdapi/v1/server-restart", "Not possible here.", restart},
};
}  // namespace
}  // namespace sdapi_state

std::span<const Route> sdapi_state_routes() { return sdapi_state::kRoutes; }

}  // namespace lorikeet
