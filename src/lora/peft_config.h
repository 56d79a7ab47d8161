// What PEFT keeps beside a LoRA's tensors: the alphas. In adapter_config.json, or since diffusers 0.35 in the file's own metadata; read and
// written. And PEFT's form of a DoRA's magnitudes.
#pragma once
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/torch.h"

namespace lorikeet {

struct PeftConfig {
  std::string component;  // it is for modules below "component."; empty: for all
  std::optional<double> lora_alpha;
  std::map<std::string, double> alpha_pattern;  // by the end of the module's path
  bool use_rslora = false;                      // scale alpha / sqrt(rank) (Kalajdzievski 2023, arXiv 2312.03732, eq. 8)

  // What alpha / rank has to be computed from, so that it is PEFT's scale; nothing when the config has no word about it.
  std::optional<double> alpha(std::string_view module, int64_t rank) const;
  bool covers(std::string_view module) const;
};

// The configs that belong to the LoRA file at `path` with `metadata`: "<stem>.adapter_config.json" or "adapter_config.json" beside it,
// "lora_adapter_metadata" inside. None when there are none. Error{bad_input} when one cannot be read.
std::vector<PeftConfig> read_peft_configs(const std::filesystem::path& path, const std::map<std::string, std::string>& metadata);

// Ranks and alphas of the modules of a file or of one component, as a LoraConfig states them: the commonest, and the exceptions
// (peft 0.8, tuners/lora/config.py).
class PeftConfigText {
 public:
  void add(const std::string& module, int64_t rank, double alpha, bool dora);
  // r, lora_alpha, rank_pattern, alpha_pattern, use_dora, target_modules.
  nlohmann::ordered_json json() const;

 private:
  struct Module {
    std::string name;
    int64_t rank;
    double alpha;
  };
  std::vector<Module> modules_;
  bool dora_ = false;
};

// The shape of a DoRA's magnitudes there: a number for each output, [out], of convolutions [1, out, 1, 1]. shape: as LyCORIS has them,
// [out, 1, …]. Error{unsupported}, by the module's name: there is one for each input.
Shape peft_magnitude_shape(const std::string& module, const Shape& shape);

}  // namespace lorikeet
