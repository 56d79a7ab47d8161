// A1111's routes that make, enlarge and read pictures.
#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "generate/request.h"
#include "io/fields_json.h"
#include "io/picture_base64.h"
#include "server/app.h"
#include "server/enlarge.h"
#include "server/job_kinds.h"
#include "server/openapi.h"
#include "server/picture_text.h"
#include "server/problem.h"
#include "server/routes.h"
#include "server/sdapi_fields.h"
#include "server/sdapi_info.h"
#include "server/sdapi_request.h"
#include "server/styles.h"

namespace lorikeet {

namespace sdapi_pictures {
namespace {
using nlohmann::json;

void apply_styles(App& app, SdapiRequest& request) {
  if (request.styles.empty()) return;
  const auto known = read_styles(app.options.data / "styles.csv");
  for (const std::string& wanted : request.styles) {
    const auto style = std::ranges::find(known, wanted, &Style::name);
    if (style == known.end()) {
      std::vector<std::string> names;
      for (const Style& one : known) names.push_back(one.name);
      throw HttpError(422, "bad_input", "there is no style \"" + valid_utf8(wanted) + "\"", did_you_mean(wanted, names));
    }
    request.prompt = with_style(request.prompt, style->prompt);
    request.negative_prompt = with_style(request.negative_prompt, style->negative_prompt);
  }
}

// Fields that the body does not have come from an infotext.
void fill_from_infotext(App& app, SdapiBody& body) {
  if (body.request.infotext.empty()) return;
  const Infotext text = read_infotext(app, body.request.infotext);
  SdapiRequest& r = body.request;
  const auto absent = [&](const char* field) { return std::ranges::find(body.given, field) == body.given.end(); };
  const auto fill = [&](const char* field, auto& to, const auto& from) {
    if (absent(field)) to = from;
  };
  fill("prompt", r.prompt, text.request.prompts.at(0));
  fill("negative_prompt", r.negative_prompt, text.request.negative_prompt);
  fill("seed", r.seed, text.request.seed);
  fill("subseed", r.subseed, text.request.subseed);
  fill("subseed_strength", r.subseed_strength, text.request.subseed_strength);
  fill("steps", r.steps, text.request.steps);
  fill("sampler_name", r.sampler_name, text.request.sampler);
  fill("scheduler", r.scheduler, text.request.schedule);
  fill("cfg_scale", r.cfg_scale, text.request.cfg_scale);
  fill("width", r.width, text.request.width);
  fill("height", r.height, text.request.height);
  fill("denoising_strength", r.denoising_strength, text.request.denoising_strength);
  fill("enable_hr", r.enable_hr, text.request.enable_hr);
  fill("hr_scale", r.hr_scale, text.request.hr_scale);
  fill("hr_second_pass_steps", r.hr_second_pass_steps, text.request.hr_second_pass_steps);
  if (text.request.enable_hr && absent("hr_upscaler")) r.hr_upscaler = choice_of(text.request.hr_upscaler).label;
  if (text.request.clip_skip > 0 && !body.override_settings.contains("CLIP_stop_at_last_layers"))
    body.override_settings["CLIP_stop_at_last_layers"] = text.request.clip_skip;
  body.warnings.insert(body.warnings.end(), text.notes.begin(), text.notes.end());
}

// Waits until the job has ended; the server's end is an answer too.
void wait_for(App& app, const Job& job) {
  std::unique_lock lock(job.delivery->mutex);
  while (!job.delivery->ended) {
    if (app.ends) throw HttpError(503, "cancelled", "the server ends");
    job.delivery->changed.wait_for(lock, std::chrono::milliseconds(250));
  }
}

[[noreturn]] void throw_failure(const json& error) {
  const std::string word = error.value("error", "internal"), hint = error.value("hint", "");
  const int status = word == "bad_input"       ? 400
                     : word == "not_found"     ? 404
                     : word == "unsupported"   ? 422
                     : word == "out_of_memory" ? 503
                                               : 500;
  throw HttpError(status, word, error.value("message", "the pictures could not be made"), hint);
}

// The request with all defaults, as A1111 repeats it.
json echo_of(const SdapiBody& body, const json& asked, bool img2img) {
  json echo = json::object();
  const SdapiRequest& r = body.request;
  const json all = [&] {
    json fields_of = json::object();
    const auto write = [&](const auto& member, const Field& field) {
      if constexpr (std::is_same_v<std::decay_t<decltype(member)>, std::vector<std::string>>)
        fields_of[std::string(field.name)] = member;
      else
        fields_of[std::string(field.name)] = as_json(member);
    };
    fields(write, r);
    return fields_of;
  }();
  const std::vector<std::string_view> of_image = [] {
    std::vector<std::string_view> names;
    for (const FieldInfo& info : describe_fields<SdapiRequest>())
      if (info.field.group.name == "img2img") names.push_back(info.field.name);
    return names;
  }();
  for (const auto& [key, value] : all.items()) {
    const bool image_field = std::ranges::find(of_image, key) != of_image.end();
    if (!image_field || img2img)
      echo[key] = value == "" && key != "prompt" && key != "negative_prompt" && !starts_with(key, "hr_") ? json() : value;
  }
  if (img2img && !r.include_init_images) echo["init_images"] = echo["mask"] = nullptr;
  for (const char* key : {"override_settings", "alwayson_scripts", "script_args"})
    echo[key] = asked.contains(key) ? asked.at(key) : json(key == std::string("script_args") ? json::array() : json::object());
  return echo;
}

HttpResponse make_pictures(App& app, const HttpRequest& http, bool img2img) {
  SdapiBody body = read_sdapi_body(http.json, img2img);
  fill_from_infotext(app, body);
  const json echo = echo_of(body, http.json, img2img);
  apply_styles(app, body.request);
  json settings = with_changes(app.settings.all(), body.override_settings, body.warnings);
  if (!body.request.override_settings_restore_afterwards) {
    if (body.override_settings.contains("sd_model_checkpoint")) app.checkpoint_named(settings["sd_model_checkpoint"].get<std::string>());
    app.settings.change(body.override_settings);
  }
  const json request = generate_request_of(body, settings, img2img);
  Job job{.kind = "generate"};
  job.request = request;
  job.saves = body.request.save_images && !body.request.do_not_save_samples;
  job.task = body.request.force_task_id;
  job.delivery = std::make_shared<Delivery>();
  job = submit(app, std::move(job));
  wait_for(app, job);
  const std::lock_guard lock(job.delivery->mutex);
  if (job.delivery->state == JobState::failed) throw_failure(job.delivery->error);
  json images = json::array();
  if (body.request.send_images)
    for (const MadePicture& picture : job.delivery->pictures)
      images.push_back(to_base64(std::span(reinterpret_cast<const uint8_t*>(picture.bytes.data()), picture.bytes.size())));
  return json_response({{"images", images}, {"parameters", echo}, {"info", sdapi_info(body, request, job, *job.delivery)}});
}

HttpResponse txt2img(App& app, const HttpRequest& request) { return make_pictures(app, request, false); }
HttpResponse img2img(App& app, const HttpRequest& request) { return make_pictures(app, request, true); }

json picture_body() {
  json schema = settings_schema(describe_fields<SdapiRequest>());
  schema["properties"]["override_settings"] = {{"type", "object"}};
  schema["properties"]["alwayson_scripts"] = {{"type", "object"}};
  schema["properties"]["script_args"] = {{"type", "array"}};
  return schema;
}

// --- extras: enlarging ---

struct ExtrasRequest {
  int resize_mode = 0;
  bool show_extras_results = true, upscaling_crop = true, upscale_first = false;
  double gfpgan_visibility = 0, codeformer_visibility = 0, codeformer_weight = 0, upscaling_resize = 2, extras_upscaler_2_visibility = 0;
  int upscaling_resize_w = 512, upscaling_resize_h = 512;
  std::string upscaler_1 = "None", upscaler_2 = "None", image;
};

template <class V, SameSettings<ExtrasRequest> E>
void fields(V& v, E& e) {
  v(e.resize_mode, {.name = "resize_mode", .help = "0: by upscaling_resize, 1: to upscaling_resize_w × upscaling_resize_h."});
  v(e.show_extras_results, {.name = "show_extras_results", .help = "The picture is always in the answer."});
  v(e.gfpgan_visibility, {.name = "gfpgan_visibility", .help = "Above 0: an error; there is no such model."});
  v(e.codeformer_visibility, {.name = "codeformer_visibility", .help = "Above 0: an error; there is no such model."});
  v(e.codeformer_weight, {.name = "codeformer_weight", .help = "Of codeformer."});
  v(e.upscaling_resize, {.name = "upscaling_resize", .help = "How much larger."});
  v(e.upscaling_resize_w, {.name = "upscaling_resize_w", .help = "Pixels."});
  v(e.upscaling_resize_h, {.name = "upscaling_resize_h", .help = "Pixels."});
  v(e.upscaling_crop, {.name = "upscaling_crop", .help = "Cut what stands out."});
  v(e.upscaler_1, {.name = "upscaler_1", .help = "A name of /sdapi/v1/upscalers."});
  v(e.upscaler_2, {.name = "upscaler_2", .help = "A second one, laid over."});
  v(e.extras_upscaler_2_visibility, {.name = "extras_upscaler_2_visibility", .help = "0 to 1."});
  v(e.upscale_first, {.name = "upscale_first", .help = "Before restoring faces, which is not done here."});
  v(e.image, {.name = "image", .help = "The picture as base64."});
}

void check_upscaler(const std::string& name) {
  if (!is_upscaler(name))
    throw HttpError(422, "unsupported", "could not find upscaler named \"" + valid_utf8(name) + "\"", "there are None, Lanczos, Nearest");
}

Enlargement enlargement_of(const ExtrasRequest& e, int width, int height) {
  const auto whole = [](double px) { return static_cast<int>(std::clamp(px, 1.0, 1e6)); };
  Enlargement wanted{.first = e.upscaler_1, .second = e.upscaler_2, .second_share = std::clamp(e.extras_upscaler_2_visibility, 0.0, 1.0)};
  if (e.resize_mode == 0) {
    wanted.width_px = wanted.final_width_px = whole(width * e.upscaling_resize);
    wanted.height_px = wanted.final_height_px = whole(height * e.upscaling_resize);
  } else {
    wanted.final_width_px = whole(e.upscaling_resize_w);
    wanted.final_height_px = whole(e.upscaling_resize_h);
    const double factor =
        std::max(static_cast<double>(wanted.final_width_px) / width, static_cast<double>(wanted.final_height_px) / height);
    wanted.width_px = e.upscaling_crop ? std::max(wanted.final_width_px, whole(width * factor)) : wanted.final_width_px;
    wanted.height_px = e.upscaling_crop ? std::max(wanted.final_height_px, whole(height * factor)) : wanted.final_height_px;
  }
  if (int64_t{wanted.width_px} * wanted.height_px > kMostUploadPixels)
    throw HttpError(
        422, "bad_input",
        "the enlarged picture would have " + std::to_string(wanted.width_px) + " × " + std::to_string(wanted.height_px) + " pixels",
        "choose a smaller size");
  return wanted;
}

void check_extras(const ExtrasRequest& e) {
  if (e.gfpgan_visibility > 0 || e.codeformer_visibility > 0)
    throw HttpError(422, "unsupported", "there is no model that restores faces here",
                    "set gfpgan_visibility and codeformer_visibility to 0");
  if (e.resize_mode < 0 || e.resize_mode > 1) throw FieldError("resize_mode", "resize_mode is 0 or 1", "value_error");
  if (!(e.upscaling_resize > 0) || e.upscaling_resize > 16)
    throw FieldError("upscaling_resize", "upscaling_resize is above 0 and at most 16", "value_error");
  check_upscaler(e.upscaler_1);
  check_upscaler(e.upscaler_2);
}

std::string enlarged_base64(App& app, const ExtrasRequest& e, const std::string& image, const char* field) {
  const PictureFile file = decode_upload(image, field);
  const Enlargement wanted = enlargement_of(e, file.picture.width_px, file.picture.height_px);
  return to_base64(app.pictures.run([&] { return encode_picture(PictureFormat::png, enlarged(file.picture, wanted), file.text); }));
}

void refuse_unknown(const std::vector<std::string>& others) {
  if (!others.empty()) throw FieldError(others[0], "the field \"" + valid_utf8(others[0]) + "\" is not known", "value_error.extra");
}

HttpResponse extra_single(App& app, const HttpRequest& request) {
  ExtrasRequest extras;
  refuse_unknown(read_sdapi_fields(extras, request.json));
  check_extras(extras);
  if (extras.image.empty()) throw FieldError("image", "field required", "value_error.missing");
  return json_response({{"html_info", ""}, {"image", enlarged_base64(app, extras, extras.image, "image")}});
}

HttpResponse extra_batch(App& app, const HttpRequest& request) {
  ExtrasRequest extras;
  const auto others = read_sdapi_fields(extras, request.json);
  refuse_unknown([&] {
    auto rest = others;
    std::erase(rest, "imageList");
    return rest;
  }());
  check_extras(extras);
  const json list = request.json.value("imageList", json());
  if (!list.is_array()) throw FieldError("imageList", "field required", "value_error.missing");
  if (list.size() > 100) throw FieldError("imageList", "at most 100 pictures", "value_error");
  json images = json::array();
  for (const json& one : list) {
    if (!one.is_object() || !one.value("data", json()).is_string())
      throw FieldError("imageList", "wants a list of {data, name}", "type_error");
    images.push_back(enlarged_base64(app, extras, one.at("data"), "imageList"));
  }
  return json_response({{"html_info", ""}, {"images", images}});
}

json extras_body() { return settings_schema(describe_fields<ExtrasRequest>()); }

// --- reading pictures ---

std::string image_in(const HttpRequest& request) {
  if (!request.json.is_object()) throw FieldError("body", "value is not a valid dict", "type_error.dict");
  const json image = request.json.value("image", json());
  if (!image.is_string())
    throw FieldError("image", image.is_null() ? "field required" : "str type expected",
                     image.is_null() ? "value_error.missing" : "type_error.str");
  return image;
}

HttpResponse png_info(App&, const HttpRequest& request) {
  const std::string image = image_in(request);
  if (trim(image).empty()) return json_response({{"info", ""}, {"items", json::object()}, {"parameters", json::object()}});
  const PictureText text = decode_picture_text(upload_bytes(image, "image"));
  const std::string info = text_named(text, "parameters");
  json items = json::object();
  for (const auto& [name, value] : text)
    if (name != "parameters") items[valid_utf8(name)] = value;
  return json_response({{"info", info}, {"items", items}, {"parameters", sdapi_parameters_of(info)}});
}

json image_body() { return object_schema({{"image", "string"}}, {"image"}); }

HttpResponse interrogate(App&, const HttpRequest& request) {
  if (image_in(request).size() < 64) throw HttpError(404, "not_found", "Image not found");
  throw HttpError(404, "not_found", "Model not found", "there is no model here that describes pictures");
}

constexpr Route kRoutes[] = {
    {Method::post, "/sdapi/v1/txt2img", "Pictures from a prompt; answers with them.", txt2img, picture_body},
    {Method::post, "/sdapi/v1/img2img", "Pictures from a picture, inpainting with a mask.", img2img, picture_body},
    {Method::post, "/sdapi/v1/extra-single-image", "Enlarges a picture.", extra_single, extras_body},
    {Method::post, "/sdapi/v1/extra-batch-images", "Enlarges pictures: imageList of {data, name}.", extra_batch, extras_body},
    {Method::post, "/sdapi/v1/png-info", "What a picture says of how it was made.", png_info, image_body},
    {Method::post, "/sdapi/v1/interrogate", "An error here: no model describes pictures.", interrogate, image_body},
};
}  // namespace
}  // namespace sdapi_pictures

std::span<const Route> sdapi_picture_routes() { return sdapi_pictures::kRoutes; }

}  // namespace lorikeet
