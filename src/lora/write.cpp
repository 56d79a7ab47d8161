#include "lora/write.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "io/atomic_file.h"
#include "io/safetensors_writer.h"
#include "lora/naming.h"
#include "lora/peft_config.h"

namespace lorikeet {
namespace {

using Json = nlohmann::json;
using Tensors = std::map<std::string, Tensor>;

// The first spelling of the layer in that naming that begins with `prefix`; "" when there is none.
std::string spelled(std::string_view naming, std::string_view path, std::string_view prefix) {
  const auto found = std::ranges::find(lora_namings(), naming, &LoraNaming::name);
  for (const LoraKey& key : found->spell(path))
    if (starts_with(key.key, prefix)) return key.key;
  return "";
}

std::string kohya_key(std::string_view path) { return spelled("kohya", path, "lora_"); }

std::string kohya_xl_key(std::string_view path) {
  if (starts_with(path, "unet.")) return spelled("kohya-ldm", path, "lora_unet_");
  return spelled("kohya", path, starts_with(path, "text_encoder.") ? "lora_te1_" : "lora_te2_");
}

std::string peft_key(std::string_view path) {
  // An embedding's factors lie transposed there, and diffusers loads none.
  return ends_with(path, "_embedding") ? "" : spelled("diffusers", path, "");
}

constexpr std::array<LoraStyle, 3> kStyles{{
    {"kohya", "kohya's sd-scripts, SD1 and SD2", kohya_key, false},
    {"kohya-xl", "kohya's sd-scripts, SDXL", kohya_xl_key, false},
    {"peft", "diffusers and PEFT", peft_key, true},
}};

// kohya's and LyCORIS' word -> PEFT's.
constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kPeftWords{{
    {"lora_down.weight", "lora_A.weight"},
    {"lora_up.weight", "lora_B.weight"},
    {"dora_scale", "lora_magnitude_vector"},
}};

std::optional<double> alpha_of(const std::vector<NamedTensor>& tensors) {
  const auto found = std::ranges::find(tensors, "alpha", &NamedTensor::name);
  return found == tensors.end() ? std::nullopt : std::optional<double>(found->tensor.item<float>());
}

// The magnitudes of the outputs as PEFT has them: [out], of convolutions [1, out, 1, 1].
Tensor peft_magnitude(const std::string& path, const Tensor& magnitude) {
  if (magnitude.dim() >= 2 && magnitude.size(0) == 1 && magnitude.size(1) > 1)
    throw Error(ErrorKind::unsupported, path + ": PEFT's DoRA has a magnitude for each output, this one has one for each input");
  return magnitude.dim() == 4 ? magnitude.transpose(0, 1) : magnitude.flatten();
}

void add_peft_module(Tensors& file, const std::string& key, const std::vector<NamedTensor>& tensors) {
  for (const auto& [name, tensor] : tensors) {
    if (name == "alpha") continue;  // stands in the metadata
    const auto* word = std::ranges::find(kPeftWords, name, &std::pair<std::string_view, std::string_view>::first);
    if (word == kPeftWords.end())
      throw Error(ErrorKind::unsupported, "PEFT's format has no word for " + key + "." + name, "write it in kohya's format");
    file[key + "." + std::string(word->second)] = name == "dora_scale" ? peft_magnitude(key, tensor) : tensor;
  }
}

struct PeftConfigs {
  Json beside;         // of the whole file, modules by their keys
  std::string inside;  // by component, as diffusers' save_lora_weights() has it since 0.35: {"unet.r": 8, …}
};

PeftConfigs peft_configs(const LoraContents& contents) {
  PeftModules all;
  std::map<std::string, PeftModules> by_component;
  for (const auto& [path, tensors] : contents.modules) {
    const auto down = std::ranges::find(tensors, "lora_down.weight", &NamedTensor::name);
    if (down == tensors.end()) continue;
    const int64_t rank = down->tensor.size(0);
    const double alpha = alpha_of(tensors).value_or(static_cast<double>(rank));
    const bool dora = std::ranges::find(tensors, "dora_scale", &NamedTensor::name) != tensors.end();
    const size_t dot = path.find('.');
    all.add(path, rank, alpha, dora);
    by_component[path.substr(0, dot)].add(path.substr(dot + 1), rank, alpha, dora);
  }
  PeftConfigs configs;
  configs.beside = all.json();
  configs.beside["peft_type"] = "LORA";
  Json packed = Json::object();
  for (const auto& [component, config] : by_component) {
    const Json entries = config.json();
    for (const auto& [name, value] : entries.items()) packed[component + "." + name] = value;
  }
  configs.inside = packed.dump(2);
  return configs;
}

Tensors tensors_of(const LoraContents& contents, const LoraStyle& style) {
  Tensors file;
  for (const auto& [path, tensors] : contents.modules) {
    const std::string key = style.module(path);
    if (key.empty()) throw Error(ErrorKind::unsupported, "the format " + std::string(style.name) + " has no word for the layer " + path);
    if (style.peft) {
      add_peft_module(file, key, tensors);
      continue;
    }
    for (const auto& [name, tensor] : tensors) file[key + "." + name] = tensor;
  }
  for (const auto& [name, tensors] : contents.embeddings)
    for (const auto& [part, vectors] : tensors) file["bundle_emb." + name + "." + part] = vectors;
  return file;
}

// Small numbers are not worth an error: an alpha that half precision would round stays as it is.
Dtype dtype_for(const Tensor& tensor, Dtype wanted) {
  if (!tensor.is_floating_point()) return tensor.scalar_type();
  return tensor.numel() == 1 && !torch::equal(tensor.to(wanted).to(tensor.scalar_type()), tensor) ? tensor.scalar_type() : wanted;
}

Tensor checked(const std::string& name, const Tensor& tensor, Dtype dtype) {
  const Tensor cast = tensor.detach().to(dtype);
  if (!cast.is_floating_point() || cast.isfinite().all().item<bool>()) return cast;
  if (!tensor.isfinite().all().item<bool>())
    throw Error(ErrorKind::bad_input, name + " holds NaN or infinity; nothing was written",
                "the training diverged: go back to an earlier save and lower the learning rate");
  throw Error(ErrorKind::bad_input, name + " holds numbers too large for " + to_string(dtype) + "; nothing was written",
              "save in bf16 or f32, or lower the learning rate");
}

}  // namespace

std::span<const LoraStyle> lora_styles() { return kStyles; }

const LoraStyle& find_lora_style(std::string_view name) {
  std::vector<std::string> names;
  for (const LoraStyle& style : kStyles) {
    if (style.name == name) return style;
    names.emplace_back(style.name);
  }
  throw Error(ErrorKind::bad_input, "'" + std::string(name) + "' is no format of LoRA files", did_you_mean(name, names));
}

const LoraStyle& kohya_style(size_t text_encoders) { return find_lora_style(text_encoders > 1 ? "kohya-xl" : "kohya"); }

void write_with_hashes(const std::filesystem::path& path, const Tensors& tensors, std::map<std::string, std::string> metadata,
                       const std::function<Dtype(const std::string& name)>& cast) {
  std::vector<TensorShape> shapes;
  for (const auto& [name, tensor] : tensors) shapes.push_back({name, cast(name), tensor.sizes().vec()});
  for (const std::string_view hash : {kModelHash, kLegacyHash, kSpecHash}) metadata[std::string(hash)] = "";
  SafetensorsWriter writer(path, std::move(shapes), std::move(metadata), /*fill_hashes=*/true);
  for (const TensorShape& shape : writer.tensors()) writer.write(checked(shape.name, tensors.at(shape.name), shape.dtype));
  writer.commit();
}

void write_lora(const std::filesystem::path& path, const LoraContents& contents, const LoraStyle& style, Dtype dtype) {
  with_context("while writing LoRA " + path.string(), [&] {
    torch::NoGradGuard no_grad;
    if (contents.modules.empty()) throw Error(ErrorKind::bad_input, "the LoRA changes no layer");
    if (style.peft && !contents.embeddings.empty())
      throw Error(ErrorKind::unsupported, "PEFT's format cannot bundle embeddings", "write kohya's format, or the embedding apart");
    const Tensors file = tensors_of(contents, style);
    auto metadata = contents.metadata;
    Json beside;
    if (style.peft) {
      auto configs = peft_configs(contents);
      metadata["format"] = "pt";
      metadata["lora_adapter_metadata"] = std::move(configs.inside);
      beside = std::move(configs.beside);
    }
    write_with_hashes(path, file, std::move(metadata), [&](const std::string& name) { return dtype_for(file.at(name), dtype); });
    if (style.peft) write_file_atomically(std::filesystem::path(path).replace_extension(".adapter_config.json"), beside.dump(2) + "\n");
  });
}

}  // namespace lorikeet
