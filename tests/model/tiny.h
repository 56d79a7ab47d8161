// Tiny models of every family with random weights, written as the single files that people have.
#pragma once
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>

#include "base/error.h"
#include "model/spec.h"

namespace lorikeet::testing {

using Tensors = std::map<std::string, Tensor>;

struct TinyModel {
  ModelSpec spec;
  Tensors weights;  // in diffusers' names: "unet.…", "vae.…", "text_encoder.…"
};

// family: an id of model_families(). Not one width, head count or group count is what the family has by itself.
TinyModel tiny_model(std::string_view family, bool inpainting = false, uint64_t seed = 1);

// The single file's tensors; with its configuration in the metadata.
Tensors file_of(const TinyModel& model);
void write_single_file(const std::filesystem::path& path, const TinyModel& model, const Tensors& tensors);

// The whole text of the Error that `work` throws; "" when it throws none.
template <class Work>
std::string error_of(Work&& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// An empty folder that goes with the test.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "lorikeet-model-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

}  // namespace lorikeet::testing
