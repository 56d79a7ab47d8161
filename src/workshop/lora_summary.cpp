#include "workshop/lora_summary.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/text.h"

namespace lorikeet {

std::string size_text(uintmax_t bytes) {
  char text[40];
  if (bytes < 1000000)
    std::snprintf(text, sizeof text, "%.1f kB", static_cast<double>(bytes) / 1e3);
  else if (bytes < 1000000000)
    std::snprintf(text, sizeof text, "%.1f MB", static_cast<double>(bytes) / 1e6);
  else
    std::snprintf(text, sizeof text, "%.2f GB", static_cast<double>(bytes) / 1e9);
  return text;
}

std::string kinds_text(const LoraSummary& summary) {
  std::vector<std::string> kinds;
  for (const auto& [kind, count] : summary.kinds) kinds.push_back(kind);
  std::string text = join(kinds, ", ");
  if (summary.ranks.empty()) return text;
  const int64_t least = summary.ranks.begin()->first, most = summary.ranks.rbegin()->first;
  return text + " " + std::to_string(least) + (least == most ? "" : "-" + std::to_string(most));
}

std::string trigger_text(const LoraSummary& summary) {
  if (!summary.trigger_phrase.empty()) return summary.trigger_phrase;
  std::vector<std::string> tags;
  for (size_t i = 0; i < summary.tags.size() && i < 5; ++i) tags.emplace_back(trim(summary.tags[i].first));
  return join(tags, ", ");
}

nlohmann::json json_of(const LoraSummary& s) {
  nlohmann::json ranks = nlohmann::json::object(), tags = nlohmann::json::array();
  for (const auto& [rank, count] : s.ranks) ranks[std::to_string(rank)] = count;
  for (const auto& [tag, count] : s.tags) tags.push_back({{"tag", tag}, {"count", count}});
  return {{"alias", s.alias},
          {"family", s.family},
          {"claimed_family", s.claimed_family},
          {"claimed_base", s.claimed_base},
          {"modules", s.modules},
          {"text_encoder", s.text_encoder},
          {"unet", s.unet},
          {"kinds", s.kinds},
          {"ranks", ranks},
          {"embeddings", s.embeddings},
          {"trigger_phrase", s.trigger_phrase},
          {"tags", tags}};
}

}  // namespace lorikeet
