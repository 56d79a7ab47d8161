// The library of models: lists, details, what people edit, previews.
#include "base/error.h"
#include "base/text.h"
#include "io/picture_base64.h"
#include "library/library_json.h"
#include "server/app.h"
#include "server/job_kinds.h"
#include "server/openapi.h"
#include "server/problem.h"
#include "server/routes.h"

namespace lorikeet {

namespace api_library {
namespace {
using nlohmann::json;

ModelKind kind_of(const HttpRequest& request) {
  const auto kind = model_kind_of(request.id);
  if (!kind)
    throw Error(ErrorKind::not_found, "there are no \"" + valid_utf8(request.id) + "\" in the library",
                "there are loras, checkpoints, embeddings, vaes");
  return *kind;
}

std::string name_in(const HttpRequest& request, const std::string& parameter = "name") {
  std::string name = request.parameter(parameter);
  if (name.empty()) throw Error(ErrorKind::bad_input, "the parameter \"" + parameter + "\" is missing");
  return name;
}

HttpResponse list(App& app, const HttpRequest& request) {
  json page = json_of(app.library.list(query_from_parameters(kind_of(request), request.query)));
  if (page.contains("problems"))
    for (json& line : page["problems"]) line = without_folders(line.get<std::string>());
  return json_response(page);
}

HttpResponse item(App& app, const HttpRequest& request) {
  const ModelKind kind = kind_of(request);
  const std::string name = name_in(request);
  const auto found = app.library.item(kind, name);
  if (!found) {
    app.library.path(kind, name);  // throws, with the near names
    throw Error(ErrorKind::not_found, "there is no " + std::string(lorikeet::name(kind)) + " \"" + valid_utf8(name) + "\"");
  }
  json details = json_of(*found);
  if (details.contains("warnings"))
    for (json& line : details["warnings"]) line = without_folders(line.get<std::string>());
  return json_response(details);
}

HttpResponse edit(App& app, const HttpRequest& request) {
  return json_response(json_of(app.library.edit(kind_of(request), name_in(request), edit_from_json(request.json))));
}

json edit_body() {
  json schema = object_schema({{"trigger_words", "array"},
                               {"preferred_multiplier", "number"},
                               {"negative_text", "string"},
                               {"description", "string"},
                               {"notes", "string"},
                               {"favourite", "boolean"},
                               {"rating", "integer"},
                               {"sd_version", "string"}});
  schema["properties"]["trigger_words"]["items"] = {{"type", "string"}};
  return schema;
}

HttpResponse preview(App& app, const HttpRequest& request) {
  int64_t width = 0;
  if (const std::string text = request.parameter("width"); !text.empty()) {
    const auto number = parse_int(text);
    if (!number || *number < 16 || *number > 2048) throw Error(ErrorKind::bad_input, "\"width\" is from 16 to 2048");
    width = *number;
  }
  const ModelKind kind = kind_of(request);
  const std::string name = name_in(request);
  const auto file = app.pictures.run([&] { return app.library.preview(kind, name, static_cast<int>(width)); });
  if (!file) throw Error(ErrorKind::not_found, "\"" + valid_utf8(name) + "\" has no preview");
  const std::string etag = std::to_string(file->version) + "-" + std::to_string(width);
  return bytes_response(request, file->bytes, file->media_type, etag, !request.parameter("v").empty());
}

// {"image"} sets one; {"make": true, …} queues a job that paints it.
HttpResponse set_preview(App& app, const HttpRequest& request) {
  const ModelKind kind = kind_of(request);
  const std::string name = name_in(request);
  if (!request.json.is_object())
    throw Error(ErrorKind::bad_input, "send {\"image\": \"data:image/png;base64,…\"}, or {\"make\": true, \"prompt\": …}");
  if (request.json.value("make", json(false)) == true) {
    Job job{.kind = "preview"};
    job.request = request.json;
    job.request.erase("make");
    job.request["library"] = plural(kind);
    job.request["name"] = name;
    job = submit(app, std::move(job));
    return json_response({{"id", job.id}, {"position", app.jobs.position(job.id)}}, 202);
  }
  Members members(request.json);
  const std::string image = members.text("image").value_or("");
  members.any("make");
  members.finish();
  if (image.empty()) throw Error(ErrorKind::bad_input, "\"image\" is missing", "or send {\"make\": true} to have one made");
  const auto bytes = upload_bytes(image, "image");
  return json_response(
      json_of(app.library.set_preview(kind, name, std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()))));
}

json preview_body() { return object_schema({{"image", "string"}, {"make", "boolean"}, {"prompt", "string"}, {"seed", "integer"}}); }

HttpResponse refresh(App& app, const HttpRequest&) { return json_response({{"version", app.library.refresh()}}); }

HttpResponse fits(App& app, const HttpRequest& request) {
  const std::string checkpoint = request.parameter("checkpoint");
  return json_response(json_of(app.library.fits(name_in(request), checkpoint.empty() ? app.chosen_checkpoint() : checkpoint)));
}

constexpr Route kRoutes[] = {
    {Method::post, "/api/v1/library/refresh", "Scans the models folders now.", refresh},
    {Method::get, "/api/v1/library/fits", "Whether a LoRA (name) fits a checkpoint, by names and shapes.", fits},
    {Method::get, "/api/v1/library/{id}",
     "Cards of loras, checkpoints, embeddings or vaes: query, folder, family, tag, favourite, sort, order, offset, limit.", list},
    {Method::get, "/api/v1/library/{id}/item", "All that is known of one (name).", item},
    {Method::post, "/api/v1/library/{id}/item", "What a person says of it; kept in NAME.json beside the file.", edit, edit_body},
    {Method::get, "/api/v1/library/{id}/preview", "Its picture (name; width for a small one).", preview},
    {Method::post, "/api/v1/library/{id}/preview", "Sets its picture, or queues a job that makes one.", set_preview, preview_body},
};
}  // namespace
}  // namespace api_library

std::span<const Route> library_routes() { return api_library::kRoutes; }

}  // namespace lorikeet
