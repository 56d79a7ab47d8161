// What this server is and how it is: health, metrics, status, the schema of all settings, the OpenAPI text, log-in, the checkpoint.
#include <cstdio>
#include <fstream>

#include "base/error.h"
#include "base/text.h"
#include "server/app.h"
#include "server/model_facts.h"
#include "server/openapi.h"
#include "server/problem.h"
#include "server/routes.h"

namespace lorikeet {

namespace api_status {
namespace {
using nlohmann::json;

HttpResponse health(App&, const HttpRequest&) { return json_response({{"status", "ok"}}); }
HttpResponse status(App& app, const HttpRequest&) { return json_response(app.status()); }

HttpResponse schema(App&, const HttpRequest&) {
  return json_response(
      {{"generate", generate_fields()}, {"train", train_fields()}, {"samplers", sampler_list()}, {"schedules", schedule_list()}});
}

HttpResponse openapi(App&, const HttpRequest&) { return json_response(openapi_text()); }

HttpResponse log_in(App& app, const HttpRequest& request) {
  Members members(request.json);
  const auto token = members.text("token");
  const auto user = members.text("user"), password = members.text("password");
  members.finish();
  const std::string cookie = app.guard.log_in(request, token ? *token : user.value_or("") + ":" + password.value_or(""));
  HttpResponse response = json_response({{"status", "ok"}});
  if (!cookie.empty()) response.headers.emplace_back("Set-Cookie", cookie);
  return response;
}

json log_in_body() { return object_schema({{"token", "string"}, {"user", "string"}, {"password", "string"}}); }

HttpResponse choose_checkpoint(App& app, const HttpRequest& request) {
  Members members(request.json);
  const std::string name = members.wanted_text("name");
  members.finish();
  app.choose_checkpoint(name);
  return json_response(app.status());
}

json choose_body() { return object_schema({{"name", "string"}}, {"name"}); }

int64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  int64_t whole = 0, resident = 0;
  file >> whole >> resident;
  return resident * 4096;
}

// The text format of Prometheus, version 0.0.4.
class MetricsText {
 public:
  void add(std::string_view name, std::string_view kind, std::string_view help, double value, const std::string& labels = "") {
    if (name != last_)
      text_ += "# HELP " + std::string(name) + " " + std::string(help) + "\n# TYPE " + std::string(name) + " " + std::string(kind) + "\n";
    last_ = name;
    text_ += std::string(name) + labels + " " + format_number(value) + "\n";
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_, last_;
};

HttpResponse metrics(App& app, const HttpRequest&) {
  const Metrics& m = app.metrics;
  const JobCounts counts = app.jobs.counts();
  MetricsText out;
  const auto gauge = [&](std::string_view name, std::string_view help, double value, const std::string& labels = "") {
    out.add(name, "gauge", help, value, labels);
  };
  const auto counter = [&](std::string_view name, std::string_view help, const std::atomic<int64_t>& value,
                           const std::string& labels = "") { out.add(name, "counter", help, static_cast<double>(value.load()), labels); };
  gauge("lorikeet_uptime_seconds", "Since the start.", std::chrono::duration<double>(std::chrono::steady_clock::now() - m.started).count());
  gauge("lorikeet_resident_memory_bytes", "Memory of this process.", static_cast<double>(resident_bytes()));
  gauge("lorikeet_jobs", "Jobs that have not ended.", static_cast<double>(counts.waiting), "{state=\"waiting\"}");
  gauge("lorikeet_jobs", "", static_cast<double>(counts.running), "{state=\"running\"}");
  gauge("lorikeet_jobs", "", static_cast<double>(counts.paused), "{state=\"paused\"}");
  counter("lorikeet_jobs_ended_total", "Jobs that have ended.", m.jobs_done, "{state=\"done\"}");
  counter("lorikeet_jobs_ended_total", "", m.jobs_failed, "{state=\"failed\"}");
  counter("lorikeet_jobs_ended_total", "", m.jobs_cancelled, "{state=\"cancelled\"}");
  counter("lorikeet_pictures_total", "Pictures made.", m.pictures);
  for (size_t digit = 1; digit < m.requests.size(); ++digit)
    counter("lorikeet_http_requests_total", "Requests answered, by the first digit of the status.", m.requests[digit],
            "{status=\"" + std::to_string(digit) + "xx\"}");
  out.add("lorikeet_http_seconds_total", "counter", "Time spent on answers.", static_cast<double>(m.request_microseconds.load()) / 1e6);
  gauge("lorikeet_connections", "Open connections.", static_cast<double>(m.connections.load()));
  counter("lorikeet_connections_refused_total", "Connections that were one too many.", m.refused_connections);
  gauge("lorikeet_event_listeners", "Pages that listen to events.", static_cast<double>(app.events.listeners()));
  gauge("lorikeet_checkpoint_loaded", "1 while a checkpoint is in memory.", app.worker.engine_state().checkpoint.empty() ? 0 : 1);
  return {.content_type = "text/plain; version=0.0.4; charset=utf-8", .body = out.text()};
}

constexpr Route kRoutes[] = {
    {Method::get, "/health", "Whether the server is alive.", health},
    {Method::get, "/metrics", "Counters in Prometheus' text format.", metrics},
    {Method::get, "/api/v1/status", "Version, checkpoint, device, queue.", status},
    {Method::get, "/api/v1/schema", "All settings of pictures and of training, samplers and schedules.", schema},
    {Method::get, "/api/v1/openapi.json", "This interface as OpenAPI.", openapi},
    {Method::post, "/api/v1/login", "Token or user and password; sets a cookie for pictures and events.", log_in, log_in_body},
    {Method::post, "/api/v1/checkpoint", "Chooses the checkpoint for the next jobs.", choose_checkpoint, choose_body},
};
}  // namespace
}  // namespace api_status

std::span<const Route> status_routes() { return api_status::kRoutes; }

}  // namespace lorikeet
