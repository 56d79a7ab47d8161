// Full-size models without their weights' memory, and the pseudo-random SD1.5 of gen_sd15.py.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "check.h"

namespace lorikeet::oracle {

// A file among the system's temporary ones that goes when this goes.
struct TemporaryFile {
  std::filesystem::path path;
  explicit TemporaryFile(const std::string& stem);
  ~TemporaryFile();
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
};

// The layers of a model, their weights views of a single zero.
struct Skeleton {
  ModelSpec spec;
  LayerMap layers;
};
// By the names and shapes of a single file: {"model.diffusion_model.…": [320, 4, 3, 3], …}.
Skeleton skeleton_of_keys(const nlohmann::json& keys);
// Of SD1.5.
Skeleton skeleton_of_sd15();

// How the single file of a model of this family spells a parameter in diffusers' name; several where an up-sampler has two places.
// part: which third of the rows it is there (OpenCLIP's fused projection), else -1.
struct SingleFileName {
  std::string key;
  int part = -1;
};
std::vector<SingleFileName> single_file_names(const std::string& parameter, std::string_view family);

// A tensor of gen_sd15.py (its head describes the generator): base + range * v, in float16. shape {}: a number.
Tensor generated_tensor(const std::string& name, const Shape& shape, double base, double range, uint64_t seed);
// The same in float32, without float16's rounding.
Tensor generated_input(const std::string& name, const Shape& shape, double base, double range, uint64_t seed);

// The checkpoint that gen_sd15.py writes, made as it is asked for.
class GeneratedWeights : public WeightSource {
 public:
  GeneratedWeights(std::map<std::string, Shape> keys, uint64_t seed) : keys_(std::move(keys)), seed_(seed) {}
  Tensor find(const std::string& name) const override;
  std::string describe(const std::string& name) const override { return name + " (generated)"; }

 private:
  std::map<std::string, Shape> keys_;
  uint64_t seed_;
};

// The kohya LoRA that gen_sd15.py writes for these modules ([[name, key, shape], …]), written to `path`.
void write_generated_lora(const std::filesystem::path& path, const nlohmann::json& modules, int64_t rank, double alpha, uint64_t seed);

}  // namespace lorikeet::oracle
