// What PEFT keeps beside a LoRA's tensors: the alphas, read and written. In adapter_config.json, or since diffusers 0.35 in the file's own metadata.
#pragma once
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <regex>
#include <string>
#include <string_view>
#include <vector>

namespace lorikeet {

struct PeftConfig {
  std::string component;  // it is for modules below "component."; empty: for all
  // A regular expression over the end of a module's path, from a dot or the path's beginning on, and the alpha of those modules.
  struct AlphaPattern {
    std::regex end;
    double alpha;
  };

  std::optional<double> lora_alpha;
  std::vector<AlphaPattern> alpha_pattern;  // in the file's order; the first that fits a module is its own
  bool use_rslora = false;                  // scale alpha / sqrt(rank) (Kalajdzievski 2023, arXiv 2312.03732, eq. 8)

  // What alpha / rank has to be computed from, so that it is PEFT's scale; nothing when the config has no word about it.
  std::optional<double> alpha(std::string_view module, int64_t rank) const;
  bool covers(std::string_view module) const;
};

// What a LoraConfig says of the modules of a file or of one component: the commonest rank and alpha, and where others are (peft 0.8,
// tuners/lora/config.py).
class PeftModules {
 public:
  void add(const std::string& module, int64_t rank, double alpha, bool dora);
  nlohmann::json json() const;

 private:
  struct Module {
    std::string name;
    int64_t rank;
    double alpha;
  };
  std::vector<Module> modules_;
  bool dora_ = false;
};

// The configs that belong to the LoRA file at `path` with `metadata`: "<stem>.adapter_config.json" or "adapter_config.json" beside it,
// "lora_adapter_metadata" inside. None when there are none. Error{bad_input} when one cannot be read.
std::vector<PeftConfig> read_peft_configs(const std::filesystem::path& path, const std::map<std::string, std::string>& metadata);

}  // namespace lorikeet
