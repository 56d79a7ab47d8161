#include "server/sdapi_request.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "generate/request.h"
#include "prompt/extra_networks.h"
#include "server/model_facts.h"
#include "server/problem.h"
#include "server/sdapi_fields.h"

namespace lorikeet {

namespace {
using nlohmann::json;

[[noreturn]] void refuse(int status, const std::string& message, const std::string& hint = "") {
  throw HttpError(status, "bad_input", message, hint);
}


// "always on script X not found": scripts change pictures, so that going on without one would be a lie.
void check_scripts(const SdapiBody& body, const json& scripts) {
  if (!is_none(body.request.script_name)) refuse(422, "Script '" + body.request.script_name + "' not found", "this server has no scripts");
  if (!scripts.is_object()) throw FieldError("alwayson_scripts", "value is not a valid dict", "type_error.dict");
  for (const auto& [name, arguments] : scripts.items()) {
    const json args = arguments.is_object() ? arguments.value("args", json::array()) : arguments;
    const bool idle =
        args.empty() ||
        (args.is_array() && std::ranges::all_of(args, [](const json& one) { return one.is_null() || one == false || one == ""; }));
    if (!idle) refuse(422, "always on script " + valid_utf8(name) + " not found", "this server has no scripts");
  }
}

void check_unsupported(const SdapiRequest& r) {
  if (!is_none(r.refiner_checkpoint)) refuse(422, "refiner_checkpoint: this server has no refiner", "leave it out");
  if (!is_none(r.hr_checkpoint_name) && lower(r.hr_checkpoint_name) != "use same checkpoint")
    refuse(422, "hr_checkpoint_name: the second pass takes the same checkpoint here", "leave it out");
  if (!r.firstpass_image.empty()) refuse(422, "firstpass_image is not known here", "send it to img2img");
  if (!r.latent_mask.empty()) refuse(422, "latent_mask is not known here", "send it as mask");
}

void warn_of_idle_fields(SdapiBody& body) {
  const SdapiRequest& r = body.request;
  const auto warn = [&](bool idle, const char* text) {
    if (idle) body.warnings.push_back(text);
  };
  warn(r.restore_faces, "restore_faces has no effect: there is no model that restores faces");
  warn(r.s_min_uncond.value_or(0) > 0, "s_min_uncond has no effect here");
  warn(r.image_cfg_scale && *r.image_cfg_scale != 1.5, "image_cfg_scale has no effect here");
  warn(r.initial_noise_multiplier && *r.initial_noise_multiplier != 1, "initial_noise_multiplier has no effect here");
  warn(!r.mask_round, "mask_round false has no effect here");
  warn(r.mask_blur_x != r.mask_blur_y && !r.mask_blur, "mask_blur_y has no effect: both sides are blurred alike");
}

// "Latent (nearest)" -> latent_nearest. A1111 has more upscalers, which are models of their own.
std::string upscaler_of(const std::string& name) {
  if (is_none(name)) return "latent";
  std::vector<std::string> names;
  for (const Choice& choice : choices(HrUpscaler{})) {
    if (lower(name) == lower(choice.label) || lower(name) == choice.name) return std::string(choice.name);
    names.emplace_back(choice.label);
  }
  refuse(422, "could not find upscaler named \"" + valid_utf8(name) + "\"", "there are " + join(names, ", "));
}

void put_hires(json& request, const SdapiRequest& r) {
  request["enable_hr"] = true;
  request["hr_scale"] = r.hr_scale;
  request["hr_upscaler"] = upscaler_of(r.hr_upscaler);
  request["hr_second_pass_steps"] = r.hr_second_pass_steps;
  request["hr_resize_x"] = r.hr_resize_x;
  request["hr_resize_y"] = r.hr_resize_y;
  request["hr_prompt"] = r.hr_prompt;
  request["hr_negative_prompt"] = r.hr_negative_prompt;
  const auto same = [](const std::string& text) {
    return is_none(text) || lower(text) == "use same sampler" || lower(text) == "use same scheduler";
  };
  if (!same(r.hr_sampler_name)) {
    const auto [sampler, schedule] = choose_sampler(r.hr_sampler_name, same(r.hr_scheduler) ? "" : r.hr_scheduler, "hr_sampler_name");
    request["hr_sampler"] = sampler;
    if (schedule != "automatic") request["hr_schedule"] = schedule;
  } else if (!same(r.hr_scheduler)) {
    request["hr_schedule"] = choose_sampler("Euler", r.hr_scheduler, "").schedule;
  }
  if (r.firstphase_width > 0 && r.firstphase_height > 0) {  // the older way: width and height are of the last pass
    request["hr_resize_x"] = r.width;
    request["hr_resize_y"] = r.height;
    request["width"] = r.firstphase_width;
    request["height"] = r.firstphase_height;
  }
}

void put_image(json& request, const SdapiRequest& r) {
  if (r.init_images.empty()) throw HttpError(404, "not_found", "Init image not found");
  if (r.init_images.size() > 1)
    refuse(422, "init_images holds " + std::to_string(r.init_images.size()) + " pictures; one is taken here", "send a request for each");
  request["init_image"] = r.init_images[0];
  if (r.resize_mode < 0 || r.resize_mode > 3) throw FieldError("resize_mode", "resize_mode is from 0 to 3", "value_error");
  request["resize_mode"] = r.resize_mode;
  if (r.mask.empty()) return;
  if (r.inpainting_fill < 0 || r.inpainting_fill > 3) throw FieldError("inpainting_fill", "inpainting_fill is from 0 to 3", "value_error");
  request["mask_image"] = r.mask;
  request["mask_blur"] = r.mask_blur.value_or(r.mask_blur_x);
  request["inpainting_fill"] = r.inpainting_fill;
  request["inpaint_full_res"] = r.inpaint_full_res;
  request["inpaint_full_res_padding"] = r.inpaint_full_res_padding;
  request["inpainting_mask_invert"] = r.inpainting_mask_invert != 0;
}

void put_settings(json& request, const json& settings) {
  const int layers = settings["CLIP_stop_at_last_layers"];
  request["clip_skip"] = layers == 1 ? 0 : layers;  // 1 is what models want that have no other wish
  request["ensd"] = settings["eta_noise_seed_delta"];
  request["rng"] = lower(settings["randn_source"].get<std::string>());
  request["format"] = settings["samples_format"];
  request["quality"] = settings["jpeg_quality"];
  const std::string vae = settings["sd_vae"];
  if (!is_none(vae) && lower(vae) != "automatic") request["vae"] = vae;
  const std::string checkpoint = settings["sd_model_checkpoint"];
  if (!checkpoint.empty()) request["checkpoint"] = checkpoint;
}

std::string without_tags(const std::string& prompt, bool strip) { return strip ? take_extra_networks(prompt).text : prompt; }
}  // namespace

SdapiBody read_sdapi_body(const json& asked, bool img2img) {
  SdapiBody body;
  json scripts = json::object();
  for (const std::string& key : read_sdapi_fields(body.request, asked, &body.given)) {
    const json& value = asked.at(key);
    if (value.is_null()) continue;
    if (key == "override_settings")
      body.override_settings = value;
    else if (key == "alwayson_scripts")
      scripts = value;
    else if (key == "script_args" || key == "comments")
      continue;  // arguments of no script; A1111 fills comments itself
    else
      body.warnings.push_back("the field \"" + valid_utf8(key) + "\" is not known here and was passed over");
  }
  if (!body.override_settings.is_object()) throw FieldError("override_settings", "value is not a valid dict", "type_error.dict");
  if (!img2img && !body.request.init_images.empty()) body.warnings.push_back("init_images has no effect in txt2img");
  check_scripts(body, scripts);
  check_unsupported(body.request);
  warn_of_idle_fields(body);
  return body;
}

json generate_request_of(SdapiBody& body, const json& settings, bool img2img) {
  const SdapiRequest& r = body.request;
  const auto [sampler, schedule] = choose_sampler(r.sampler_name.empty() ? r.sampler_index : r.sampler_name, r.scheduler, "sampler_name");
  json request{{"prompt", without_tags(r.prompt, r.disable_extra_networks)},
               {"negative_prompt", r.negative_prompt},
               {"seed", std::max<int64_t>(r.seed, -1)},
               {"subseed", std::max<int64_t>(r.subseed, -1)},
               {"subseed_strength", r.subseed_strength},
               {"seed_resize_from_w", r.seed_resize_from_w},
               {"seed_resize_from_h", r.seed_resize_from_h},
               {"sampler", sampler},
               {"schedule", schedule},
               {"batch_size", r.batch_size},
               {"n_iter", r.n_iter},
               {"steps", r.steps},
               {"cfg_scale", r.cfg_scale},
               {"width", r.width},
               {"height", r.height},
               {"tiling", r.tiling},
               {"denoising_strength", r.denoising_strength},
               {"allow_missing", true}};  // as A1111: the picture is made, the missing LoRA is told
  if (r.eta) request["eta"] = *r.eta;
  if (r.s_churn) request["s_churn"] = *r.s_churn;
  if (r.s_tmin) request["s_tmin"] = *r.s_tmin;
  if (r.s_tmax && *r.s_tmax > 0) request["s_tmax"] = *r.s_tmax;
  if (r.s_noise) request["s_noise"] = *r.s_noise;
  put_settings(request, settings);
  if (img2img)
    put_image(request, r);
  else if (r.enable_hr)
    put_hires(request, r);
  return request;
}

}  // namespace lorikeet
