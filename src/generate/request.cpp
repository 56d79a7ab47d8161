#include "generate/request.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <random>

#include "base/error.h"
#include "base/text.h"
#include "io/fields_json.h"
#include "sampling/run_plan.h"
#include "sampling/sampler.h"
#include "sampling/schedules.h"

namespace lorikeet {

namespace {
constexpr int kMostSidePx = 8192;
constexpr size_t kMostJpegTextBytes = 30000;  // as UTF-16 it must fit a 64 KB marker together with the settings

std::vector<Choice> with_same_as_first(std::span<const Choice> choices) {
  std::vector<Choice> result{{"", "Use same"}};
  result.insert(result.end(), choices.begin(), choices.end());
  return result;
}

// "DPM++ 2M Karras" -> dpmpp_2m, karras, as A1111's API still takes it; unknown names are left for the check of choices.
void split_sampler(std::string& sampler, std::string& schedule) {
  if (sampler.empty()) return;
  try {
    sampler = find_sampler(sampler).name;
    return;
  } catch (const Error&) {  // perhaps a schedule stands behind it
  }
  try {
    const auto both = find_sampler_and_schedule(sampler);
    sampler = both.sampler->name;
    schedule = both.schedule->name;
  } catch (const Error&) {  // the check of choices names the near ones
  }
}

void check_multiple_of_8(std::string_view name, int value) {
  if (value % 8 == 0) return;
  const int below = value / 8 * 8;
  refuse(std::string(name) + " " + std::to_string(value) + " is not divisible by 8",
         "the nearest are " + std::to_string(below) + " and " + std::to_string(below + 8));
}

void check_hires(const Request& r) {
  if (!r.enable_hr) return;
  if (!r.init_image.empty()) refuse("hires fix works from a prompt alone, but an init image is given", "leave one of the two out");
  check_multiple_of_8("hr_resize_x", r.hr_resize_x);
  check_multiple_of_8("hr_resize_y", r.hr_resize_y);
  const bool by_scale = r.hr_resize_x == 0 && r.hr_resize_y == 0;
  if (by_scale && std::max(r.width, r.height) * r.hr_scale > kMostSidePx)
    refuse("hires fix would make a picture of more than " + std::to_string(kMostSidePx) + " pixels a side", "choose a smaller hr_scale");
}

void check_region_masks(const Request& r) {
  for (const std::string& mask : r.region_masks) {
    const size_t equals = mask.find('=');
    if (equals == 0 || equals == std::string::npos || equals + 1 == mask.size())
      refuse("the region mask \"" + mask.substr(0, 80) + "\" has no name or no picture", "write NAME=FILE; mask=NAME in the tag of a LoRA means it");
  }
}
}  // namespace

int64_t random_seed() {
  std::random_device device;
  return static_cast<int64_t>(device());
}

// In the order of the enums.
std::span<const Choice> choices(Rng) {
  static constexpr Choice list[] = {{"gpu", "GPU"}, {"cpu", "CPU"}, {"nv", "NV"}};
  return list;
}
std::span<const Choice> choices(InpaintingFill) {
  static constexpr Choice list[] = {
      {"fill", "fill"}, {"original", "original"}, {"latent_noise", "latent noise"}, {"latent_nothing", "latent nothing"}};
  return list;
}
std::span<const Choice> choices(ResizeMode) {
  static constexpr Choice list[] = {
      {"stretch", "Just resize"}, {"crop", "Crop and resize"}, {"fill", "Resize and fill"}, {"latent", "Just resize (latent upscale)"}};
  return list;
}
std::span<const Choice> choices(LoraApply) {
  static constexpr Choice list[] = {{"auto", "auto"}, {"merged", "merged"}, {"runtime", "runtime"}};
  return list;
}
std::span<const Choice> choices(VaeTiling) {
  static constexpr Choice list[] = {{"auto", "auto"}, {"on", "on"}, {"off", "off"}};
  return list;
}
std::span<const Choice> choices(HrUpscaler) {
  static constexpr Choice list[] = {{"latent", "Latent"},
                                    {"latent_antialiased", "Latent (antialiased)"},
                                    {"latent_bicubic", "Latent (bicubic)"},
                                    {"latent_bicubic_antialiased", "Latent (bicubic antialiased)"},
                                    {"latent_nearest", "Latent (nearest)"},
                                    {"latent_nearest_exact", "Latent (nearest-exact)"},
                                    {"lanczos", "Lanczos"},
                                    {"nearest", "Nearest"}};
  return list;
}
std::span<const Choice> choices(PictureFormat) {
  static constexpr Choice list[] = {{"png", "png"}, {"jpeg", "jpg"}, {"webp", "webp"}};
  return list;
}

bool is_latent(HrUpscaler upscaler) { return upscaler < HrUpscaler::lanczos; }

std::span<const Choice> sampler_choices() {
  static const auto list = [] {
    std::vector<Choice> result;
    for (const Sampler& sampler : samplers()) result.push_back({sampler.name, sampler.label});
    return result;
  }();
  return list;
}

std::span<const Choice> schedule_choices() {
  static const auto list = [] {
    std::vector<Choice> result;
    for (const Schedule& schedule : schedules()) result.push_back({schedule.name, schedule.label});
    return result;
  }();
  return list;
}

std::span<const Choice> hr_sampler_choices() {
  static const auto list = with_same_as_first(sampler_choices());
  return list;
}

std::span<const Choice> hr_schedule_choices() {
  static const auto list = with_same_as_first(schedule_choices());
  return list;
}

int batch_pictures(const Request& request) { return static_cast<int>(request.prompts.size()) * request.batch_size; }
int64_t all_pictures(const Request& request) { return int64_t{request.n_iter} * batch_pictures(request); }

void validate(Request& r) {
  split_sampler(r.sampler, r.schedule);
  split_sampler(r.hr_sampler, r.hr_schedule);
  if (r.prompts.empty()) r.prompts.emplace_back();
  check_fields(r);
  check_multiple_of_8("width", r.width);
  check_multiple_of_8("height", r.height);
  check_hires(r);
  check_region_masks(r);
  if (!r.mask_image.empty() && r.init_image.empty())
    refuse("a mask is given, but no picture to paint in", "give the picture with --init-image");
  if (all_pictures(r) > 100000) refuse("that would be " + std::to_string(all_pictures(r)) + " pictures", "ask for fewer at once");
  if (batch_pictures(r) > 256)
    refuse("a batch of " + std::to_string(batch_pictures(r)) + " pictures is too large", "a batch holds at most 256");
  for (const auto& prompt : r.prompts)
    if (r.format == PictureFormat::jpeg && prompt.size() + r.negative_prompt.size() > kMostJpegTextBytes)
      refuse("the prompt is too long to be kept in a JPEG file", "choose --format png or webp");
}

std::span<const FieldInfo> field_list() {
  static const auto list = describe_fields<Request>();
  return list;
}

void set_field(Request& request, std::string_view name, std::string_view text) { read_field(request, name, text); }

Request request_from_json(const nlohmann::json& object, const Request& base) {
  if (!object.is_object()) refuse("a request is a JSON object, {\"prompt\": …}");
  Request request = base;
  read_fields(request, object);
  return request;
}

nlohmann::json request_to_json(const Request& request) { return write_fields(request); }

}  // namespace lorikeet
