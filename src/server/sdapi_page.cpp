// What A1111's own page asks and other clients have taken up: tasks by their names, cards of extra networks.
#include "base/error.h"
#include "base/text.h"
#include "io/picture_base64.h"
#include "library/library_json.h"
#include "server/app.h"
#include "server/openapi.h"
#include "server/problem.h"
#include "server/routes.h"
#include "server/sdapi_titles.h"

namespace lorikeet {

namespace sdapi_page {
namespace {
using nlohmann::json;

HttpResponse ping(App&, const HttpRequest&) { return json_response(json::object()); }

HttpResponse pending(App& app, const HttpRequest&) {
  json tasks = json::array();
  for (const Job& job : app.jobs.active())
    if (job.state == JobState::waiting && !job.task.empty()) tasks.push_back(job.task);
  return json_response({{"size", tasks.size()}, {"tasks", tasks}});
}

std::optional<Job> job_of_task(App& app, const std::string& task) {
  for (const Job& job : app.jobs.active())
    if (job.task == task) return job;
  for (const Job& job : app.jobs.list({}))
    if (job.task == task) return job;
  return std::nullopt;
}

// {id_task, id_live_preview, live_preview} -> A1111's ProgressResponse.
HttpResponse progress(App& app, const HttpRequest& request) {
  Members members(request.json);
  const std::string task = members.text("id_task").value_or("");
  const int64_t seen = members.whole_number("id_live_preview").value_or(-1);
  const bool wanted = members.yes_no("live_preview").value_or(true);
  members.finish();
  const auto job = task.empty() ? std::nullopt : job_of_task(app, task);
  const bool active = job && job->state == JobState::running, queued = job && job->state == JobState::waiting;
  json answer{{"active", active}, {"queued", queued},        {"completed", job && job->ended()}, {"progress", nullptr},
              {"eta", nullptr},   {"live_preview", nullptr}, {"id_live_preview", seen},          {"textinfo", nullptr}};
  if (queued) answer["textinfo"] = "In queue: " + std::to_string(app.jobs.position(job->id) + 1);
  if (!active) return json_response(answer);
  const LiveJob live = app.worker.live().find(job->id).value_or(LiveJob{});
  answer["progress"] = live.progress;
  if (live.eta_s) answer["eta"] = *live.eta_s;
  answer["textinfo"] = live.stage;
  if (wanted && live.preview && live.preview_version != seen) {
    answer["live_preview"] =
        "data:image/png;base64," + to_base64(std::span(reinterpret_cast<const uint8_t*>(live.preview->data()), live.preview->size()));
    answer["id_live_preview"] = live.preview_version;
  }
  return json_response(answer);
}

json progress_body() { return object_schema({{"id_task", "string"}, {"id_live_preview", "integer"}, {"live_preview", "boolean"}}); }

// A1111's names of its tabs.
ModelKind kind_of_page(const std::string& page) {
  const std::string word = replace_all(lower(page), " ", "_");
  if (word == "lora" || word == "lycoris") return ModelKind::lora;
  if (word == "textual_inversion") return ModelKind::embedding;
  if (word == "checkpoints") return ModelKind::checkpoint;
  throw Error(ErrorKind::not_found, "there is no page \"" + valid_utf8(page) + "\"", "there are lora, textual_inversion, checkpoints");
}

std::string stem_of(std::string name) {
  for (const char* end : {".preview.png", ".png", ".jpg", ".jpeg", ".webp", ".gif", ".safetensors"})
    if (ends_with(lower(name), end)) return name.substr(0, name.size() - std::string_view(end).size());
  return name;
}

HttpResponse preview_of(App& app, const HttpRequest& request, ModelKind kind, const std::string& name) {
  const auto card = app.library.card(kind, name);
  if (!card) throw Error(ErrorKind::not_found, "there is no \"" + valid_utf8(name) + "\"");
  const auto file = app.library.preview(kind, card->name);
  if (!file) throw Error(ErrorKind::not_found, "\"" + valid_utf8(name) + "\" has no picture");
  return bytes_response(request, file->bytes, file->media_type, std::to_string(file->version));
}

// filename: a name here, where A1111 has a path.
HttpResponse thumb(App& app, const HttpRequest& request) {
  const std::string name = stem_of(request.parameter("filename"));
  for (const ModelKind kind : {ModelKind::lora, ModelKind::checkpoint, ModelKind::embedding})
    if (app.library.card(kind, name)) return preview_of(app, request, kind, name);
  throw Error(ErrorKind::not_found, "there is no \"" + valid_utf8(name) + "\"");
}

HttpResponse cover(App& app, const HttpRequest& request) {
  return preview_of(app, request, kind_of_page(request.parameter("page")), request.parameter("item"));
}

HttpResponse metadata(App& app, const HttpRequest& request) {
  const ModelKind kind = kind_of_page(request.parameter("page"));
  const auto card = app.library.card(kind, request.parameter("item"));
  const auto item = card ? app.library.item(kind, card->name) : std::nullopt;
  if (!item) throw Error(ErrorKind::not_found, "there is no \"" + valid_utf8(request.parameter("item")) + "\"");
  return json_response({{"metadata", json(item->metadata).dump(4, ' ', false, json::error_handler_t::replace)}});
}

std::string html(const std::string& text) {
  return replace_all(replace_all(replace_all(replace_all(text, "&", "&amp;"), "<", "&lt;"), ">", "&gt;"), "\"", "&quot;");
}

HttpResponse card_html(App& app, const HttpRequest& request) {
  const ModelKind kind = kind_of_page(request.parameter("page"));
  const auto card = app.library.card(kind, request.parameter("name"));
  if (!card) return json_response({{"html", ""}});
  const std::string picture = card->has_preview ? "<img class=\"preview\" src=\"/api/v1/library/" + std::string(plural(kind)) +
                                                      "/preview?name=" + url_encoded(card->name) + "\">"
                                                : "";
  return json_response({{"html", "<div class=\"card\" data-name=\"" + html(card->name) + "\">" + picture + "<span class=\"name\">" +
                                     html(card->title) + "</span></div>"}});
}

constexpr Route kRoutes[] = {
    {Method::get, "/internal/ping", "Whether the server is alive.", ping},
    {Method::get, "/internal/pending-tasks", "Names of the tasks that wait.", pending},
    {Method::post, "/internal/progress", "How far a task is (force_task_id).", progress, progress_body},
    {Method::get, "/sd_extra_networks/thumb", "The picture of a model (filename: its name).", thumb},
    {Method::get, "/sd_extra_networks/metadata", "What a file says of itself (page, item).", metadata},
    {Method::get, "/sd_extra_networks/get-single-card", "A card as HTML (page, name).", card_html},
    {Method::get, "/sd_extra_networks/cover-images", "The picture of a model (page, item).", cover},
};
}  // namespace
}  // namespace sdapi_page

std::span<const Route> sdapi_page_routes() { return sdapi_page::kRoutes; }

}  // namespace lorikeet
