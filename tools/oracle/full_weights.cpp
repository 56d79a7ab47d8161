// Weights that take no memory, and weights that are computed.
#include <ATen/Parallel.h>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "base/text.h"
#include "full.h"
#include "nn/spelling.h"

namespace lorikeet::oracle {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

// Zeros of any shape that take no memory.
class ZeroWeights : public WeightSource {
 public:
  Tensor find(const std::string&) const override { return {}; }
  Tensor find_shaped(const std::string&, const Shape& shape) const override { return torch::zeros({}, torch::kHalf).expand(shape); }
  std::string describe(const std::string& name) const override { return name + " (zeros)"; }
};

// On the device "meta" nothing is converted or packed.
LayerMap layers_of(const ModelSpec& spec, const WeightSource& source) {
  LayerMap layers;
  const Weights weights(source, layers, Compute{torch::kMeta, torch::kHalf});
  for (const auto& text : spec.text_encoders) ClipTextModel(text, weights / text.component);
  UNet(spec.unet, weights / "unet");
  Vae(spec.vae, weights / "vae");
  return layers;
}

// A safetensors file with this header and a hole for the data.
void write_hollow(const fs::path& path, const json& keys) {
  json header = json::object();
  uint64_t at = 0;
  for (const auto& [name, shape] : keys.items()) {
    uint64_t size = 2;
    for (const uint64_t n : shape) size *= n;
    header[name] = {{"dtype", "F16"}, {"shape", shape}, {"data_offsets", {at, at + size}}};
    at += size;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(&length), 8) << text;
  fs::resize_file(path, 8 + length + at);
}

// gen_sd15.py's generator.
constexpr uint64_t kStep = 0x9E3779B97F4A7C15;

uint64_t fnv1a(std::string_view text) {
  uint64_t hash = 0xCBF29CE484222325;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3;
  return hash;
}

// -1 <= v < 1
double uniform(uint64_t start, uint64_t index) {
  uint64_t z = start + (index + 1) * kStep;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  z ^= z >> 31;
  return static_cast<double>(z >> 40) * 0x1p-23 - 1.0;
}

struct Spread {
  double base, range;
};
Spread spread_of(const std::string& name, const Shape& shape) {
  if (ends_with(name, "token_embedding.weight")) return {0, 0.05};
  if (ends_with(name, "position_embedding.weight") || ends_with(name, "positional_embedding")) return {0, 0.03};
  if (shape.empty()) return {4.6, 0};
  if (shape.size() == 1) return ends_with(name, "weight") ? Spread{1, 0.1} : Spread{0, 0.05};
  if (ends_with(name, "text_projection")) return {0, std::sqrt(3.0 / static_cast<double>(shape[0]))};
  double fan_in = 1;
  for (size_t i = 1; i < shape.size(); ++i) fan_in *= static_cast<double>(shape[i]);
  return {0, std::sqrt(3.0 / fan_in)};
}

}  // namespace

TemporaryFile::TemporaryFile(const std::string& stem)
    : path(fs::temp_directory_path() / ("oracle_check_" + std::to_string(std::random_device()()) + "_" + stem + ".safetensors")) {}

TemporaryFile::~TemporaryFile() {
  std::error_code ignored;
  fs::remove(path, ignored);
}

Skeleton skeleton_of_sd15() {
  Skeleton skeleton;
  skeleton.spec.family = "sd1";
  skeleton.spec.text_encoders = {ClipConfig{}};
  skeleton.layers = layers_of(skeleton.spec, ZeroWeights());
  return skeleton;
}

Skeleton skeleton_of_keys(const json& keys) {
  const TemporaryFile file("hollow");
  write_hollow(file.path, keys);
  const auto checkpoint = Checkpoint::open(file.path);
  Skeleton skeleton{recognise_model(*checkpoint), {}};
  skeleton.layers = layers_of(skeleton.spec, *checkpoint);
  return skeleton;
}

std::vector<SingleFileName> single_file_names(const std::string& parameter, std::string_view family) {
  const size_t dot = parameter.find('.');
  const std::string component = parameter.substr(0, dot), rest = parameter.substr(dot + 1);
  std::vector<SingleFileName> names;
  if (component == "unet") {
    for (const auto& key : ldm_unet_spellings(rest)) names.push_back({"model.diffusion_model." + key});
  } else if (component == "vae") {
    names.push_back({"first_stage_model." + ldm_vae_spelling(rest)});
  } else if (family == "sd1") {
    names.push_back({"cond_stage_model.transformer." + rest});
  } else if (family == "sdxl" && component == "text_encoder") {
    names.push_back({"conditioner.embedders.0.transformer." + rest});
  } else {
    const std::string prefix = family == "sdxl" ? "conditioner.embedders.1.model." : "cond_stage_model.model.";
    int part = -1;
    for (const int i : {0, 1, 2}) {
      if (rest.find(std::string(".self_attn.") + "qkv"[i] + "_proj") != std::string::npos) part = i;
    }
    names.push_back({prefix + open_clip_spelling(rest), part});
  }
  return names;
}

Tensor generated_input(const std::string& name, const Shape& shape, double base, double range, uint64_t seed) {
  const Tensor values = torch::empty(shape, torch::kFloat);
  const uint64_t start = fnv1a(name) ^ (seed * kStep);
  float* const to = values.data_ptr<float>();
  at::parallel_for(0, values.numel(), 1 << 16, [&](int64_t first, int64_t end) {
    for (int64_t i = first; i < end; ++i) to[i] = static_cast<float>(uniform(start, static_cast<uint64_t>(i)) * range + base);
  });
  return values;
}

Tensor generated_tensor(const std::string& name, const Shape& shape, double base, double range, uint64_t seed) {
  return generated_input(name, shape, base, range, seed).to(torch::kHalf);
}

Tensor GeneratedWeights::find(const std::string& name) const {
  for (const auto& [key, part] : single_file_names(name, "sd1")) {
    const auto found = keys_.find(key);
    if (found == keys_.end()) continue;
    const Spread spread = spread_of(key, found->second);
    return generated_tensor(key, found->second, spread.base, spread.range, seed_);
  }
  return {};
}

void write_generated_lora(const fs::path& path, const json& modules, int64_t rank, double alpha, uint64_t seed) {
  std::map<std::string, Tensor> tensors;
  for (const auto& module : modules) {
    const std::string name = module.at(0);
    const Shape weight = module.at(2).get<Shape>();
    Shape down = weight, up(weight.size(), 1);
    down[0] = rank, up[0] = weight[0], up[1] = rank;
    double fan_in = 1;
    for (size_t i = 1; i < down.size(); ++i) fan_in *= static_cast<double>(down[i]);
    const auto add = [&](const char* tensor, const Shape& shape, double base, double range) {
      tensors[name + tensor] = generated_tensor(name + tensor, shape, base, range, seed);
    };
    add(".alpha", {}, alpha, 0);
    add(".lora_down.weight", down, 0, std::sqrt(3.0 / fan_in));
    add(".lora_up.weight", up, 0, 0.3 * std::sqrt(3.0 / static_cast<double>(rank)));
  }
  write_safetensors(path, tensors, {});
}

}  // namespace lorikeet::oracle
