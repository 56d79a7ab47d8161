#include "training/saved_state.h"

#include "base/error.h"

namespace lorikeet {
namespace {
constexpr const char* kHint = "the run was saved with other settings; start a new one, or give the settings that it was saved with";
}

SavedState::SavedState(const std::vector<NamedTensor>& state, std::string what) : what_(std::move(what)) {
  for (const auto& [name, tensor] : state) left_[name] = tensor;
}

Tensor SavedState::take(const std::string& name, torch::IntArrayRef shape) {
  auto found = left_.extract(name);
  if (found.empty()) throw Error(ErrorKind::bad_input, "the saved state of " + what_ + " has no " + name, kHint);
  const Tensor tensor = found.mapped();
  if (tensor.sizes() != shape) {
    throw Error(
        ErrorKind::bad_input,
        "the saved state of " + what_ + " has " + name + " of shape " + to_string(tensor.sizes()) + " instead of " + to_string(shape),
        kHint);
  }
  return tensor;
}

void SavedState::expect_all_taken() const {
  if (left_.empty()) return;
  throw Error(ErrorKind::bad_input,
              "the saved state of " + what_ + " has " + std::to_string(left_.size()) +
                  " tensors that nobody reads (first: " + left_.begin()->first + ")",
              kHint);
}

}  // namespace lorikeet
