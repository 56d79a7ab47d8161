#include "server/sdapi_info.h"

#include <algorithm>
#include <ctime>

#include "base/text.h"
#include "generate/infotext.h"
#include "server/model_facts.h"
#include "server/problem.h"

namespace lorikeet {

namespace {
using nlohmann::json;

// Of infotext; the others are A1111's extra_generation_params.
constexpr std::string_view kOwnKeys[] = {"Steps",
                                         "Sampler",
                                         "Schedule type",
                                         "CFG scale",
                                         "Seed",
                                         "Size",
                                         "Model hash",
                                         "Model",
                                         "VAE hash",
                                         "VAE",
                                         "Variation seed",
                                         "Variation seed strength",
                                         "Seed resize from",
                                         "Denoising strength",
                                         "Clip skip",
                                         "ENSD",
                                         "RNG",
                                         "Version"};

std::string value_of(const Infotext& text, std::string_view key) {
  for (const auto& [name, value] : text.parameters)
    if (name == key) return value;
  return "";
}

json text_or_null(const std::string& text) { return text.empty() ? json() : json(text); }

std::string timestamp(double seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  localtime_r(&time, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y%m%d%H%M%S", &parts);
  return text;
}

std::string unquoted(const std::string& value) {
  if (value.size() < 2 || value[0] != '"') return value;
  const json text = json::parse(value, nullptr, false);
  return text.is_string() ? text.get<std::string>() : value;
}
}  // namespace

std::string sdapi_info(const SdapiBody& body, const json& request, const Job& job, const Delivery& delivery) {
  const SdapiRequest& r = body.request;
  json prompts = json::array(), negatives = json::array(), seeds = json::array(), subseeds = json::array(), infotexts = json::array();
  for (const MadePicture& picture : delivery.pictures) {
    prompts.push_back(request["prompt"]);
    negatives.push_back(r.negative_prompt);
    seeds.push_back(picture.seed);
    subseeds.push_back(picture.subseed);
    infotexts.push_back(picture.infotext);
  }
  const Infotext text = parse_infotext(delivery.pictures.empty() ? "" : delivery.pictures[0].infotext);
  json extra = json::object();
  for (const auto& [key, value] : text.parameters)
    if (std::ranges::find(kOwnKeys, key) == std::end(kOwnKeys)) extra[key] = unquoted(value);
  const std::string vae = value_of(text, "VAE");
  json info{{"prompt", request["prompt"]},
            {"all_prompts", prompts},
            {"negative_prompt", r.negative_prompt},
            {"all_negative_prompts", negatives},
            {"seed", job.seed},
            {"all_seeds", seeds},
            {"subseed", job.subseed},
            {"all_subseeds", subseeds},
            {"subseed_strength", r.subseed_strength},
            {"width", request["width"]},
            {"height", request["height"]},
            {"sampler_name", sampler_label(request["sampler"].get<std::string>())},
            {"cfg_scale", r.cfg_scale},
            {"steps", r.steps},
            {"batch_size", r.batch_size},
            {"restore_faces", false},
            {"face_restoration_model", nullptr},
            {"sd_model_name", text_or_null(text.model)},
            {"sd_model_hash", text_or_null(text.model_hash)},
            {"sd_vae_name", text_or_null(vae)},
            {"sd_vae_hash", text_or_null(text.vae_hash)},
            {"seed_resize_from_w", r.seed_resize_from_w},
            {"seed_resize_from_h", r.seed_resize_from_h},
            {"denoising_strength", r.init_images.empty() && !r.enable_hr ? json() : json(r.denoising_strength)},
            {"extra_generation_params", extra},
            {"index_of_first_image", 0},
            {"infotexts", infotexts},
            {"styles", r.styles},
            {"job_timestamp", timestamp(job.created)},
            {"clip_skip", std::max(1, request.value("clip_skip", 1))},
            {"is_using_inpainting_conditioning", false},
            {"version", text.version}};
  std::vector<std::string> warnings = body.warnings;
  warnings.insert(warnings.end(), delivery.warnings.begin(), delivery.warnings.end());
  info["warnings"] = warnings;  // ours: what was changed or passed over, and how the LoRAs fitted
  info["loras"] = delivery.loras;
  return dump(info);
}

json sdapi_parameters_of(const std::string& infotext) {
  json parameters = json::object();
  if (trim(infotext).empty()) return parameters;
  const Infotext text = parse_infotext(infotext);
  parameters["Prompt"] = text.request.prompts.empty() ? "" : text.request.prompts[0];
  parameters["Negative prompt"] = text.request.negative_prompt;
  for (const auto& [key, value] : text.parameters) {
    const std::string plain = unquoted(value);
    const size_t cross = plain.find('x');
    const bool size = cross != std::string::npos && parse_int(plain.substr(0, cross)) && parse_int(plain.substr(cross + 1));
    if (size) {
      parameters[key + "-1"] = plain.substr(0, cross);
      parameters[key + "-2"] = plain.substr(cross + 1);
    } else {
      parameters[key] = plain;
    }
  }
  // What A1111 fills in where the text says nothing.
  for (const auto& [key, value] : {std::pair("Clip skip", "1"), std::pair("Hires resize-1", "0"), std::pair("Hires resize-2", "0"),
                                   std::pair("Schedule type", "Automatic"), std::pair("RNG", "GPU")})
    if (!parameters.contains(key)) parameters[key] = value;
  return parameters;
}

}  // namespace lorikeet
