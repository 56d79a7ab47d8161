#include "server/app.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"
#include "base/version.h"
#include "library/library_json.h"
#include "server/job_json.h"
#include "server/problem.h"
#include "server/routes.h"

namespace fs = std::filesystem;

namespace lorikeet {

namespace {
using nlohmann::json;

constexpr int kDeepestJson = 64;

// Depth is bounded: what is read is written out again by functions that call themselves.
json parse_body(const std::string& body) {
  bool too_deep = false;
  const auto watch = [&](int depth, json::parse_event_t, json&) {
    if (depth > kDeepestJson) too_deep = true;
    return !too_deep;
  };
  json value = json::parse(body, watch, /*allow_exceptions=*/false);
  if (value.is_discarded() || too_deep)
    throw Error(ErrorKind::bad_input, too_deep ? "the JSON of this request is nested too deeply" : "the body of this request is no JSON",
                "send a JSON object with the header Content-Type: application/json");
  return value;
}

HttpResponse no_route(const HttpRequest& request, const RouteMatch& match) {
  if (!match.methods.empty()) {
    std::vector<std::string> allowed;
    for (const Method method : match.methods) allowed.emplace_back(name(method));
    HttpResponse response =
        problem(HttpError(405, "bad_input", valid_utf8(request.path) + " does not know " + std::string(name(request.method)),
                          "it knows " + join(allowed, ", ")),
                dialect_of(request.path));
    response.headers.emplace_back("Allow", join(allowed, ", "));
    return response;
  }
  if (dialect_of(request.path) == Dialect::a1111) return problem(Error(ErrorKind::not_found, "Not Found"), Dialect::a1111);
  return problem(Error(ErrorKind::not_found, "there is no " + valid_utf8(request.path)), Dialect::ours);
}

// "sd.safetensors [1234567890]" -> "sd.safetensors"
std::string_view without_hash(std::string_view title) {
  title = trim(title);
  const size_t bracket = title.rfind('[');
  return !title.empty() && title.back() == ']' && bracket != std::string_view::npos && bracket > 0 ? trim(title.substr(0, bracket)) : title;
}
}  // namespace

DataLock::DataLock(const fs::path& folder) {
  std::error_code code;
  fs::create_directories(folder, code);
  const fs::path file = folder / "lock";
  fd_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd_ < 0)
    throw Error(ErrorKind::io, "cannot write to the data folder " + folder.string() + (code ? ": " + code.message() : ""),
                "choose another one with --data");
  if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    ::close(fd_);
    throw Error(ErrorKind::io, "another server uses the data folder " + folder.string(), "end it, or choose another folder with --data");
  }
}

DataLock::~DataLock() { ::close(fd_); }

App::App(ServerOptions the_options)
    : options(std::move(the_options)),
      lock(options.data),
      guard(options.guard),
      settings(options.data / "settings.json"),
      outputs(options.outputs),
      library({.folders = options.folders, .data = options.data, .watch = options.watch, .hash = options.watch}),
      jobs(options.data / "jobs.sqlite"),
      worker(*this) {
  if (!options.model.empty()) choose_checkpoint(options.model);
  jobs.on_change([this](const Job& job) {
    if (job.ended())
      (job.state == JobState::done     ? metrics.jobs_done
       : job.state == JobState::failed ? metrics.jobs_failed
                                       : metrics.jobs_cancelled)
          .fetch_add(1);
    events.publish("job", "job " + std::to_string(job.id), dump(json_of_job(job, true)));
    publish_status();
  });
  worker.live().on_change([this](int64_t id) { publish_job(id); });
  library.on_change([this](uint64_t version) {
    events.publish("library", "library", dump({{"version", version}}));
    publish_status();
  });
  worker.start();
}

App::~App() {
  library.on_change({});
  events.stop();
  worker.stop();
}

fs::path App::data_folder(const std::string& name) const {
  const fs::path folder = options.data / name;
  std::error_code code;
  fs::create_directories(folder, code);
  if (!fs::is_directory(folder)) throw Error(ErrorKind::io, "cannot make the folder " + folder.string() + ": " + code.message());
  return folder;
}

std::string App::checkpoint_named(std::string_view text) const {
  const std::string wanted(without_hash(text));
  if (const auto card = library.card(ModelKind::checkpoint, wanted)) return card->name;
  return options.folders.find(ModelKind::checkpoint, wanted).file.name;
}

std::string App::chosen_checkpoint() const {
  if (const std::string chosen = settings.text("sd_model_checkpoint"); !chosen.empty()) {
    try {
      return checkpoint_named(chosen);
    } catch (const Error&) {  // it is gone since; another one then
    }
  }
  const auto all = options.folders.list(ModelKind::checkpoint);
  if (all.empty())
    throw Error(ErrorKind::not_found, "there is no checkpoint to make pictures with",
                "put a Stable Diffusion checkpoint (.safetensors) into models/checkpoints/");
  return all.front().name;
}

void App::choose_checkpoint(std::string_view text) {
  settings.change({{"sd_model_checkpoint", checkpoint_named(text)}});
  publish_status();
}

int App::most_pictures_together() const {
  if (options.batch > 0) return options.batch;
  const bool gpu = starts_with(options.device, "cuda") || (options.device == "auto" && has_gpu());
  return gpu ? 8 : 1;
}

json App::status() const {
  const EngineState engine = worker.engine_state();
  json card;
  bool loaded = false;
  try {
    const std::string chosen = chosen_checkpoint();
    loaded = engine.checkpoint == chosen;
    if (const auto found = library.card(ModelKind::checkpoint, chosen))
      card = lorikeet::json_of(*found);
    else
      card = {{"name", chosen}, {"title", chosen}};
  } catch (const Error&) {  // no checkpoint: null
  }
  const JobCounts counts = jobs.counts();
  return {{"version", program_version()},
          {"checkpoint", card},
          {"loaded", loaded},
          {"device", engine.device.empty() ? options.device : engine.device},
          {"precision", engine.precision.empty() ? options.precision : engine.precision},
          {"threads", options.threads > 0 ? options.threads : cpu_threads()},
          {"queue", {{"running", counts.running}, {"waiting", counts.waiting}, {"paused", counts.paused}}},
          {"output_count", outputs.count()},
          {"models_changed", library.version()},
          {"scanning", library.scanning()}};
}

void App::publish_status() {
  if (events.listeners() > 0) events.publish("status", "status", dump(status()));
}

json App::json_of_job(const Job& job, bool brief) const {
  return lorikeet::json_of_job(job, const_cast<Worker&>(worker).live().find(job.id), jobs.position(job.id), brief);
}

void App::publish_job(int64_t id) {
  if (events.listeners() == 0) return;
  if (const auto job = jobs.find(id)) events.publish("job", "job " + std::to_string(id), dump(json_of_job(*job, true)));
}

HttpResponse App::dispatch(HttpRequest& request) {
  const RouteMatch match = find_route(request.method, request.path);
  if (!match.route) {
    if (request.method == Method::get && dialect_of(request.path) == Dialect::ours && !starts_with(request.path, "/api/"))
      return page_response(request);
    return no_route(request, match);
  }
  request.id = match.id;
  if (!request.body.empty()) request.json = parse_body(request.body);
  request.body = {};
  return match.route->handle(*this, request);
}

HttpResponse App::answer(HttpRequest& request) {
  const auto began = std::chrono::steady_clock::now();
  HttpResponse response;
  try {
    response = dispatch(request);
  } catch (...) {
    response = problem(std::current_exception(), dialect_of(request.path));
  }
  for (auto& header : guard.headers_for(request)) response.headers.push_back(std::move(header));
  response.headers.emplace_back("X-Content-Type-Options", "nosniff");
  const auto took = std::chrono::steady_clock::now() - began;
  char seconds[32];
  std::snprintf(seconds, sizeof seconds, "%.4f", std::chrono::duration<double>(took).count());
  if (dialect_of(request.path) == Dialect::a1111) response.headers.emplace_back("X-Process-Time", seconds);
  metrics.requests[static_cast<size_t>(std::clamp(response.status / 100, 0, 5))].fetch_add(1);
  metrics.request_microseconds.fetch_add(std::chrono::duration_cast<std::chrono::microseconds>(took).count());
  return response;
}

}  // namespace lorikeet
