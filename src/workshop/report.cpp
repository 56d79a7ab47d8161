#include "workshop/report.h"

#include <algorithm>
#include <cstdio>

#include "base/text.h"
#include "workshop/lora_summary.h"

namespace lorikeet {

namespace {
using nlohmann::ordered_json;

std::string short_number(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.3g", value);
  return text;
}

std::string range_text(int64_t least, int64_t most) { return std::to_string(least) + (least == most ? "" : "-" + std::to_string(most)); }

ordered_json json_of(const LayerFacts& layer) {
  ordered_json json{{"path", layer.path}, {"module", layer.module}, {"block", layer.block}, {"kind", layer.kind}};
  if (!layer.fault.empty()) json["fault"] = layer.fault;
  if (layer.rank > 0) json["rank"] = layer.rank, json["alpha"] = layer.alpha;
  json["norm"] = layer.norm;
  if (layer.bias_norm > 0) json["bias_norm"] = layer.bias_norm;
  if (layer.weight_norm > 0) json["relative_change"] = layer.norm / layer.weight_norm;
  json["effective_rank"] = layer.effective_rank;
  json["singular_values"] =
      std::vector<double>(layer.values.begin(), layer.values.begin() + static_cast<ptrdiff_t>(std::min<size_t>(8, layer.values.size())));
  json["dead"] = layer.dead();
  return json;
}

ordered_json json_of(const BlockFacts& block) {
  ordered_json json{{"block", block.name}, {"layers", block.layers}, {"dead", block.dead}, {"faults", block.faults}};
  for (const auto& [rank, count] : block.ranks) json["ranks"][std::to_string(rank)] = count;
  for (const auto& [alpha, count] : block.alphas) json["alphas"][format_number(alpha)] = count;
  json["norm"] = block.norm;
  if (block.weight_norm > 0) json["relative_change"] = block.norm / block.weight_norm;
  json["largest_singular_value"] = block.largest_value;
  json["effective_rank"] = block.effective_rank;
  return json;
}

ordered_json json_of(const Compared& compared) {
  return {{"name", compared.name}, {"norm_first", compared.first}, {"norm_second", compared.second}, {"cosine", compared.cosine()}};
}
}  // namespace

ordered_json json_of(const LoraDescription& d) {
  ordered_json json{{"name", d.summary.name}, {"path", d.path}, {"bytes", d.bytes}, {"dtypes", d.dtypes}, {"hashes", d.hashes}};
  json.update(ordered_json(json_of(d.summary)));
  for (const auto& [words, text] : d.training) json["training"][words] = text;
  if (!d.history.empty()) json["history"] = ordered_json::parse(d.history);
  json["matched"] = d.matched;
  json["unmatched"] = d.unmatched;
  json["unused"] = d.unused;
  json["norm"] = d.norm;
  if (d.with_checkpoint) {
    json["relative_change"] = d.weight_norm > 0 ? d.norm / d.weight_norm : 0;
    json["suggested_largest_multiplier"] = d.suggested_multiplier;
  }
  for (const BlockFacts& block : d.blocks) json["blocks"].push_back(json_of(block));
  for (const LayerFacts& layer : d.layers) json["layers"].push_back(json_of(layer));
  return json;
}

ordered_json json_of(const Comparison& comparison) {
  ordered_json json{{"same_tensors", comparison.same_tensors}, {"total", json_of(comparison.total)}};
  for (const Compared& block : comparison.blocks) json["blocks"].push_back(json_of(block));
  for (const Compared& layer : comparison.layers) json["layers"].push_back(json_of(layer));
  json["only_first"] = comparison.only_first;
  json["only_second"] = comparison.only_second;
  json["metadata_differs"] = comparison.metadata;
  return json;
}

ordered_json json_of(const std::vector<LayerResult>& layers) {
  ordered_json list = ordered_json::array();
  for (const LayerResult& layer : layers)
    list.push_back({{"path", layer.path},
                    {"block", layer.block},
                    {"rank_before", layer.rank_before},
                    {"rank", layer.rank},
                    {"norm", layer.norm},
                    {"relative_error", layer.error}});
  return list;
}

std::string line_of(const std::vector<LayerResult>& layers) {
  int64_t least = 0, most = 0, least_before = 0, most_before = 0;
  int ranked = 0;
  const LayerResult* worst = nullptr;
  for (const LayerResult& layer : layers) {
    if (layer.rank > 0) {
      least = ranked ? std::min(least, layer.rank) : layer.rank;
      most = std::max(most, layer.rank);
      least_before = ranked ? std::min(least_before, layer.rank_before) : layer.rank_before;
      most_before = std::max(most_before, layer.rank_before);
      ++ranked;
    }
    if (!worst || layer.error > worst->error) worst = &layer;
  }
  std::string line = std::to_string(layers.size()) + " layers";
  if (ranked) line += ", rank " + (most_before ? range_text(least_before, most_before) + " -> " : "") + range_text(least, most);
  line += ", relative error " + short_number(total_error(layers));
  if (worst && worst->error > 0) line += " (largest " + short_number(worst->error) + " at " + worst->path + ")";
  return line;
}

}  // namespace lorikeet
