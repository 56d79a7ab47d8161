#include "lora/adapter.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "lora/kinds/kinds.h"

namespace lorikeet {

TensorGroup::TensorGroup(std::string module, std::vector<NamedTensor> tensors) : module_(std::move(module)), tensors_(std::move(tensors)) {}

bool TensorGroup::has(std::string_view name) const { return peek(name).defined(); }

Tensor TensorGroup::peek(std::string_view name) const {
  const auto found = std::ranges::find(tensors_, name, &NamedTensor::name);
  return found == tensors_.end() ? Tensor() : found->tensor;
}

Tensor TensorGroup::consume(std::string_view name) {
  const auto found = std::ranges::find(tensors_, name, &NamedTensor::name);
  if (found == tensors_.end()) return {};
  Tensor tensor = found->tensor.to(torch::kFloat).contiguous();
  tensors_.erase(found);
  // One NaN or infinity makes the sum one too; finite sums of finite weights stay far from the limit.
  if (!std::isfinite(tensor.sum().item<float>()))
    throw Error(ErrorKind::bad_input, module_ + "." + std::string(name) + " holds NaN or infinity",
                "the file is broken (a training run that diverged); use an earlier save of it");
  return tensor;
}

Tensor TensorGroup::require(std::string_view name) {
  Tensor tensor = consume(name);
  if (tensor.defined()) return tensor;
  std::vector<std::string> names;
  for (const auto& [left, shape] : shapes()) names.push_back(left);
  throw Error(ErrorKind::bad_input, module_ + " has no " + std::string(name) + (names.empty() ? "" : " (only " + join(names, ", ") + ")"),
              "the file is incomplete; download or save it again");
}

std::optional<double> TensorGroup::consume_number(std::string_view name) {
  const Tensor tensor = consume(name);
  if (!tensor.defined()) return std::nullopt;
  if (tensor.numel() != 1)
    throw Error(ErrorKind::bad_input,
                module_ + "." + std::string(name) + " should be one number, but has the shape " + to_string(tensor.sizes()));
  return tensor.item<float>();
}

TensorShapes TensorGroup::shapes() const {
  TensorShapes shapes;
  for (const auto& [name, tensor] : tensors_) shapes[name] = tensor.sizes().vec();
  return shapes;
}

std::span<const AdapterKind> adapter_kinds() {
  // DoRA first: it wraps whichever kind the rest of the tensors is.
  static const std::array kinds{kDoraKind, kLoraKind, kLohaKind,  kLokrKind, kFullKind,
                                kNormKind, kIa3Kind,  kGloraKind, kOftKind,  kBoftKind};
  return kinds;
}

const AdapterKind* recognise_kind(const TensorShapes& tensors) {
  for (const AdapterKind& kind : adapter_kinds())
    if (kind.recognise(tensors)) return &kind;
  return nullptr;
}

std::unique_ptr<Adapter> load_adapter(TensorGroup& tensors, const Layer& layer) {
  const AdapterKind* kind = recognise_kind(tensors.shapes());
  if (!kind) return nullptr;
  std::unique_ptr<Adapter> adapter = kind->load(tensors, layer);
  return tensors.has("diff_b") ? with_bias_difference(std::move(adapter), tensors, layer) : std::move(adapter);
}

}  // namespace lorikeet
