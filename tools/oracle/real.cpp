// LoRA files that people have trained, real/<x>.safetensors, on a full-size SD1.5: every module finds the layer that <x>.mapping.json
// names.
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "full.h"
#include "lora/apply.h"

namespace lorikeet::oracle {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {


// delta = up · down of "unet:3:up", "unet:3:down" on the layer that the mapping names. -> the relative error of our delta
double delta_error(const TensorFile& file, const LoadedLora& lora, const LayerMap& layers, const std::string& key,
                   const std::string& path) {
  const Tensor up = file.read(key + ":up").to(torch::kFloat), down = file.read(key + ":down").to(torch::kFloat);
  const Tensor wanted = up.flatten(1).mm(down.flatten(1));
  const Tensor found = merged_layer(*layers.at(path), {{lora.adapters.at(path), 1.0}}).weight;
  return relative_error(found.reshape(wanted.sizes()), wanted);
}

void check_component(Check& check, const std::string& name, const std::string& component, const json& mapping, const TensorFile& file,
                     const LoadedLora& lora, const LayerMap& layers) {
  double worst = 0;
  Tally tally;
  for (const auto& [index, entry] : mapping.items()) {
    const std::string module = entry.at("diffusers"), path = starts_with(module, component + ".") ? module : component + "." + module;
    const std::string key = component + ":" + index;
    if (!layers.contains(path) || !lora.adapters.contains(path)) {
      tally.add(key, false, "does not change " + path);
      continue;
    }
    tally.add(key, lora.adapters.at(path)->rank() == entry.value("rank", lora.adapters.at(path)->rank()), "has another rank");
    worst = std::max(worst, delta_error(file, lora, layers, key, path));
  }
  check.exact(name + " " + component + " modules", tally);
  check.result(name + " " + component + " deltas (" + std::to_string(mapping.size()) + ")", worst, kDeltaBar);
}

void check_lora(Check& check, const fs::path& path, const Skeleton& sd15) {
  const std::string name = path.stem().string();
  const auto lora = load_lora(*LoraFile::open(path), sd15.layers, "sd1");
  const LoraReport& report = lora->report;
  check.exact(name + " modules", report.matched == report.total && report.total > 0,
              std::to_string(report.matched) + " of " + std::to_string(report.total) + " match");
  check.exact(name + " tensors", report.unmatched.empty() && report.unused.empty(),
              join(report.unmatched, ", ") + join(report.unused, ", "));
  const fs::path mapping_path = path.parent_path() / (name + ".mapping.json");
  if (!fs::exists(mapping_path)) return;
  check.mark_read(mapping_path);
  const auto mapping = json::parse(read_text(mapping_path));
  const auto file = TensorFile::open(path);
  size_t mapped = 0;
  for (const char* component : {"unet", "text_encoder"}) {
    if (!mapping.contains(component)) continue;
    mapped += mapping[component].size();
    check_component(check, name, component, mapping[component], *file, *lora, sd15.layers);
  }
  const json norms = mapping.value("delta_frobenius_norm", json::object());
  for (const auto& [key, norm] : norms.items()) {
    const std::string component = key.substr(0, key.find(':')),
                      module = mapping.at(component).at(key.substr(key.find(':') + 1)).at("diffusers");
    const std::string layer = component + "." + module;
    const Tensor delta = merged_layer(*sd15.layers.at(layer), {{lora->adapters.at(layer), 1.0}}).weight;
    check.result(name + " norm of " + key,
                 relative_error(delta.to(torch::kDouble).norm(), torch::tensor(norm.get<double>(), torch::kDouble)), kDeltaBar);
  }
  check.exact(name + " layers", lora->adapters.size() == mapped,
              "changes " + std::to_string(lora->adapters.size()) + " layers, not " + std::to_string(mapped));
  for (const std::string embedding : mapping.value("textual_inversion_tensors", json::array())) {
    check.exact(name + " " + embedding, lora->embeddings.contains(embedding), "is not found among the bundled embeddings");
  }
}

}  // namespace

void check_real(Check& check) {
  const auto files = check.files(R"(real/[^/]+\.safetensors)");
  if (files.empty()) return;
  const Skeleton sd15 = skeleton_of_sd15();
  for (const auto& path : files) check.run(path.stem().string(), [&] { check_lora(check, path, sd15); });
}

}  // namespace lorikeet::oracle
