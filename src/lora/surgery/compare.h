// Two LoRA files side by side: how much of what they change is the same.
#pragma once
#include <string>
#include <vector>

#include "lora/surgery/change.h"

namespace lorikeet {

struct Compared {
  std::string name;              // a block or a layer
  double first = 0, second = 0;  // ‖ΔW‖
  double product = 0;            // ⟨ΔW₁, ΔW₂⟩
  double cosine() const;         // 0 where one of them is 0
};

struct Comparison {
  Compared total;
  std::vector<Compared> blocks, layers;              // layers that both change
  std::vector<std::string> only_first, only_second;  // layers
  bool same_tensors = false;                         // by AutoV3
  std::vector<std::string> metadata;                 // keys whose texts differ
};

// Error{bad_input}: two families, layers of two shapes.
Comparison compare(const LoraReader& first, const LoraReader& second, Progress& progress);

}  // namespace lorikeet
