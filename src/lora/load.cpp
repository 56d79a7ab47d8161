// Matching a LoRA file's modules with a model's layers.
#include <algorithm>
#include <array>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "lora/apply.h"
#include "lora/naming.h"

namespace lorikeet {
namespace {

constexpr std::string_view kOtherCheckpoint = "choose a LoRA and a checkpoint of the same family";

// The modules of the file that belong to one layer: usually one; several where a file mixes spellings.
struct Match {
  std::string module;
  int part = -1;
};

// The rows of one projection out of a module for OpenCLIP's fused q, k, v. Kinds whose tensors have no output rows cannot be divided.
std::vector<NamedTensor> rows_of_part(std::vector<NamedTensor> tensors, int part, const std::string& module) {
  constexpr std::array<std::string_view, 7> kByRow{"lora_up.weight",       "hada_w1_a", "hada_w2_a", "diff", "diff_b", "dora_scale",
                                                   "lora_magnitude_vector"};
  constexpr std::array<std::string_view, 6> kShared{"lora_down.weight", "hada_w1_b", "hada_w2_b", "alpha", "scale", "lora_mid.weight"};
  for (auto& [name, tensor] : tensors) {
    if (std::ranges::find(kShared, name) != kShared.end()) continue;
    if (name == "dora_scale" && tensor.dim() >= 2 && tensor.size(0) == 1) continue;  // per input
    if (std::ranges::find(kByRow, name) == kByRow.end())
      throw Error(ErrorKind::unsupported,
                  module + " changes q, k and v of an attention together by " + name + ", which cannot be divided among them");
    if (tensor.dim() == 0 || tensor.size(0) % 3 != 0)
      throw Error(ErrorKind::bad_input,
                  module + "." + name + " of shape " + to_string(tensor.sizes()) + " should hold the rows of q, k and v");
    tensor = tensor.narrow(0, part * (tensor.size(0) / 3), tensor.size(0) / 3);
  }
  return tensors;
}

TensorGroup read_group(const LoraFile& file, const std::vector<Match>& matches) {
  std::vector<NamedTensor> all;
  for (const Match& match : matches) {
    std::vector<NamedTensor> tensors = file.read(match.module);
    if (match.part >= 0) tensors = rows_of_part(std::move(tensors), match.part, match.module);
    for (NamedTensor& tensor : tensors) {
      if (std::ranges::find(all, tensor.name, &NamedTensor::name) != all.end())
        throw Error(ErrorKind::bad_input, "the file has two modules for one layer: " + matches.front().module + " and " + match.module,
                    "keep one of the two spellings");
      all.push_back(std::move(tensor));
    }
  }
  return {matches.front().module, std::move(all)};
}

// Which modules belong to which layer; what belongs to none goes into the report.
std::map<std::string, std::vector<Match>> match_modules(const LoraFile& file, const LayerMap& layers, LoraReport& report) {
  const LoraKeyTable table(layers);
  std::map<std::string, std::vector<Match>> matches;
  for (const auto& [module, entries] : file.modules()) {
    const auto places = table.find(module);
    if (places.empty()) report.unmatched.push_back(module);
    for (const LoraPlace& place : places) matches[place.path].push_back({module, place.part});
  }
  report.total = static_cast<int>(file.modules().size());
  report.matched = report.total - static_cast<int>(report.unmatched.size());
  return matches;
}

[[noreturn]] void throw_other_family(const LoraReport& report, std::string_view family) {
  throw Error(ErrorKind::bad_input, report.name + " is made for " + report.family + "; this checkpoint is " + std::string(family),
              std::string(kOtherCheckpoint));
}

// "sd1" covers "sd1-inpaint" and the like.
bool other_family(const LoraReport& report, std::string_view family) {
  return !report.family.empty() && !family.empty() && !starts_with(family, report.family);
}

void load_layer(const LoraFile& file, const Layer& layer, const std::vector<Match>& matches, LoadedLora& loaded) {
  TensorGroup group = read_group(file, matches);
  std::unique_ptr<Adapter> adapter = load_adapter(group, layer);
  for (const auto& [name, shape] : group.shapes()) loaded.report.unused.push_back(group.module() + "." + name);
  if (!adapter) return;
  ++loaded.report.kinds[std::string(adapter->kind())];
  loaded.adapters.emplace(layer.path(), std::move(adapter));
}

void drop_duplicates(std::vector<std::string>& names) {
  const std::set<std::string> distinct(names.begin(), names.end());
  names.assign(distinct.begin(), distinct.end());
}

}  // namespace

std::shared_ptr<const LoadedLora> load_lora(const LoraFile& file, const LayerMap& layers, std::string_view family) {
  return with_context("while reading LoRA " + file.path().filename().string(), [&]() -> std::shared_ptr<const LoadedLora> {
    torch::NoGradGuard no_grad;
    auto loaded = std::make_shared<LoadedLora>();
    LoraReport& report = loaded->report;
    report.name = file.name();
    report.path = file.path().string();
    report.family = guess_family(file);
    if (other_family(report, family)) throw_other_family(report, family);
    const auto matches = match_modules(file, layers, report);
    if (matches.empty())
      throw Error(ErrorKind::bad_input,
                  "none of the " + std::to_string(report.total) + " modules of " + report.name + " matches a layer of this " +
                      std::string(family) + " model (first: " + report.unmatched.front() + ")",
                  std::string(kOtherCheckpoint));
    for (const auto& [path, modules] : matches) load_layer(file, *layers.at(path), modules, *loaded);
    report.unused.insert(report.unused.end(), file.strays().begin(), file.strays().end());
    drop_duplicates(report.unused);
    loaded->embeddings = file.read_embeddings();
    loaded->hash = file.hash();
    return loaded;
  });
}

}  // namespace lorikeet
