// Request: everything that a person can ask of txt2img, img2img, inpainting and hires fix, one line a setting.
// fields() is the one list: command-line flags, JSON, infotext, help, completion and range checks all come from it.
// Names and meanings are A1111's (its /sdapi/v1/txt2img and img2img) where it has the setting.
#pragma once
#include <cstdint>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/fields.h"

namespace lorikeet {

enum class Rng { gpu, cpu, nv };  // A1111's randn_source; gpu and nv are both Philox noise as a CUDA card makes it
enum class InpaintingFill { fill, original, latent_noise, latent_nothing };
enum class ResizeMode { stretch, crop, fill, latent };  // how the init image gets to width x height: A1111's 0..3
enum class LoraApply { automatic, merged, runtime };
enum class VaeTiling { automatic, on, off };
enum class HrUpscaler {
  latent,
  latent_antialiased,
  latent_bicubic,
  latent_bicubic_antialiased,
  latent_nearest,
  latent_nearest_exact,
  lanczos,
  nearest
};

bool is_latent(HrUpscaler upscaler);

std::span<const Choice> choices(Rng);
std::span<const Choice> choices(InpaintingFill);
std::span<const Choice> choices(ResizeMode);
std::span<const Choice> choices(LoraApply);
std::span<const Choice> choices(VaeTiling);
std::span<const Choice> choices(HrUpscaler);
std::span<const Choice> choices(PictureFormat);
std::span<const Choice> sampler_choices();      // samplers() of sampling/sampler.h
std::span<const Choice> hr_sampler_choices();   // the same, and "" (as in the first pass)
std::span<const Choice> schedule_choices();     // "automatic" and the schedules of sampling/
std::span<const Choice> hr_schedule_choices();  // the same, and ""

struct Request {
  // One call makes n_iter batches; a batch holds prompts.size() * batch_size pictures: each prompt batch_size times, prompt by prompt.
  // Picture i of the call (counted over everything) uses seed + i and subseed + i.
  std::vector<std::string> prompts{std::string()};  // never empty after validate(); each may carry its own <lora:…> tags
  std::string negative_prompt;
  int64_t seed = -1;  // -1: chosen at random by generate(), told in the result
  int steps = 20;
  std::string sampler = "dpmpp_2m";  // a name of samplers(); A1111's interface starts with DPM++ 2M as well
  std::string schedule = "automatic";
  double cfg_scale = 7;
  int width = 0, height = 0;  // px, multiples of 8; 0: the size that the checkpoint was trained at
  int batch_size = 1, n_iter = 1;
  std::string vae;  // "": the checkpoint's own (or the one given with the engine)

  int64_t subseed = -1;                                  // variation seed, -1: random
  double subseed_strength = 0;                           // 0..1, 0: no variation
  int seed_resize_from_w = -1, seed_resize_from_h = -1;  // px; above 0: noise of that size is placed into this one's
  int clip_skip = 0;                                     // 0: as the model wants it; 1: last layer, 2: the one before, …
  int ensd = 0;                                          // A1111's eta noise seed delta: added to the seed of the samplers' own noise
  Rng rng = Rng::gpu;
  bool tiling = false;                          // seamless: convolutions wrap round
  std::optional<double> eta;                    // unset: the sampler's own (1 for ancestral and SDE samplers, 0 for DDIM)
  double s_churn = 0, s_tmin = 0, s_noise = 1;  // Karras et al. 2022, algorithm 2 (euler, heun, dpm2)
  std::optional<double> s_tmax;                 // unset: no upper bound
  double cfg_rescale = 0;                       // Lin et al. 2023, arXiv 2305.08891, section 3.4: phi

  PictureSource init_image;  // given: img2img
  PictureSource mask_image;  // given: inpainting; white is painted anew
  double denoising_strength = 0.75;
  ResizeMode resize_mode = ResizeMode::stretch;
  int mask_blur = 4;  // px, sigma of the Gaussian
  bool inpainting_mask_invert = false;
  InpaintingFill inpainting_fill = InpaintingFill::original;
  bool inpaint_full_res = false;      // paint the masked part at full size ("only masked")
  int inpaint_full_res_padding = 32;  // px

  bool enable_hr = false;
  double hr_scale = 2;
  int hr_resize_x = 0, hr_resize_y = 0;  // px; both 0: hr_scale rules; one 0: from the other and the aspect ratio
  HrUpscaler hr_upscaler = HrUpscaler::latent;
  int hr_second_pass_steps = 0;               // 0: as many as the first pass
  std::string hr_sampler;                     // "": as in the first pass
  std::string hr_schedule;                    // "": as in the first pass
  std::string hr_prompt, hr_negative_prompt;  // "": as in the first pass
  double hr_cfg = 0;                          // 0: cfg_scale

  VaeTiling vae_tiling = VaeTiling::automatic;
  LoraApply lora_apply = LoraApply::automatic;
  bool allow_missing = false;  // a LoRA that is not there is a warning, not an error
  PictureFormat format = PictureFormat::png;
  int quality = 90;
  std::vector<std::string> region_masks;  // NAME=FILE or NAME=data:image/…;base64,…: pictures that mask=NAME in a LoRA's tag means

  bool operator==(const Request&) const = default;
};

namespace request_group {
inline constexpr FieldGroup basic{"basic", "Picture"}, image{"image", "From a picture (img2img, inpainting)"}, hires{"hires", "Hires fix"},
    advanced{"advanced", "Advanced"};
}

// When infotext carries a setting.
enum class InInfotext {
  if_changed,
  always,
  if_variation,       // subseed_strength is above 0
  if_image_or_hires,  // img2img, or hires fix
  if_hires,
  if_hires_and_changed,
  if_inpaint,
  if_inpaint_and_changed,
  if_only_masked
};

// How A1111's text in pictures carries a setting.
struct InfotextKey {
  std::string_view key = {};  // "Size-1" and "Size-2" are written as "Size: WxH"; "": not at all
  InInfotext when = InInfotext::if_changed;
};

// Calls v(member, field), or v(member, field, infotext_key) if v takes that, for every setting, in A1111's order of infotext keys. R is Request
// or const Request. See io/fields.h.
template <class V, SameSettings<Request> R>
void fields(V& v, R& r) {
  using namespace request_group;
  using enum InInfotext;
  constexpr double kAny = std::numeric_limits<double>::max();
  const auto each = [&](auto& member, const Field& field, const InfotextKey& infotext = {}) {
    if constexpr (requires { v(member, field, infotext); })
      v(member, field, infotext);
    else
      v(member, field);
  };
  // A setting is one line.
  // clang-format off
  each(r.prompts, {.name = "prompt", .help = "What to paint; may carry <lora:name:weight> tags. Several prompts share a batch.", .group = basic, .flags = "-p"});
  each(r.negative_prompt, {.name = "negative_prompt", .help = "What to keep out of the picture.", .group = basic, .flags = "-n,--negative"});
  each(r.steps, {.name = "steps", .help = "Number of denoising steps.", .group = basic, .range = {1, 1000}, .flags = "-s"}, {"Steps", always});
  each(r.sampler, {.name = "sampler", .help = "The stepping rule; A1111's names (\"DPM++ 2M Karras\") work too.", .group = basic, .choices = sampler_choices}, {"Sampler", always});
  each(r.schedule, {.name = "schedule", .help = "How the noise levels are spaced; automatic: what suits the sampler.", .group = basic, .choices = schedule_choices}, {"Schedule type", always});
  each(r.cfg_scale, {.name = "cfg_scale", .help = "Guidance: how strongly the prompt rules. 1 switches guidance off.", .group = basic, .range = {0, 100}, .flags = "-c,--cfg"}, {"CFG scale", always});
  each(r.seed, {.name = "seed", .help = "Seed of the first picture, picture i uses seed + i; -1: random.", .group = basic, .range = {-1, kAny}}, {"Seed", always});
  each(r.width, {.name = "width", .help = "Width in pixels, a multiple of 8; 0: as the checkpoint was trained.", .group = basic, .range = {64, 8192, true}, .flags = "-W"}, {"Size-1", always});
  each(r.height, {.name = "height", .help = "Height in pixels, a multiple of 8; 0: as the checkpoint was trained.", .group = basic, .range = {64, 8192, true}, .flags = "-H"}, {"Size-2", always});
  each(r.batch_size, {.name = "batch_size", .help = "Pictures of each prompt made together.", .group = basic, .range = {1, 256}, .flags = "-b"});
  each(r.n_iter, {.name = "n_iter", .help = "How many batches, one after the other.", .group = basic, .range = {1, 10000}, .flags = "--batches"});
  each(r.vae, {.name = "vae", .help = "Another VAE: a name in the models folder, or a file.", .group = basic}, {"VAE"});
  each(r.subseed, {.name = "subseed", .help = "Variation seed; -1: random.", .group = advanced, .range = {-1, kAny}, .flags = "--variation-seed"}, {"Variation seed", if_variation});
  each(r.subseed_strength, {.name = "subseed_strength", .help = "How far to go from the seed's picture to the variation seed's.", .group = advanced, .range = {0, 1}, .flags = "--variation-strength"}, {"Variation seed strength"});
  each(r.seed_resize_from_w, {.name = "seed_resize_from_w", .help = "Keep the layout that the seed gives at this width; -1: off.", .group = advanced, .range = {-1, 8192}}, {"Seed resize from-1"});
  each(r.seed_resize_from_h, {.name = "seed_resize_from_h", .help = "Keep the layout that the seed gives at this height; -1: off.", .group = advanced, .range = {-1, 8192}}, {"Seed resize from-2"});
  each(r.denoising_strength, {.name = "denoising_strength", .help = "How much of the init image (or of the first pass of hires fix) is made anew.", .group = image, .range = {0, 1}, .flags = "-d,--strength"}, {"Denoising strength", if_image_or_hires});
  each(r.clip_skip, {.name = "clip_skip", .help = "Which layer of the text encoder from the end; 0: as the model wants it.", .group = advanced, .range = {0, 12}}, {"Clip skip"});
  each(r.ensd, {.name = "ensd", .help = "A1111's eta noise seed delta.", .group = advanced, .range = {-2147483647, 2147483647}}, {"ENSD"});
  each(r.rng, {.name = "rng", .help = "Where the noise comes from: gpu and nv as a CUDA card makes it, cpu as torch does.", .group = advanced}, {"RNG"});
  each(r.tiling, {.name = "tiling", .help = "Seamless picture, to be laid side by side.", .group = advanced}, {"Tiling"});
  each(r.enable_hr, {.name = "enable_hr", .help = "Hires fix: a second pass at a larger size.", .group = hires, .flags = "--hires"});
  each(r.hr_sampler, {.name = "hr_sampler", .help = "Sampler of the second pass; empty: the same.", .group = hires, .choices = hr_sampler_choices}, {"Hires sampler", if_hires_and_changed});
  each(r.hr_prompt, {.name = "hr_prompt", .help = "Prompt of the second pass; empty: the same.", .group = hires}, {"Hires prompt", if_hires_and_changed});
  each(r.hr_negative_prompt, {.name = "hr_negative_prompt", .help = "Negative prompt of the second pass; empty: the same.", .group = hires}, {"Hires negative prompt", if_hires_and_changed});
  each(r.hr_schedule, {.name = "hr_schedule", .help = "Schedule of the second pass; empty: the same.", .group = hires, .choices = hr_schedule_choices}, {"Hires schedule type", if_hires_and_changed});
  each(r.hr_cfg, {.name = "hr_cfg", .help = "Guidance of the second pass; 0: the same.", .group = hires, .range = {0, 100}}, {"Hires CFG Scale", if_hires_and_changed});
  each(r.hr_scale, {.name = "hr_scale", .help = "How much larger the second pass is.", .group = hires, .range = {1, 8}, .flags = "--hires-scale"}, {"Hires upscale", if_hires});
  each(r.hr_resize_x, {.name = "hr_resize_x", .help = "Width of the second pass in pixels; 0: from hr_scale, or from the height.", .group = hires, .range = {0, 8192}}, {"Hires resize-1", if_hires_and_changed});
  each(r.hr_resize_y, {.name = "hr_resize_y", .help = "Height of the second pass in pixels; 0: from hr_scale, or from the width.", .group = hires, .range = {0, 8192}}, {"Hires resize-2", if_hires_and_changed});
  each(r.hr_second_pass_steps, {.name = "hr_second_pass_steps", .help = "Steps of the second pass; 0: as many as the first.", .group = hires, .range = {0, 1000}, .flags = "--hires-steps"}, {"Hires steps", if_hires_and_changed});
  each(r.hr_upscaler, {.name = "hr_upscaler", .help = "How the first pass is enlarged.", .group = hires}, {"Hires upscaler", if_hires});
  each(r.init_image, {.name = "init_image", .help = "Start from this picture (img2img).", .group = image, .flags = "-i,--init"});
  each(r.mask_image, {.name = "mask_image", .help = "Paint only where this picture is white (inpainting).", .group = image, .flags = "--mask"});
  each(r.resize_mode, {.name = "resize_mode", .help = "How the init image gets to the asked size.", .group = image});
  each(r.inpainting_mask_invert, {.name = "inpainting_mask_invert", .help = "Paint where the mask is black instead.", .group = image, .flags = "--mask-invert"}, {"Mask mode", if_inpaint_and_changed});
  each(r.mask_blur, {.name = "mask_blur", .help = "Softens the edge of the mask, in pixels.", .group = image, .range = {0, 256}}, {"Mask blur", if_inpaint});
  each(r.inpaint_full_res, {.name = "inpaint_full_res", .help = "Paint only the masked part, at the full asked size.", .group = image, .flags = "--only-masked"}, {"Inpaint area", if_inpaint_and_changed});
  each(r.inpaint_full_res_padding, {.name = "inpaint_full_res_padding", .help = "Pixels around the masked part that --inpaint-full-res sees.", .group = image, .range = {0, 1024}}, {"Masked area padding", if_only_masked});
  each(r.inpainting_fill, {.name = "inpainting_fill", .help = "What the masked part starts from.", .group = image}, {"Masked content", if_inpaint_and_changed});
  each(r.eta, {.name = "eta", .help = "Share of fresh noise of ancestral, SDE and DDIM samplers; unset: the sampler's own.", .group = advanced, .range = {0, 10}}, {"Eta"});
  each(r.s_churn, {.name = "s_churn", .help = "Karras' churn: noise added at each step of euler, heun and dpm2.", .group = advanced, .range = {0, 1000}}, {"Sigma churn"});
  each(r.s_tmin, {.name = "s_tmin", .help = "Churn only above this noise level.", .group = advanced, .range = {0, 1000}}, {"Sigma tmin"});
  each(r.s_tmax, {.name = "s_tmax", .help = "Churn only below this noise level; unset: no bound.", .group = advanced, .range = {0, 100000}}, {"Sigma tmax"});
  each(r.s_noise, {.name = "s_noise", .help = "Strength of the noise that the samplers add.", .group = advanced, .range = {0, 10}}, {"Sigma noise"});
  each(r.cfg_rescale, {.name = "cfg_rescale", .help = "Pulls strong guidance back to the contrast of the plain prompt.", .group = advanced, .range = {0, 1}}, {"CFG Rescale phi"});
  each(r.vae_tiling, {.name = "vae_tiling", .help = "Decode in tiles, for large pictures.", .group = advanced});
  each(r.lora_apply, {.name = "lora_apply", .help = "Put LoRAs into the weights, or beside them at run time.", .group = advanced});
  each(r.region_masks, {.name = "region_masks", .help = "A picture for mask=NAME in a LoRA's tag, white where the LoRA works: NAME=FILE. May be given several times.", .group = advanced, .flags = "--region-mask"});
  each(r.allow_missing, {.name = "allow_missing", .help = "Go on without a LoRA that is not there.", .group = advanced});
  each(r.format, {.name = "format", .help = "Format of the picture files.", .group = basic});
  each(r.quality, {.name = "quality", .help = "Quality of JPEG and WebP; 100: lossless WebP.", .group = advanced, .range = {1, 100}});
  // clang-format on
}

// Pictures in one batch, and in the whole call.
int batch_pictures(const Request& request);
int64_t all_pictures(const Request& request);

// What a seed of -1 stands for: any, 0 to 2³² - 1, as in A1111.
int64_t random_seed();
// Checks every range and what hangs together, and brings names to one spelling ("DPM++ 2M Karras" becomes sampler dpmpp_2m and
// schedule karras; any case). Error{bad_input} names the setting, and says which value would do.
void validate(Request& request);

// JSON with the names of fields(). "prompt" is a string or a list. request_from_json starts from `base` and changes what is given; an
// unknown key, a wrong type or an unknown choice is Error{bad_input} with the key and the near names. Pictures given as pixels become
// "data:image/png;base64,…". request_to_json writes every setting.
Request request_from_json(const nlohmann::json& json, const Request& base = {});
nlohmann::json request_to_json(const Request& request);

// The same list without templates, for command lines, completion and help.
std::span<const FieldInfo> field_list();

// Reads one setting from text ("20", "true", "cpu"; a prompt is added to the list). Error{bad_input} names the setting.
void set_field(Request& request, std::string_view name, std::string_view text);

}  // namespace lorikeet
