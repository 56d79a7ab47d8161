#include "lora/surgery/spelled.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "lora/peft_config.h"

namespace lorikeet {
namespace {

DraftTensor* find(DraftModule& module, std::string_view name) {
  const auto found = std::ranges::find(module.tensors, name, &DraftTensor::name);
  return found == module.tensors.end() ? nullptr : &*found;
}

void erase(DraftModule& module, std::string_view name) {
  std::erase_if(module.tensors, [&](const DraftTensor& tensor) { return tensor.name == name; });
}

// A tensor made from another one.
template <class Change>
DraftTensor changed(const DraftTensor& from, std::string name, Shape shape, Change change) {
  return {std::move(name), from.dtype, std::move(shape), [make = from.make, change] { return change(make()); }, from.check};
}

// kohya's scripts number SDXL's two text encoders (te1, te2) and not a lone one (te).
bool has_two_encoders(const LoraDraft& draft) {
  return std::ranges::any_of(draft.modules, [](const auto& entry) {
    const auto& [path, module] = entry;
    return starts_with(path, "text_encoder_2.") || path.find("transformer_blocks.1.") != std::string::npos ||
           path.find("add_embedding") != std::string::npos || module.source.find("lora_te1_") != std::string::npos;
  });
}

// The key of a layer's module; "" when the naming has no word for it. Text encoders keep their usual names where the naming's own would be
// OpenCLIP's, whose q, k and v are one module.
std::string module_key(const LoraNaming& naming, const std::string& path, const std::string& source, bool two_encoders) {
  std::vector<LoraKey> keys = naming.spell(path);
  const bool text = starts_with(path, "text_encoder");
  if (text) std::erase_if(keys, [](const LoraKey& key) { return key.part >= 0 || key.key.find("resblocks") != std::string::npos; });
  if (text && keys.empty() && naming.name == "kohya-ldm") keys = find_lora_naming("kohya").spell(path);
  if (keys.empty()) return "";
  const auto starting = [&](std::string_view prefix) -> std::string {
    const auto found = std::ranges::find_if(keys, [&](const LoraKey& key) { return starts_with(key.key, prefix); });
    return found == keys.end() ? "" : found->key;
  };
  if (starts_with(source, "oft_"))
    if (std::string key = starting(two_encoders && text ? "oft_te1_" : "oft_"); !key.empty()) return key;
  if (two_encoders)
    if (std::string key = starting("lora_te1_"); !key.empty()) return key;
  return keys.front().key;
}

// PEFT's words for an embedding's factors (transposed) and for DoRA's magnitude become kohya's.
void to_common_words(DraftModule& module, int64_t dimensions) {
  for (DraftTensor& tensor : module.tensors) {
    if (tensor.name == "lora_embedding_A" || tensor.name == "lora_embedding_B")
      tensor = changed(tensor, tensor.name == "lora_embedding_A" ? "lora_up.weight" : "lora_down.weight",
                       {tensor.shape.at(1), tensor.shape.at(0)}, [](const Tensor& t) { return t.t(); });
    if (tensor.name != "lora_magnitude_vector") continue;
    Shape shape(static_cast<size_t>(std::max<int64_t>(dimensions, 2)), 1);
    for (const int64_t side : tensor.shape) shape[0] *= side;
    tensor = changed(tensor, "dora_scale", shape, [shape](const Tensor& t) { return t.reshape(shape); });
  }
}

void to_peft_words(DraftModule& module, const std::string& path) {
  for (DraftTensor& tensor : module.tensors) {
    if (tensor.name != "dora_scale") continue;
    if (tensor.shape.size() >= 2 && tensor.shape[0] == 1 && tensor.shape[1] > 1)
      throw Error(ErrorKind::unsupported, path + ": its DoRA has a magnitude for each input, which PEFT has no form for",
                  "choose another spelling, or make it a plain LoRA with --kind lora");
    // PEFT keeps [out], for convolutions [1, out, 1, 1].
    const Shape shape = tensor.shape.size() == 4 ? Shape{1, tensor.shape[0], 1, 1} : Shape{tensor.shape[0]};
    tensor = changed(tensor, "lora_magnitude_vector", shape, [shape](const Tensor& t) { return t.reshape(shape); });
  }
}

std::optional<double> number(DraftModule& module, std::string_view name) {
  DraftTensor* tensor = find(module, name);
  return tensor ? std::optional<double>(tensor->make().item<float>()) : std::nullopt;
}

// alpha / rank goes into the factors.
void fold_scale(DraftModule& module) {
  DraftTensor *down = find(module, "lora_down.weight"), *up = find(module, "lora_up.weight");
  if (!down || !up || find(module, "scale") || down->shape.empty()) return;
  const auto rank = static_cast<double>(down->shape[0]);
  const double scale = number(module, "alpha").value_or(rank) / rank;
  erase(module, "alpha");
  if (scale == 1) return;
  // Half of the scale's power of two to `down`, for which it is exact; float16 has little room at its small end.
  const double part = scale > 0 ? std::exp2(std::round(std::log2(scale) / 2)) : 1;
  down = find(module, "lora_down.weight"), up = find(module, "lora_up.weight");
  const auto times = [](double factor) { return [factor](const Tensor& t) { return t.to(torch::kDouble) * factor; }; };
  *down = changed(*down, down->name, down->shape, times(part));
  *up = changed(*up, up->name, up->shape, times(scale / part));
}

std::string tensor_key(const LoraNaming& naming, const std::string& module, const std::string& name) {
  if (name == "lora_down.weight") return module + std::string(naming.down);
  if (name == "lora_up.weight") return module + std::string(naming.up);
  return module + "." + name;
}

void add_to_config(PeftModules& config, DraftModule& module, const std::string& key) {
  constexpr std::string_view kPrefix = "base_model.model.";
  const DraftTensor* down = find(module, "lora_down.weight");
  if (!down || down->shape.empty()) return;
  const int64_t rank = down->shape[0];
  config.add(starts_with(key, kPrefix) ? key.substr(kPrefix.size()) : key, rank, number(module, "alpha").value_or(static_cast<double>(rank)),
             find(module, "lora_magnitude_vector") != nullptr);
}

std::string config_text(const PeftModules& modules) {
  nlohmann::json config = modules.json();
  config.update({{"peft_type", "LORA"}, {"bias", "none"}, {"inference_mode", true}});
  return config.dump(2) + "\n";
}

bool is_plain(const DraftModule& module) {
  return std::ranges::all_of(module.tensors, [](const DraftTensor& tensor) {
    return starts_with(tensor.name, "lora_") || tensor.name == "alpha" || tensor.name == "dora_scale";
  });
}

}  // namespace

SpelledLora spell_draft(LoraDraft draft, const LoraNaming& naming) {
  SpelledLora spelled;
  const bool two_encoders = has_two_encoders(draft);
  PeftModules peft;
  std::set<std::string> foreign;  // kinds that other programs do not know in this spelling
  for (auto& [path, module] : draft.modules) {
    const bool known = starts_with(path, "unet.") || starts_with(path, "text_encoder");
    const std::string key = known ? module_key(naming, path, module.source, two_encoders) : module.source;
    if (key.empty()) {
      spelled.written.left_out.push_back(path);
      continue;
    }
    const DraftTensor* down = find(module, "lora_down.weight");
    to_common_words(module, down ? static_cast<int64_t>(down->shape.size()) : 2);
    if (naming.alpha != AlphaPlace::tensor && !is_plain(module)) foreign.insert(module.tensors.front().name);
    if (naming.alpha == AlphaPlace::none) fold_scale(module);
    if (naming.alpha == AlphaPlace::config && is_plain(module)) {
      to_peft_words(module, path);
      add_to_config(peft, module, key);
      erase(module, "alpha");
    }
    if (naming.name == "numbered")
      if (const DraftTensor* factor = find(module, "lora_down.weight"))
        draft.metadata[key + ":rank"] = std::to_string(factor->shape[0]);  // as cloneofsimo's files have it
    for (DraftTensor& tensor : module.tensors) {
      tensor.name = tensor_key(naming, key, tensor.name);
      spelled.tensors.push_back(std::move(tensor));
    }
  }
  if (!foreign.empty())
    spelled.written.notes.push_back("the spelling " + std::string(naming.name) + " has no words for tensors like " + *foreign.begin() +
                                    ": other programs will not read them; --kind lora makes plain LoRA of them");
  spelled.tensors.insert(spelled.tensors.end(), draft.others.begin(), draft.others.end());
  spelled.metadata = std::move(draft.metadata);
  if (naming.alpha == AlphaPlace::config) spelled.peft_config = config_text(peft);
  // What an earlier file said about alphas is in its tensors or in the new config now.
  spelled.metadata.erase("lora_adapter_metadata");
  return spelled;
}

}  // namespace lorikeet
