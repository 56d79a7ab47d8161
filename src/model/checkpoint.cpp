#include "model/checkpoint.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "model/component_files.h"
#include "nn/spelling.h"

namespace lorikeet {

namespace fs = std::filesystem;
using nlohmann::json;

struct Checkpoint::Config {
  json root = json::object();

  const json* at(std::string_view path) const {
    const json* here = &root;
    for (const auto part : split(path, '.')) {
      const auto found = here->is_object() ? here->find(std::string(part)) : here->end();
      if (!here->is_object() || found == here->end() || found->is_null()) return nullptr;
      here = &*found;
    }
    return here;
  }
};

namespace {

json read_json(const fs::path& path) {
  std::ifstream in(path);
  json parsed = json::parse(in, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) {
    throw Error(ErrorKind::bad_input, path.string() + " is not a JSON object", "download or write the file again");
  }
  return parsed;
}

bool is_text_encoder(std::string_view component) { return component.starts_with("text_encoder"); }

// What the modules of a file say about where the parts of a model lie: component, prefix, and the key that proves it.
struct Layout {
  const char *component, *prefix, *proof;
};
constexpr Layout kLdmLayouts[] = {
    {"unet", "model.diffusion_model.", "input_blocks.0.0.weight"},
    {"unet", "", "input_blocks.0.0.weight"},
};
constexpr Layout kVaeLayouts[] = {
    {"vae", "first_stage_model.", "decoder.conv_in.weight"},
    {"vae", "", "decoder.conv_in.weight"},
};
constexpr Layout kTextLayouts[] = {
    {"text_encoder", "cond_stage_model.transformer.", "text_model.embeddings.token_embedding.weight"},
    {"text_encoder", "cond_stage_model.", "text_model.embeddings.token_embedding.weight"},
    {"text_encoder", "conditioner.embedders.0.transformer.", "text_model.embeddings.token_embedding.weight"},
    {"text_encoder_2", "conditioner.embedders.1.transformer.", "text_model.embeddings.token_embedding.weight"},
    {"text_encoder_2", "conditioner.embedders.0.model.", "token_embedding.weight"},  // the SDXL refiner has only this one
    {"text_encoder_2", "conditioner.embedders.1.model.", "token_embedding.weight"},
    {"text_encoder", "cond_stage_model.model.", "token_embedding.weight"},
};

}  // namespace

Checkpoint::~Checkpoint() = default;

std::shared_ptr<const Checkpoint> Checkpoint::open(const fs::path& path, const fs::path& vae) {
  return with_context("while opening checkpoint " + path.string(), [&] {
    std::shared_ptr<Checkpoint> checkpoint(new Checkpoint);
    checkpoint->path_ = path;
    checkpoint->config_ = std::make_unique<Config>();
    std::error_code ignored;
    if (fs::is_directory(path, ignored)) {
      checkpoint->open_folder();
    } else {
      checkpoint->open_file(fs::path(path).replace_extension(".config.json"));
    }
    if (!vae.empty()) checkpoint->use_vae(vae);
    return std::shared_ptr<const Checkpoint>(checkpoint);
  });
}

void Checkpoint::open_folder() {
  if (!fs::exists(path_ / "model_index.json")) {
    throw Error(ErrorKind::bad_input, path_.string() + " is a folder without a model_index.json",
                "name a checkpoint file, or a folder in diffusers' layout");
  }
  for (const auto& entry : fs::directory_iterator(path_)) {
    const std::string component = entry.path().filename().string();
    if (!entry.is_directory() || (component != "unet" && component != "vae" && !is_text_encoder(component))) continue;
    Component part{.files = {}, .prefix = "", .spelling = Spelling::diffusers};
    for (const auto& file : component_files(entry.path())) part.files.push_back(TensorFile::open(file));
    files_.insert(files_.end(), part.files.begin(), part.files.end());
    components_[component] = std::move(part);
    if (fs::exists(entry.path() / "config.json")) config_->root[component] = read_json(entry.path() / "config.json");
  }
  const fs::path scheduler = path_ / "scheduler" / "scheduler_config.json";
  if (fs::exists(scheduler)) config_->root["scheduler"] = read_json(scheduler);
  for (const char* needed : {"unet", "vae", "text_encoder"}) {
    if (!components_.contains(needed)) {
      throw Error(ErrorKind::bad_input, "the folder has no " + std::string(needed) + " weights",
                  "a diffusers folder needs unet/, vae/ and text_encoder/ with .safetensors or .bin files");
    }
  }
}

void Checkpoint::open_file(const fs::path& config_hint) {
  const auto file = TensorFile::open(path_);
  files_.push_back(file);
  const auto add = [&](const Layout& layout, Spelling spelling) {
    if (!components_.contains(layout.component) && file->contains(std::string(layout.prefix) + layout.proof)) {
      components_[layout.component] = {{file}, layout.prefix, spelling};
    }
  };
  for (const auto& layout : kLdmLayouts) add(layout, Spelling::ldm_unet);
  for (const auto& layout : kVaeLayouts) add(layout, Spelling::ldm_vae);
  for (const auto& layout : kTextLayouts) {
    add(layout, std::string_view(layout.proof).starts_with("text_model") ? Spelling::diffusers : Spelling::open_clip);
  }
  if (fs::exists(config_hint)) {
    config_->root = read_json(config_hint);
  } else if (const auto inside = file->metadata().find("lorikeet.config"); inside != file->metadata().end()) {
    config_->root = json::parse(inside->second, nullptr, false);
    if (!config_->root.is_object()) throw Error(ErrorKind::bad_input, "the metadata entry lorikeet.config is not a JSON object");
  }
  // Stability's model specification (sai_model_spec): "epsilon" or "v"; "512x768".
  for (const char* entry : {"prediction_type", "resolution"}) {
    const auto stated = file->metadata().find(std::string("modelspec.") + entry);
    if (stated != file->metadata().end() && !config_->root.contains(entry)) config_->root[entry] = stated->second;
  }
}

void Checkpoint::use_vae(const fs::path& vae) {
  with_context("while opening VAE " + vae.string(), [&] {
    const fs::path folder = fs::is_directory(vae / "vae") ? vae / "vae" : vae;
    if (fs::is_directory(folder)) {
      Component part{.files = {}, .prefix = "", .spelling = Spelling::diffusers};
      for (const auto& file : component_files(folder)) part.files.push_back(TensorFile::open(file));
      files_.insert(files_.end(), part.files.begin(), part.files.end());
      components_["vae"] = std::move(part);
      return;
    }
    add_vae_component(TensorFile::open(vae));
  });
}

void Checkpoint::add_vae_component(std::shared_ptr<const TensorFile> file) {
  files_.push_back(file);
  if (file->contains("decoder.mid_block.resnets.0.norm1.weight")) {
    components_["vae"] = {{file}, "", Spelling::diffusers};
    return;
  }
  for (const auto& layout : kVaeLayouts) {
    if (!file->contains(std::string(layout.prefix) + layout.proof)) continue;
    components_["vae"] = {{file}, layout.prefix, Spelling::ldm_vae};
    return;
  }
  throw Error(ErrorKind::bad_input, "the file holds no autoencoder", "choose a VAE file, or leave it away to use the checkpoint's own");
}

// `name` is without the component.
std::vector<std::string> Checkpoint::spellings(const Component& component, const std::string& name) const {
  std::vector<std::string> keys;
  switch (component.spelling) {
    case Spelling::diffusers: keys = {name}; break;
    case Spelling::ldm_unet: keys = ldm_unet_spellings(name); break;
    case Spelling::ldm_vae: keys = {ldm_vae_spelling(name)}; break;
    case Spelling::open_clip: {
      const size_t dot = name.rfind('.');
      const std::string module = open_clip_spelling(name.substr(0, dot)), parameter = name.substr(dot + 1);
      // Some parameters stand without a module of their own: in_proj_weight, positional_embedding, text_projection.
      keys = {module + "." + parameter, module + "_" + parameter, module};
      break;
    }
  }
  for (auto& key : keys) key = component.prefix + key;
  return keys;
}

Checkpoint::Place Checkpoint::place(const std::string& name) const {
  const size_t dot = name.find('.');
  const auto component = components_.find(name.substr(0, dot));
  if (dot == std::string::npos || component == components_.end()) return {};
  const auto keys = spellings(component->second, name.substr(dot + 1));
  for (const auto& file : component->second.files) {
    for (const auto& key : keys) {
      const auto found = file->tensors().find(key);
      if (found != file->tensors().end()) return {file.get(), key, &found->second};
    }
  }
  return {component->second.files.empty() ? nullptr : component->second.files.front().get(), keys.front(), nullptr};
}

int fused_part(std::string_view name) {
  if (name.find(".self_attn.q_proj.") != std::string_view::npos) return 0;
  if (name.find(".self_attn.k_proj.") != std::string_view::npos) return 1;
  if (name.find(".self_attn.v_proj.") != std::string_view::npos) return 2;
  return -1;
}

namespace {

bool is_fused(std::string_view key) { return key.ends_with("in_proj_weight") || key.ends_with("in_proj_bias"); }
// OpenCLIP multiplies from the right: x @ text_projection.
bool is_transposed(std::string_view key) { return key.ends_with("text_projection"); }

}  // namespace

Tensor Checkpoint::find(const std::string& name) const {
  const Place where = place(name);
  if (!where.entry) return {};
  const Tensor stored = where.entry->view();
  if (is_transposed(where.key)) return stored.t();
  if (const int part = fused_part(name); part >= 0 && is_fused(where.key)) {
    const int64_t rows = stored.size(0) / 3;
    return stored.narrow(0, part * rows, rows);
  }
  return stored;
}

std::optional<StoredParameter> Checkpoint::stored(const std::string& name) const {
  const Place where = place(name);
  if (!where.entry) return std::nullopt;
  const auto file = std::find_if(files_.begin(), files_.end(), [&](const auto& one) { return one.get() == where.file; });
  return StoredParameter{*file, where.key, is_fused(where.key) ? fused_part(name) : -1, is_transposed(where.key)};
}

std::optional<Shape> Checkpoint::shape(const std::string& name) const {
  const Place where = place(name);
  if (!where.entry) return std::nullopt;
  Shape shape = where.entry->shape;
  if (is_transposed(where.key)) std::reverse(shape.begin(), shape.end());
  if (fused_part(name) >= 0 && is_fused(where.key)) shape[0] /= 3;
  return shape;
}

std::string Checkpoint::describe(const std::string& name) const {
  const Place where = place(name);
  if (!where.file) return name;
  return where.key + " (" + where.file->path().filename().string() + ")";
}

bool Checkpoint::is_open_clip(const std::string& component) const {
  const auto found = components_.find(component);
  return found != components_.end() && found->second.spelling == Spelling::open_clip;
}

int64_t Checkpoint::count(const std::string& before, const std::string& after) const {
  int64_t i = 0;
  while (has(before + std::to_string(i) + after)) ++i;
  return i;
}

void Checkpoint::release_pages() const {
  for (const auto& file : files_) file->release_pages();
}

bool Checkpoint::has_key(const std::string& key) const {
  return std::any_of(files_.begin(), files_.end(), [&](const auto& file) { return file->contains(key); });
}

bool Checkpoint::has_key_with(std::string_view part) const {
  for (const auto& file : files_) {
    for (const auto& [key, entry] : file->tensors()) {
      if (key.find(part) != std::string::npos) return true;
    }
  }
  return false;
}

std::string Checkpoint::stored_dtype() const {
  const Place where = place("unet.conv_in.weight");
  return where.entry ? where.entry->stored_dtype : "";
}

std::optional<int64_t> Checkpoint::config_int(std::string_view path) const {
  const json* found = config_->at(path);
  return found && found->is_number_integer() ? std::optional(found->get<int64_t>()) : std::nullopt;
}

std::optional<double> Checkpoint::config_number(std::string_view path) const {
  const json* found = config_->at(path);
  return found && found->is_number() ? std::optional(found->get<double>()) : std::nullopt;
}

bool Checkpoint::config_flag(std::string_view path) const {
  const json* found = config_->at(path);
  return found && ((found->is_boolean() && found->get<bool>()) || (found->is_number() && found->get<double>() != 0));
}

std::optional<std::string> Checkpoint::config_string(std::string_view path) const {
  const json* found = config_->at(path);
  return found && found->is_string() ? std::optional(found->get<std::string>()) : std::nullopt;
}

std::optional<std::vector<int64_t>> Checkpoint::config_ints(std::string_view path) const {
  const json* found = config_->at(path);
  if (!found) return std::nullopt;
  if (found->is_number_integer()) return std::vector<int64_t>{found->get<int64_t>()};
  std::vector<int64_t> numbers;
  if (!found->is_array()) return std::nullopt;
  for (const auto& item : *found) {
    if (!item.is_number_integer()) return std::nullopt;
    numbers.push_back(item.get<int64_t>());
  }
  return numbers;
}

}  // namespace lorikeet
