#include "lora/peft_config.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"

namespace lorikeet {
namespace {

using Json = nlohmann::ordered_json;  // the order of patterns counts

std::optional<double> number(const Json& object, const std::string& name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_number()) return std::nullopt;
  return found->get<double>();
}

// PEFT's own expression around a key of a pattern (get_pattern_key of its utils/other.py; 0.8 asks for a dot before it). A file's expression is untrusted: this
// executor takes time in proportion to the text, and knows no back-references; what it does not take is compared as plain text.
std::regex pattern_of(const std::string& key) {
  constexpr size_t kLongest = 500;
  const auto flags = std::regex::ECMAScript | std::regex_constants::__polynomial;  // counts in braces would make it large
  std::string plain = key;
  if (starts_with(plain, "^")) plain.erase(0, 1);  // "^" stands where the path begins, which "(.*\\.)?" allows
  if (ends_with(plain, "$")) plain.pop_back();
  try {
    if (plain.size() <= kLongest && plain.find('{') == std::string::npos) return std::regex("(.*\\.)?(" + plain + ")", flags);
  } catch (const std::regex_error&) {
  }
  static const std::regex kSpecial(R"([.*+?^${}()|\[\]\\])");
  return std::regex("(.*\\.)?" + std::regex_replace(plain.substr(0, kLongest), kSpecial, R"(\$&)"), flags);
}

// The members of `object` whose names start with `prefix`.
PeftConfig parse(const Json& object, const std::string& prefix, std::string component) {
  PeftConfig config{std::move(component), number(object, prefix + "lora_alpha"), {}, false};
  if (const auto found = object.find(prefix + "use_rslora"); found != object.end() && found->is_boolean()) config.use_rslora = *found;
  const auto pattern = object.find(prefix + "alpha_pattern");
  if (pattern == object.end() || !pattern->is_object()) return config;
  for (const auto& [end, alpha] : pattern->items())
    if (alpha.is_number()) config.alpha_pattern.push_back({pattern_of(end), alpha.get<double>()});
  return config;
}

Json parse_json(const std::string& text, const std::string& what) {
  Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) throw Error(ErrorKind::bad_input, what + " is not a JSON object", "repair or remove it");
  return json;
}

std::optional<PeftConfig> read_beside(const std::filesystem::path& path) {
  const auto folder = path.parent_path();
  for (const auto& candidate : {folder / (path.stem().string() + ".adapter_config.json"), folder / "adapter_config.json"}) {
    std::ifstream stream(candidate, std::ios::binary);
    if (!stream) continue;
    const std::string text((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
    return parse(parse_json(text, candidate.filename().string() + " beside the LoRA"), "", "");
  }
  return std::nullopt;
}

template <class T>
T commonest(const std::map<T, int>& counts) {
  const auto found = std::ranges::max_element(counts, {}, [](const auto& entry) { return entry.second; });
  return found == counts.end() ? T() : found->first;
}

// PEFT's lora_alpha is a whole number as a rule.
nlohmann::json alpha_number(double alpha) {
  return alpha == static_cast<double>(static_cast<int64_t>(alpha)) ? nlohmann::json(static_cast<int64_t>(alpha)) : nlohmann::json(alpha);
}

}  // namespace

void PeftModules::add(const std::string& module, int64_t rank, double alpha, bool dora) {
  modules_.push_back({module, rank, alpha});
  dora_ = dora_ || dora;
}

nlohmann::json PeftModules::json() const {
  std::map<int64_t, int> ranks;
  std::map<double, int> alphas;
  for (const Module& module : modules_) ++ranks[module.rank], ++alphas[module.alpha];
  const int64_t rank = commonest(ranks);
  const double alpha = commonest(alphas);
  auto rank_pattern = nlohmann::json::object(), alpha_pattern = nlohmann::json::object(), targets = nlohmann::json::array();
  for (const Module& module : modules_) {
    targets.push_back(module.name);
    if (module.rank != rank) rank_pattern[module.name] = module.rank;
    if (module.alpha != alpha) alpha_pattern[module.name] = alpha_number(module.alpha);
  }
  return {{"r", rank},         {"lora_alpha", alpha_number(alpha)}, {"rank_pattern", rank_pattern}, {"alpha_pattern", alpha_pattern},
          {"use_dora", dora_}, {"target_modules", targets}};
}

bool PeftConfig::covers(std::string_view module) const { return component.empty() || starts_with(module, component + "."); }

std::optional<double> PeftConfig::alpha(std::string_view module, int64_t rank) const {
  std::optional<double> value = lora_alpha;
  const auto found = std::ranges::find_if(alpha_pattern, [&](const AlphaPattern& p) { return std::regex_match(module.begin(), module.end(), p.end); });
  if (found != alpha_pattern.end()) value = found->alpha;
  if (value && use_rslora) *value *= std::sqrt(static_cast<double>(rank));
  return value;
}

std::vector<PeftConfig> read_peft_configs(const std::filesystem::path& path, const std::map<std::string, std::string>& metadata) {
  std::vector<PeftConfig> configs;
  if (auto beside = read_beside(path)) configs.push_back(std::move(*beside));
  if (const auto inside = metadata.find("lora_adapter_metadata"); inside != metadata.end()) {
    const Json json = parse_json(inside->second, "the metadata's lora_adapter_metadata");
    for (const std::string component : {"unet", "text_encoder", "text_encoder_2"})
      if (PeftConfig config = parse(json, component + ".", component); config.lora_alpha) configs.push_back(std::move(config));
  }
  return configs;
}

}  // namespace lorikeet
