#include "server/settings.h"

#include <algorithm>
#include <fstream>

#include "base/error.h"
#include "base/text.h"
#include "io/atomic_file.h"
#include "server/http.h"
#include "server/problem.h"

namespace lorikeet {

namespace {
using nlohmann::json;

// Defaults as A1111 1.10 has them; previews are cheap here, so that one is made at each step (A1111: 10).
constexpr SettingRow kRows[] = {
    {"sd_model_checkpoint", "\"\"", true},
    {"sd_vae", "\"Automatic\"", true},
    {"CLIP_stop_at_last_layers", "1", true},
    {"samples_format", "\"png\"", true},
    {"jpeg_quality", "80", true},
    {"randn_source", "\"GPU\"", true},
    {"eta_noise_seed_delta", "0", true},
    {"show_progress_every_n_steps", "1", true},
    {"live_previews_enable", "true", true},
    {"sd_checkpoint_hash", "\"\"", false},
    {"sd_lora", "\"None\"", false},
    {"sd_hypernetwork", "\"None\"", false},
    {"samples_save", "true", false},
    {"grid_save", "true", false},
    {"return_grid", "true", false},
    {"eta_ancestral", "1.0", false},
    {"eta_ddim", "0.0", false},
    {"face_restoration", "false", false},
    {"face_restoration_model", "\"CodeFormer\"", false},
    {"code_former_weight", "0.5", false},
    {"upscaler_for_img2img", "null", false},
    {"img2img_color_correction", "false", false},
    {"img2img_fix_steps", "false", false},
    {"initial_noise_multiplier", "1.0", false},
    {"inpainting_mask_weight", "1.0", false},
    {"comma_padding_backtrack", "20", false},
    {"emphasis", "\"Original\"", false},
    {"enable_pnginfo", "true", false},
    {"token_merging_ratio", "0.0", false},
    {"show_progress_type", "\"Approx cheap\"", false},
    {"show_progress_grid", "true", false},
    {"live_preview_refresh_period", "1000.0", false},
    {"extra_networks_default_multiplier", "1.0", false},
    {"lora_preferred_name", "\"Alias from file\"", false},
    {"sd_checkpoint_cache", "0", false},
    {"sd_checkpoints_limit", "1", false},
    {"sd_vae_checkpoint_cache", "0", false},
    {"sd_checkpoint_dropdown_use_short", "false", false},
    {"upcast_attn", "false", false},
    {"cross_attention_optimization", "\"Automatic\"", false},
    {"do_not_show_images", "false", false},
    {"send_seed", "true", false},
    {"send_size", "true", false},
    {"save_to_dirs", "true", false},
};

const SettingRow* find_row(std::string_view name) {
  const auto row = std::ranges::find(kRows, name, &SettingRow::name);
  return row == std::end(kRows) ? nullptr : row;
}

// Same type as the default, where numbers are all of one type.
bool same_type(const json& value, const json& example) {
  if (example.is_null() || value.is_null()) return true;
  return value.is_number() && example.is_number() ? true : value.type() == example.type();
}

std::string_view word_of(const json& example) {
  return example.is_boolean() ? "true or false" : example.is_number() ? "a number" : "a text";
}

json defaults() {
  json values = json::object();
  for (const SettingRow& row : kRows) values[std::string(row.name)] = json::parse(row.default_json);
  return values;
}
}  // namespace

std::span<const SettingRow> setting_rows() { return kRows; }

json with_changes(json values, const json& changes, std::vector<std::string>& warnings) {
  if (!changes.is_object()) throw FieldError("override_settings", "settings are a JSON object", "type_error.dict");
  for (const auto& [key, value] : changes.items()) {
    const SettingRow* row = find_row(key);
    if (!row) {
      std::vector<std::string> names;
      for (const SettingRow& known : kRows) names.emplace_back(known.name);
      const std::string near = did_you_mean(key, names);
      warnings.push_back("the setting \"" + valid_utf8(key) + "\" is not known here and was passed over" +
                         (near.empty() ? "" : "; " + near));
      continue;
    }
    const json example = json::parse(row->default_json);
    if (!same_type(value, example))
      throw FieldError(key, "the setting \"" + key + "\" wants " + std::string(word_of(example)), "type_error");
    if (!row->acts && values[key] != value) warnings.push_back("the setting \"" + key + "\" has no effect here");
    values[key] = value.is_null() ? example : value;
  }
  return values;
}

Settings::Settings(std::filesystem::path file) : file_(std::move(file)), values_(defaults()) {
  std::ifstream stream(file_);
  if (!stream) return;
  const json kept = json::parse(stream, nullptr, /*allow_exceptions=*/false);
  std::error_code code;
  if (!kept.is_object()) {
    std::filesystem::rename(file_, file_.string() + ".damaged", code);
    return;
  }
  for (const auto& [key, value] : kept.items())
    if (values_.contains(key) && same_type(value, values_[key])) values_[key] = value;
}

json Settings::all() const {
  const std::lock_guard lock(mutex_);
  return values_;
}

std::vector<std::string> Settings::change(const json& changes) {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> warnings;
  json values = with_changes(values_, changes, warnings);
  if (values == values_) return warnings;
  json changed = json::object();
  const json unchanged = defaults();
  for (const auto& [key, value] : values.items())
    if (value != unchanged[key]) changed[key] = value;
  write_file_atomically(file_, changed.dump(1, ' ', false, json::error_handler_t::replace));
  values_ = std::move(values);
  return warnings;
}

std::string Settings::text(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  const json& value = values_.at(std::string(name));
  return value.is_string() ? value.get<std::string>() : "";
}

}  // namespace lorikeet
