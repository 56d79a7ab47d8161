#include "model/component_files.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "io/tensor_file.h"

namespace lorikeet {

namespace fs = std::filesystem;

namespace {

// Lower is better: 0 full-precision safetensors, 1 a variant of it, 2 and 3 pickles; -1: no weight file.
int preference(const std::string& name) {
  const bool main_stem = name.starts_with("diffusion_pytorch_model.") || name.starts_with("model.") || name.starts_with("pytorch_model.");
  if (!main_stem) return -1;
  const bool variant = std::count(name.begin(), name.end(), '.') > 1;
  if (name.ends_with(".safetensors")) return variant ? 1 : 0;
  if (name.ends_with(".bin")) return variant ? 3 : 2;
  return -1;
}

}  // namespace

std::vector<fs::path> component_files(const fs::path& folder) {
  std::vector<std::pair<int, fs::path>> found;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".safetensors.index.json")) return shard_files(entry.path());
    if (const int rank = preference(name); rank >= 0) found.emplace_back(rank, entry.path());
  }
  if (found.empty()) {
    throw Error(ErrorKind::not_found, folder.string() + " holds no weights",
                "expected diffusion_pytorch_model.safetensors, model.safetensors or their .bin forms");
  }
  return {std::min_element(found.begin(), found.end())->second};
}

}  // namespace lorikeet
