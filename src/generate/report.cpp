#include "generate/report.h"

#include <nlohmann/json.hpp>
#include <span>

#include "base/text.h"

namespace lorikeet {

std::string line_of(const LoraReport& report) {
  std::vector<std::string> what;
  for (const auto& [kind, count] : report.kinds) what.push_back(kind);
  if (!report.family.empty()) what.push_back(report.family);
  std::string line =
      report.name + ": " + std::to_string(report.matched) + " of " + std::to_string(report.total) + " modules (" + join(what, ", ") + ")";
  const auto few = [](const std::vector<std::string>& keys) {
    return join(std::span(keys).first(std::min<size_t>(3, keys.size())), ", ") + (keys.size() > 3 ? ", …" : "");
  };
  if (!report.unmatched.empty()) line += "; no layer for " + few(report.unmatched);
  if (!report.unused.empty()) line += "; not used: " + few(report.unused);
  return line;
}

nlohmann::json json_of(const LoraReport& report) {
  return {{"name", report.name},           {"path", report.path},     {"matched", report.matched}, {"total", report.total},
          {"unmatched", report.unmatched}, {"unused", report.unused}, {"kinds", report.kinds},     {"family", report.family}};
}

}  // namespace lorikeet
