#include "lora/surgery/draft.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>

#include "base/error.h"
#include "base/text.h"
#include "lora/surgery/spelled.h"
#include "nn/kernels/parallel.h"

namespace lorikeet {
namespace {

constexpr int64_t kWindowBytes = int64_t{64} << 20;

int64_t bytes_of(const TensorShape& tensor) {
  int64_t count = 1;
  for (const int64_t side : tensor.shape) count *= side;
  return count * static_cast<int64_t>(torch::elementSize(tensor.dtype));
}

Tensor made(const DraftTensor& tensor) {
  torch::NoGradGuard no_grad;
  const Tensor value = tensor.make().to(tensor.dtype).contiguous();
  // One NaN or infinity makes the sum one too.
  if (tensor.check && value.is_floating_point() && !std::isfinite(value.sum(torch::kDouble).item<double>()))
    throw Error(ErrorKind::bad_input, tensor.name + " would hold NaN or infinity in " + to_string(tensor.dtype),
                "a number is too large for that type: choose --dtype f32 or bf16; or an input is broken");
  return value.reshape(tensor.shape);
}

std::filesystem::path config_of(const std::filesystem::path& path) {
  return path.parent_path() / (path.stem().string() + ".adapter_config.json");
}

// A reader of PEFT's words looks for alphas in a config beside the file; here they are in the factors.
void remove_stale_config(const std::filesystem::path& path, const LoraNaming& naming, std::vector<std::string>& notes) {
  if (naming.down.find("lora_A") == std::string_view::npos) return;
  std::error_code code;
  if (std::filesystem::exists(path.parent_path() / "adapter_config.json", code))
    throw Error(ErrorKind::bad_input, "the adapter_config.json beside " + path.string() + " would be read with it and change its alphas",
                "write the file into another folder");
  if (std::filesystem::remove(config_of(path), code))
    notes.push_back(config_of(path).string() + " belonged to the file that was replaced, and is removed");
}

bool is_small(std::string_view name) { return name == "alpha" || name == "scale" || name == "on_input"; }

}  // namespace

DraftTensor DraftTensor::of(std::string name, const Tensor& tensor, Dtype dtype) {
  const Tensor kept = tensor.to(dtype);  // at once: half as large in memory, as a rule
  return {std::move(name), dtype, tensor.sizes().vec(), [kept] { return kept; }, true};
}

std::vector<DraftTensor> other_tensors(const LoraReader& reader) {
  std::vector<DraftTensor> others;
  for (const auto& [key, entry] : reader.file().tensors()) {
    const bool in_module = !split_lora_key(key).tensor.empty() && !reader.file().is_embedding(key);
    if (!in_module) others.push_back({key, entry.dtype, entry.shape, entry.view, true});
  }
  return others;
}

DraftModule module_as_stored(const LoraReader& reader, const std::string& path, std::optional<Dtype> dtype) {
  DraftModule module{{}, reader.module(path)};
  for (const NamedTensor& tensor : reader.read(path)) {
    const bool converts = dtype && tensor.tensor.is_floating_point() && !is_small(tensor.name);
    const Tensor view = tensor.tensor;
    module.tensors.push_back({tensor.name, converts ? *dtype : view.scalar_type(), view.sizes().vec(), [view] { return view; }, true});
  }
  return module;
}

const LoraNaming& naming_of(const LoraReader& reader) {
  std::map<std::string_view, int> counts;
  for (const auto& [path, layer] : reader.layers())
    if (const LoraNaming* naming = reader.naming(path)) ++counts[naming->name];
  if (counts.empty()) return find_lora_naming("kohya");
  return find_lora_naming(std::ranges::max_element(counts, {}, [](const auto& entry) { return entry.second; })->first);
}

const LoraNaming& find_lora_naming(std::string_view name) {
  std::vector<std::string> names;
  for (const LoraNaming& naming : lora_namings()) {
    if (naming.name == name) return naming;
    names.emplace_back(naming.name);
  }
  throw Error(ErrorKind::bad_input, "there is no spelling \"" + std::string(name) + "\"", "the spellings are " + join(names, ", "));
}

RankCounts rank_counts(const LoraDraft& draft) {
  RankCounts counts;
  for (const auto& [path, module] : draft.modules)
    for (const DraftTensor& tensor : module.tensors) {
      if (tensor.name == "lora_down.weight") ++counts.ranks[tensor.shape[0]];
      if (tensor.name == "alpha") ++counts.alphas[tensor.make().item<float>()];
    }
  return counts;
}

WrittenLora write_draft(const std::filesystem::path& path, LoraDraft draft, const LoraNaming& naming, bool partial, Progress& progress) {
  return with_context("while writing " + path.string(), [&] {
    SpelledLora spelled = spell_draft(std::move(draft), naming);
    if (!spelled.written.left_out.empty() && !partial)
      throw Error(ErrorKind::unsupported,
                  std::to_string(spelled.written.left_out.size()) + " layers have no name in the spelling " + std::string(naming.name) +
                      " (first: " + spelled.written.left_out.front() + ")",
                  "choose another spelling, or --partial to leave them out");
    if (spelled.tensors.empty()) throw Error(ErrorKind::bad_input, "nothing is left to write");
    if (naming.alpha == AlphaPlace::none) remove_stale_config(path, naming, spelled.written.notes);
    ask_for_hashes(spelled.metadata);
    write_planned(path, spelled.tensors, std::move(spelled.metadata), progress);
    if (!spelled.peft_config.empty()) write_file_atomically(config_of(path), spelled.peft_config);
    return spelled.written;
  });
}

void write_planned(const std::filesystem::path& path, const std::vector<DraftTensor>& tensors, Metadata metadata, Progress& progress,
                   const std::function<void()>& after_window) {
  std::vector<TensorShape> shapes;
  std::map<std::string_view, const DraftTensor*> by_name;
  for (const DraftTensor& tensor : tensors) {
    shapes.push_back({tensor.name, tensor.dtype, tensor.shape});
    by_name[tensor.name] = &tensor;
  }
  SafetensorsWriter writer(path, std::move(shapes), std::move(metadata), /*fill_hashes=*/true);
  const auto& order = writer.tensors();
  progress.stage("writing", static_cast<int>(order.size()));
  for (size_t first = 0; first < order.size();) {
    size_t end = first;
    for (int64_t bytes = 0; end < order.size() && (end == first || bytes + bytes_of(order[end]) <= kWindowBytes); ++end)
      bytes += bytes_of(order[end]);
    std::vector<Tensor> window(end - first);
    kernels::parallel(static_cast<int64_t>(window.size()), [&](int64_t i) {
      const auto at = static_cast<size_t>(i);
      window[at] = made(*by_name.at(order[first + at].name));
    });
    for (const Tensor& tensor : window) writer.write(tensor);
    first = end;
    window.clear();
    if (after_window) after_window();
    progress.step(static_cast<int>(end));
    progress.check();
  }
  writer.commit();
}

void refuse_input_as_output(const std::filesystem::path& output, const std::vector<std::filesystem::path>& inputs) {
  std::error_code code;
  for (const auto& input : inputs)
    if (std::filesystem::equivalent(output, input, code))
      throw Error(ErrorKind::bad_input, "the output " + output.string() + " is one of the inputs", "choose another name with -o");
}

}  // namespace lorikeet
