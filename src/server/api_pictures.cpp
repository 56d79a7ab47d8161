// Finished pictures, what pictures say of themselves, and the length of prompts.
#include <fstream>
#include <sstream>

#include "base/error.h"
#include "base/text.h"
#include "generate/infotext.h"
#include "server/app.h"
#include "server/job_kinds.h"
#include "server/model_facts.h"
#include "server/openapi.h"
#include "server/picture_text.h"
#include "server/problem.h"
#include "server/routes.h"

namespace lorikeet {

namespace api_pictures {
namespace {
using nlohmann::json;
constexpr int64_t kMostListed = 500;
constexpr int64_t kChunkTokens = 75;  // CLIP's 77 without start and end

int64_t number_in(const HttpRequest& request, const std::string& name, int64_t otherwise, int64_t least, int64_t most) {
  const std::string text = request.parameter(name);
  if (text.empty()) return otherwise;
  const auto number = parse_int(text);
  if (!number || *number < least || *number > most)
    throw Error(ErrorKind::bad_input, "\"" + name + "\" is from " + std::to_string(least) + " to " + std::to_string(most));
  return *number;
}

HttpResponse list(App& app, const HttpRequest& request) {
  const int64_t offset = number_in(request, "offset", 0, 0, 1'000'000'000), limit = number_in(request, "limit", 60, 0, kMostListed);
  std::vector<PictureEntry> page;
  const int64_t total = app.outputs.list(offset, limit, page);
  json items = json::array();
  for (const PictureEntry& entry : page) {
    const auto seed = parse_int(entry.id.substr(entry.id.rfind('-') + 1, entry.id.rfind('.') - entry.id.rfind('-') - 1));
    items.push_back(picture_json(entry.id, entry.width_px, entry.height_px, seed.value_or(-1), entry.infotext));
    items.back()["modified"] = entry.modified;
  }
  return json_response({{"total", total}, {"offset", offset}, {"items", items}});
}

std::string id_in(const HttpRequest& request) {
  std::string id = request.parameter("id");
  if (id.empty()) throw Error(ErrorKind::bad_input, "the parameter \"id\" is missing");
  return id;
}

HttpResponse file(App& app, const HttpRequest& request) {
  const std::string id = id_in(request);
  const int64_t width = number_in(request, "width", 0, 16, 2048);
  const auto path = app.outputs.path(id);
  if (width > 0)
    return bytes_response(request, thumbnail(app.pictures, app.data_folder("thumbnails"), path, static_cast<int>(width)), "image/jpeg", "",
                          true);
  return file_response(request, path);
}

HttpResponse remove(App& app, const HttpRequest& request) {
  app.outputs.remove(id_in(request));
  return json_response({{"status", "ok"}});
}

HttpResponse info(App& app, const HttpRequest& request) {
  Members members(request.json);
  const std::string image = members.wanted_text("image");
  members.finish();
  const auto bytes = upload_bytes(image, "image");
  const PictureInfo size = picture_info(bytes);
  json items = json::object();
  const PictureText text = decode_picture_text(bytes);
  for (const auto& [name, value] : text) items[valid_utf8(name)] = value;
  json answer = settings_in_text(app, text_named(text, "parameters"));
  answer["width"] = size.width_px;
  answer["height"] = size.height_px;
  answer["items"] = items;
  return json_response(answer);
}

json image_body() { return object_schema({{"image", "string"}}, {"image"}); }

HttpResponse tokens(App&, const HttpRequest& request) {
  Members members(request.json);
  const std::string text = members.text("text").value_or("");
  members.finish();
  if (text.size() > 200000) throw Error(ErrorKind::bad_input, "the text is too long to be a prompt");
  const int64_t count = token_count(text);
  return json_response({{"count", count}, {"limit", std::max<int64_t>(1, (count + kChunkTokens - 1) / kChunkTokens) * kChunkTokens}});
}

json tokens_body() { return object_schema({{"text", "string"}}, {"text"}); }

constexpr Route kRoutes[] = {
    {Method::get, "/api/v1/pictures", "What lies in the outputs folder, newest first: offset, limit.", list},
    {Method::get, "/api/v1/pictures/file", "A picture (id), or a small copy (width).", file},
    {Method::del, "/api/v1/pictures/file", "Removes a picture (id).", remove},
    {Method::post, "/api/v1/pictures/info", "What a picture says of how it was made, and the request that makes it again.", info,
     image_body},
    {Method::post, "/api/v1/prompt/tokens", "How many tokens a prompt has; tags do not count.", tokens, tokens_body},
};
}  // namespace
}  // namespace api_pictures

std::span<const Route> picture_routes() { return api_pictures::kRoutes; }

}  // namespace lorikeet
