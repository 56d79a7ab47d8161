// Reads what was saved as named tensors: each is asked for once, and nothing may be left over.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "base/torch.h"
#include "lora/adapter.h"

namespace lorikeet {

class SavedState {
 public:
  // what: "the optimiser", for the errors.
  SavedState(const std::vector<NamedTensor>& state, std::string what);
  // Error{bad_input}: missing, or of another shape.
  Tensor take(const std::string& name, torch::IntArrayRef shape);
  // Error{bad_input} when something was not asked for.
  void expect_all_taken() const;

 private:
  std::map<std::string, Tensor> left_;
  std::string what_;
};

}  // namespace lorikeet
