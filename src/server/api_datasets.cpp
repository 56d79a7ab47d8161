// Data sets: pictures and captions to train on.
#include <cstdio>

#include "base/error.h"
#include "base/text.h"
#include "server/app.h"
#include "server/datasets.h"
#include "server/openapi.h"
#include "server/picture_text.h"
#include "server/routes.h"

namespace lorikeet {

namespace api_datasets {
namespace {
using nlohmann::json;
constexpr size_t kMostAtOnce = 500;

Datasets datasets(App& app) { return Datasets(app.data_folder("datasets")); }

std::string wanted(const HttpRequest& request, const std::string& parameter) {
  std::string value = request.parameter(parameter);
  if (value.empty()) throw Error(ErrorKind::bad_input, "the parameter \"" + parameter + "\" is missing");
  return value;
}

HttpResponse list(App& app, const HttpRequest&) {
  json all = json::array();
  for (const auto& [name, pictures] : datasets(app).list()) all.push_back({{"name", name}, {"pictures", pictures}});
  return json_response({{"datasets", all}});
}

json item_json(App& app, const std::string& name) {
  json pictures = json::array();
  for (const DatasetPicture& one : datasets(app).pictures(name)) {
    const std::string url = "/api/v1/datasets/picture?name=" + url_encoded(name) + "&file=" + url_encoded(one.file);
    pictures.push_back({{"file", valid_utf8(one.file)},
                        {"url", url},
                        {"thumb_url", url + "&width=256"},
                        {"width", one.width_px},
                        {"height", one.height_px},
                        {"caption", one.caption}});
  }
  return {{"name", name}, {"pictures", pictures}};
}

HttpResponse item(App& app, const HttpRequest& request) { return json_response(item_json(app, wanted(request, "name"))); }

HttpResponse add(App& app, const HttpRequest& request) {
  const std::string name = wanted(request, "name");
  Members members(request.json);
  const json* pictures = members.any("pictures");
  members.finish();
  Datasets sets = datasets(app);
  sets.create(name);
  if (!pictures) return json_response(item_json(app, name));
  if (!pictures->is_array() || pictures->size() > kMostAtOnce)
    throw Error(ErrorKind::bad_input, "\"pictures\" wants a list of at most " + std::to_string(kMostAtOnce) + " pictures");
  for (const json& picture : *pictures) {
    Members one(picture);
    const std::string file = one.wanted_text("file"), image = one.wanted_text("image"), caption = one.text("caption").value_or("");
    one.finish();
    const auto bytes = upload_bytes(image, file);
    sets.add(name, file, std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()), caption);
  }
  return json_response(item_json(app, name));
}

json add_body() {
  json schema = object_schema({{"pictures", "array"}});
  schema["properties"]["pictures"]["items"] =
      object_schema({{"file", "string"}, {"image", "string"}, {"caption", "string"}}, {"file", "image"});
  return schema;
}

HttpResponse picture(App& app, const HttpRequest& request) {
  const auto path = datasets(app).picture(wanted(request, "name"), wanted(request, "file"));
  const auto width = parse_int(request.parameter("width"));
  if (width && *width >= 16 && *width <= 2048)
    return bytes_response(request, thumbnail(app.pictures, app.data_folder("thumbnails"), path, static_cast<int>(*width)), "image/jpeg");
  return file_response(request, path);
}

HttpResponse caption(App& app, const HttpRequest& request) {
  Members members(request.json);
  const std::string text = members.text("caption").value_or("");
  members.finish();
  datasets(app).set_caption(wanted(request, "name"), wanted(request, "file"), text);
  return json_response({{"status", "ok"}});
}

json caption_body() { return object_schema({{"caption", "string"}}, {"caption"}); }

HttpResponse remove_picture(App& app, const HttpRequest& request) {
  datasets(app).remove_picture(wanted(request, "name"), wanted(request, "file"));
  return json_response({{"status", "ok"}});
}

HttpResponse remove(App& app, const HttpRequest& request) {
  datasets(app).remove(wanted(request, "name"));
  return json_response({{"status", "ok"}});
}

// A sheet of sample pictures that a run made on the way.
HttpResponse sample(App& app, const HttpRequest& request) {
  const auto run = parse_int(wanted(request, "run")), step = parse_int(wanted(request, "step"));
  if (!run || !step || *run < 0 || *step < 0) throw Error(ErrorKind::bad_input, "\"run\" and \"step\" are numbers");
  char name[32];
  std::snprintf(name, sizeof name, "step-%06lld.png", static_cast<long long>(*step));
  return file_response(request, path_below(app.data_folder("runs"), std::to_string(*run) + "/samples/" + name));
}

constexpr Route kRoutes[] = {
    {Method::get, "/api/v1/datasets", "Names and sizes of all data sets.", list},
    {Method::get, "/api/v1/datasets/item", "One data set (name): its pictures and captions.", item},
    {Method::post, "/api/v1/datasets/item", "Adds pictures to a data set (name), which is made when it is new.", add, add_body},
    {Method::get, "/api/v1/datasets/picture", "A picture (name, file), or a small copy (width).", picture},
    {Method::post, "/api/v1/datasets/caption", "Sets the caption of a picture (name, file).", caption, caption_body},
    {Method::del, "/api/v1/datasets/picture", "Removes a picture (name, file).", remove_picture},
    {Method::del, "/api/v1/datasets/item", "Removes a data set (name).", remove},
    {Method::get, "/api/v1/training/sample", "Sample pictures of a training (run: the job's id; step).", sample},
};
}  // namespace
}  // namespace api_datasets

std::span<const Route> dataset_routes() { return api_datasets::kRoutes; }

}  // namespace lorikeet
