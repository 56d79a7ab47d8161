// The body of A1111's txt2img and img2img, with its names and defaults (stable-diffusion-webui 1.10, modules/api/models.py).
#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "io/fields.h"

namespace lorikeet {

struct SdapiRequest {
  std::string prompt, negative_prompt;
  std::vector<std::string> styles;
  int64_t seed = -1, subseed = -1;
  double subseed_strength = 0;
  int seed_resize_from_h = -1, seed_resize_from_w = -1;
  std::string sampler_name, scheduler, sampler_index = "Euler";  // sampler_index: an older name for sampler_name
  int batch_size = 1, n_iter = 1, steps = 50;
  double cfg_scale = 7;
  int width = 512, height = 512;
  bool restore_faces = false, tiling = false, do_not_save_samples = false, do_not_save_grid = false;
  std::optional<double> eta, s_min_uncond, s_churn, s_tmax, s_tmin, s_noise;
  double denoising_strength = 0.75;
  bool override_settings_restore_afterwards = true, disable_extra_networks = false;
  std::string refiner_checkpoint;
  std::optional<double> refiner_switch_at;
  std::string firstpass_image;
  bool enable_hr = false;
  int firstphase_width = 0, firstphase_height = 0;
  double hr_scale = 2;
  std::string hr_upscaler;
  int hr_second_pass_steps = 0, hr_resize_x = 0, hr_resize_y = 0;
  std::string hr_checkpoint_name, hr_sampler_name, hr_scheduler, hr_prompt, hr_negative_prompt;
  std::string force_task_id, script_name, infotext;
  bool send_images = true, save_images = false;

  // img2img alone
  std::vector<std::string> init_images;
  int resize_mode = 0;
  std::optional<double> image_cfg_scale, initial_noise_multiplier;
  std::string mask, latent_mask;
  std::optional<int> mask_blur;
  int mask_blur_x = 4, mask_blur_y = 4;
  bool mask_round = true, inpaint_full_res = true, include_init_images = false;
  int inpainting_fill = 0, inpaint_full_res_padding = 0, inpainting_mask_invert = 0;
};

namespace sdapi_group {
inline constexpr FieldGroup both{"both", "txt2img and img2img"}, text{"txt2img", "txt2img"}, image{"img2img", "img2img"};
}

template <class V, SameSettings<SdapiRequest> S>
void fields(V& v, S& s) {
  using namespace sdapi_group;
  // clang-format off
  v(s.prompt, {.name = "prompt", .help = "What to paint; may carry <lora:name:weight>.", .group = both});
  v(s.negative_prompt, {.name = "negative_prompt", .help = "What to keep out.", .group = both});
  v(s.styles, {.name = "styles", .help = "Names of styles.csv.", .group = both});
  v(s.seed, {.name = "seed", .help = "-1: random.", .group = both});
  v(s.subseed, {.name = "subseed", .help = "Variation seed.", .group = both});
  v(s.subseed_strength, {.name = "subseed_strength", .help = "0 to 1.", .group = both});
  v(s.seed_resize_from_h, {.name = "seed_resize_from_h", .help = "Pixels; -1: off.", .group = both});
  v(s.seed_resize_from_w, {.name = "seed_resize_from_w", .help = "Pixels; -1: off.", .group = both});
  v(s.sampler_name, {.name = "sampler_name", .help = "A name or alias of /sdapi/v1/samplers.", .group = both});
  v(s.scheduler, {.name = "scheduler", .help = "A name or label of /sdapi/v1/schedulers.", .group = both});
  v(s.sampler_index, {.name = "sampler_index", .help = "An older name for sampler_name.", .group = both});
  v(s.batch_size, {.name = "batch_size", .help = "Pictures in a batch.", .group = both});
  v(s.n_iter, {.name = "n_iter", .help = "Batches.", .group = both});
  v(s.steps, {.name = "steps", .help = "Denoising steps.", .group = both});
  v(s.cfg_scale, {.name = "cfg_scale", .help = "Guidance.", .group = both});
  v(s.width, {.name = "width", .help = "Pixels.", .group = both});
  v(s.height, {.name = "height", .help = "Pixels.", .group = both});
  v(s.restore_faces, {.name = "restore_faces", .help = "Has no effect here: a warning.", .group = both});
  v(s.tiling, {.name = "tiling", .help = "Seamless pictures.", .group = both});
  v(s.do_not_save_samples, {.name = "do_not_save_samples", .help = "Even with save_images.", .group = both});
  v(s.do_not_save_grid, {.name = "do_not_save_grid", .help = "No grid is made here.", .group = both});
  v(s.eta, {.name = "eta", .help = "Share of fresh noise.", .group = both});
  v(s.denoising_strength, {.name = "denoising_strength", .help = "Of img2img and hires fix.", .group = both});
  v(s.s_min_uncond, {.name = "s_min_uncond", .help = "Has no effect here: a warning.", .group = both});
  v(s.s_churn, {.name = "s_churn", .help = "Karras' churn.", .group = both});
  v(s.s_tmax, {.name = "s_tmax", .help = "Karras' churn.", .group = both});
  v(s.s_tmin, {.name = "s_tmin", .help = "Karras' churn.", .group = both});
  v(s.s_noise, {.name = "s_noise", .help = "Strength of added noise.", .group = both});
  v(s.override_settings_restore_afterwards, {.name = "override_settings_restore_afterwards", .help = "false: override_settings stay.", .group = both});
  v(s.refiner_checkpoint, {.name = "refiner_checkpoint", .help = "There is no refiner here: an error.", .group = both});
  v(s.refiner_switch_at, {.name = "refiner_switch_at", .help = "See refiner_checkpoint.", .group = both});
  v(s.disable_extra_networks, {.name = "disable_extra_networks", .help = "Takes <lora:…> tags out.", .group = both});
  v(s.firstpass_image, {.name = "firstpass_image", .help = "Not known here: an error.", .group = text});
  v(s.enable_hr, {.name = "enable_hr", .help = "Hires fix.", .group = text});
  v(s.firstphase_width, {.name = "firstphase_width", .help = "Older: width of the first pass, width is then the last one's.", .group = text});
  v(s.firstphase_height, {.name = "firstphase_height", .help = "Older: height of the first pass.", .group = text});
  v(s.hr_scale, {.name = "hr_scale", .help = "How much larger.", .group = text});
  v(s.hr_upscaler, {.name = "hr_upscaler", .help = "A name of latent-upscale-modes, Lanczos or Nearest.", .group = text});
  v(s.hr_second_pass_steps, {.name = "hr_second_pass_steps", .help = "0: as the first pass.", .group = text});
  v(s.hr_resize_x, {.name = "hr_resize_x", .help = "Pixels; 0: from hr_scale.", .group = text});
  v(s.hr_resize_y, {.name = "hr_resize_y", .help = "Pixels; 0: from hr_scale.", .group = text});
  v(s.hr_checkpoint_name, {.name = "hr_checkpoint_name", .help = "Another checkpoint for the second pass: an error here.", .group = text});
  v(s.hr_sampler_name, {.name = "hr_sampler_name", .help = "Empty: the same.", .group = text});
  v(s.hr_scheduler, {.name = "hr_scheduler", .help = "Empty: the same.", .group = text});
  v(s.hr_prompt, {.name = "hr_prompt", .help = "Empty: the same.", .group = text});
  v(s.hr_negative_prompt, {.name = "hr_negative_prompt", .help = "Empty: the same.", .group = text});
  v(s.force_task_id, {.name = "force_task_id", .help = "A name for /internal/progress.", .group = both});
  v(s.script_name, {.name = "script_name", .help = "There are no scripts here: an error.", .group = both});
  v(s.send_images, {.name = "send_images", .help = "false: none in the answer.", .group = both});
  v(s.save_images, {.name = "save_images", .help = "Keep them in the outputs folder.", .group = both});
  v(s.infotext, {.name = "infotext", .help = "Fills fields that are not given.", .group = both});
  v(s.init_images, {.name = "init_images", .help = "One picture as base64.", .group = image});
  v(s.resize_mode, {.name = "resize_mode", .help = "0 stretch, 1 crop, 2 fill, 3 latent.", .group = image});
  v(s.image_cfg_scale, {.name = "image_cfg_scale", .help = "Has no effect here: a warning.", .group = image});
  v(s.mask, {.name = "mask", .help = "White is painted anew.", .group = image});
  v(s.mask_blur, {.name = "mask_blur", .help = "Pixels.", .group = image});
  v(s.mask_blur_x, {.name = "mask_blur_x", .help = "Pixels; both sides are alike here.", .group = image});
  v(s.mask_blur_y, {.name = "mask_blur_y", .help = "Pixels; both sides are alike here.", .group = image});
  v(s.mask_round, {.name = "mask_round", .help = "false has no effect here: a warning.", .group = image});
  v(s.inpainting_fill, {.name = "inpainting_fill", .help = "0 fill, 1 original, 2 latent noise, 3 latent nothing.", .group = image});
  v(s.inpaint_full_res, {.name = "inpaint_full_res", .help = "Paint the masked part at full size.", .group = image});
  v(s.inpaint_full_res_padding, {.name = "inpaint_full_res_padding", .help = "Pixels around it.", .group = image});
  v(s.inpainting_mask_invert, {.name = "inpainting_mask_invert", .help = "1: black is painted.", .group = image});
  v(s.initial_noise_multiplier, {.name = "initial_noise_multiplier", .help = "Other than 1 has no effect here: a warning.", .group = image});
  v(s.latent_mask, {.name = "latent_mask", .help = "Not known here: an error.", .group = image});
  v(s.include_init_images, {.name = "include_init_images", .help = "Repeat them in the answer.", .group = image});
  // clang-format on
}

// A body, read as A1111 reads it: numbers may be texts, null is not given. FieldError for a wrong type; a member that is not known is told
// in `warnings`.
struct SdapiBody {
  SdapiRequest request;
  nlohmann::json override_settings = nlohmann::json::object();
  std::vector<std::string> given;  // names of the fields that the body has
  std::vector<std::string> warnings;
};
SdapiBody read_sdapi_body(const nlohmann::json& body, bool img2img);

// As our own request: {"request": fields of /api/v1's generate}. `settings`: A1111's options with the overrides in. Throws HttpError; what
// is passed over is told in body.warnings. Styles and infotext are in already.
nlohmann::json generate_request_of(SdapiBody& body, const nlohmann::json& settings, bool img2img);

}  // namespace lorikeet
