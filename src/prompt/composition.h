// "a AND b:0.5": a prompt of several parts that are denoised apart and added with weights (Liu et al. 2022, arXiv 2206.01714).
// As in AUTOMATIC1111's webui.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace lorikeet {

struct PromptPart {
  std::string text;
  double weight = 1;
};

// At least one part. AND must be a word of its own, in capitals; the weight stands behind the last ':' of a part.
std::vector<PromptPart> split_composition(std::string_view prompt);

}  // namespace lorikeet
