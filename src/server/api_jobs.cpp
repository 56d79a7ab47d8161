// Jobs of all kinds, and events.
#include "base/error.h"
#include "base/text.h"
#include "generate/request.h"
#include "server/app.h"
#include "server/job_kinds.h"
#include "server/openapi.h"
#include "server/problem.h"
#include "server/routes.h"

namespace lorikeet {

namespace api_jobs {
namespace {
using nlohmann::json;
constexpr std::chrono::seconds kHeartbeat{10};
constexpr int64_t kMostPriority = 1000, kMostListed = 1000;

int64_t id_of(const HttpRequest& request) {
  const auto id = parse_int(request.id);
  if (!id) throw Error(ErrorKind::not_found, "there is no job \"" + valid_utf8(request.id) + "\"");
  return *id;
}

HttpResponse job_response(App& app, int64_t id, int status = 200) {
  return json_response(app.json_of_job(app.jobs.get(id), false), status);
}

int64_t checked_priority(int64_t priority) {
  if (priority < -kMostPriority || priority > kMostPriority)
    throw Error(ErrorKind::bad_input, "a priority is from -1000 to 1000, not " + std::to_string(priority));
  return priority;
}

HttpResponse add(App& app, const HttpRequest& request) {
  Members members(request.json);
  Job job;
  job.kind = members.wanted_text("kind");
  if (const json* fields = members.any("request")) job.request = *fields;
  job.priority = checked_priority(members.whole_number("priority").value_or(0));
  job.title = members.text("title").value_or("").substr(0, 200);
  members.finish();
  job = submit(app, std::move(job));
  return json_response({{"id", job.id}, {"position", app.jobs.position(job.id)}}, 202);
}

json add_body() {
  json schema =
      object_schema({{"kind", "string"}, {"request", "object"}, {"priority", "integer"}, {"title", "string"}}, {"kind", "request"});
  for (const JobKind& kind : job_kinds()) schema["properties"]["kind"]["enum"].push_back(kind.name);
  schema["properties"]["request"] = settings_schema(field_list());
  return schema;
}

HttpResponse list(App& app, const HttpRequest& request) {
  JobFilter filter;
  for (const auto& [key, value] : request.query) {
    if (key == "state") {
      filter.state = job_state_of(value);
      if (!filter.state) throw Error(ErrorKind::bad_input, "there is no state \"" + valid_utf8(value) + "\" of a job");
    } else if (key == "kind") {
      filter.kind = find_job_kind(value).name;
    } else if (key == "limit") {
      const auto limit = parse_int(value);
      if (!limit || *limit < 0 || *limit > kMostListed)
        throw Error(ErrorKind::bad_input, "\"limit\" is from 0 to " + std::to_string(kMostListed));
      filter.limit = *limit;
    } else {
      throw Error(ErrorKind::bad_input, "there is no parameter \"" + valid_utf8(key) + "\"", "there are state, kind, limit");
    }
  }
  json jobs = json::array();
  for (const Job& job : app.jobs.list(filter)) jobs.push_back(app.json_of_job(job, false));
  return json_response({{"jobs", jobs}});
}

HttpResponse one(App& app, const HttpRequest& request) { return job_response(app, id_of(request)); }

[[noreturn]] void refuse_ended(const Job& job) {
  throw HttpError(409, "conflict", "job " + std::to_string(job.id) + " is " + std::string(name(job.state)) + " already");
}

HttpResponse cancel(App& app, const HttpRequest& request) {
  const int64_t id = id_of(request);
  const Job job = app.jobs.get(id);
  if (job.ended()) refuse_ended(job);
  if (!app.jobs.cancel(id)) app.worker.ask(id, Ask::cancel);
  return job_response(app, id);
}

HttpResponse skip(App& app, const HttpRequest& request) {
  const int64_t id = id_of(request);
  const Job job = app.jobs.get(id);
  if (job.kind != "generate")
    throw Error(ErrorKind::bad_input, "only batches of pictures can be skipped, and job " + request.id + " is of the kind " + job.kind);
  if (!app.worker.ask(id, Ask::skip)) throw HttpError(409, "conflict", "job " + request.id + " does not run");
  return job_response(app, id);
}

HttpResponse pause(App& app, const HttpRequest& request) {
  const int64_t id = id_of(request);
  const Job job = app.jobs.get(id);
  if (job.ended()) refuse_ended(job);
  if (!find_job_kind(job.kind).pauses)
    throw Error(ErrorKind::bad_input, "only training can be paused, and job " + request.id + " is of the kind " + job.kind);
  if (!app.jobs.pause(id)) app.worker.ask(id, Ask::pause);
  return job_response(app, id);
}

HttpResponse resume(App& app, const HttpRequest& request) {
  const int64_t id = id_of(request);
  const Job job = app.jobs.get(id);
  if (!app.jobs.resume(id)) throw HttpError(409, "conflict", "job " + request.id + " is " + std::string(name(job.state)) + ", not paused");
  return job_response(app, id);
}

HttpResponse set_priority(App& app, const HttpRequest& request) {
  Members members(request.json);
  const auto priority = members.whole_number("priority");
  members.finish();
  if (!priority) throw Error(ErrorKind::bad_input, "\"priority\" is missing");
  const int64_t id = id_of(request);
  app.jobs.get(id);
  app.jobs.set_priority(id, checked_priority(*priority));
  return job_response(app, id);
}

json priority_body() { return object_schema({{"priority", "integer"}}, {"priority"}); }

HttpResponse forget(App& app, const HttpRequest& request) {
  app.jobs.forget(id_of(request));
  return json_response({{"status", "ok"}});
}

HttpResponse preview(App& app, const HttpRequest& request) {
  const auto live = app.worker.live().find(id_of(request));
  if (!live || !live->preview) throw Error(ErrorKind::not_found, "job " + request.id + " has no preview now");
  return bytes_response(request, *live->preview, "image/png");
}

// What happens, as it happens; at first all jobs that have not ended.
HttpResponse events(App& app, const HttpRequest&) {
  const auto listener = app.events.listen();
  if (!listener) throw HttpError(503, "too_large", "too many pages listen to events already", "close some");
  for (const Job& job : app.jobs.active()) listener->add("job", "job " + std::to_string(job.id), dump(app.json_of_job(job, true)));
  listener->add("status", "status", dump(app.status()));
  HttpResponse response{.content_type = "text/event-stream"};
  response.headers = {{"Cache-Control", "no-store"}, {"X-Accel-Buffering", "no"}};
  response.stream = [listener]() -> std::optional<std::string> {
    auto event = listener->next(kHeartbeat);
    if (event && event->empty()) return ": still here\n\n";
    return event;
  };
  return response;
}

constexpr Route kRoutes[] = {
    {Method::post, "/api/v1/jobs", "Adds a job to the queue: its id and how many come before it.", add, add_body},
    {Method::get, "/api/v1/jobs", "Jobs, newest first: all that wait or run, and the last that ended.", list},
    {Method::get, "/api/v1/jobs/{id}", "One job: state, progress, result.", one},
    {Method::post, "/api/v1/jobs/{id}/cancel", "Ends a job, or takes it out of the queue.", cancel},
    {Method::post, "/api/v1/jobs/{id}/skip", "Goes on with the next batch of pictures.", skip},
    {Method::post, "/api/v1/jobs/{id}/pause", "Pauses training; it goes on exactly where it was.", pause},
    {Method::post, "/api/v1/jobs/{id}/resume", "Lets a paused job wait for its turn.", resume},
    {Method::post, "/api/v1/jobs/{id}/priority", "Moves a job within the queue; higher first.", set_priority, priority_body},
    {Method::get, "/api/v1/jobs/{id}/preview", "The picture so far.", preview},
    {Method::del, "/api/v1/jobs/{id}", "Forgets a job that has ended; its files stay.", forget},
    {Method::get, "/api/v1/events", "Server-sent events: job, status, library.", events},
};
}  // namespace
}  // namespace api_jobs

std::span<const Route> job_routes() { return api_jobs::kRoutes; }

}  // namespace lorikeet
