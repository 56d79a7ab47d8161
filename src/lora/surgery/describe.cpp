#include "lora/surgery/describe.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "io/hash.h"
#include "lora/blocks.h"

namespace lorikeet {
namespace {

struct TrainingFact {
  const char *key, *words;
};
// kohya's metadata in the order of interest.
constexpr TrainingFact kTraining[] = {{"ss_sd_model_name", "base model"},
                                      {"ss_network_module", "network"},
                                      {"ss_network_args", "network options"},
                                      {"ss_steps", "steps"},
                                      {"ss_epoch", "epoch"},
                                      {"ss_num_epochs", "epochs"},
                                      {"ss_num_train_images", "pictures"},
                                      {"ss_resolution", "resolution"},
                                      {"ss_learning_rate", "learning rate"},
                                      {"ss_unet_lr", "U-Net's learning rate"},
                                      {"ss_text_encoder_lr", "text encoder's learning rate"},
                                      {"ss_optimizer", "optimiser"},
                                      {"ss_lr_scheduler", "schedule of the rate"},
                                      {"ss_total_batch_size", "batch"},
                                      {"ss_noise_offset", "noise offset"},
                                      {"ss_min_snr_gamma", "min-SNR gamma"},
                                      {"ss_clip_skip", "clip skip"},
                                      {"ss_seed", "seed"},
                                      {"ss_training_comment", "comment"},
                                      {"modelspec.title", "title"},
                                      {"modelspec.description", "description"},
                                      {"modelspec.usage_hint", "use"},
                                      {"modelspec.author", "author"},
                                      {"modelspec.license", "licence"},
                                      {"modelspec.date", "date"}};

double effective_rank(const std::vector<double>& values) {
  double sum = 0, entropy = 0;
  for (const double value : values) sum += value;
  if (sum <= 0) return 0;
  for (const double value : values)
    if (value > 0) entropy -= value / sum * std::log(value / sum);
  return std::exp(entropy);
}

double norm_of(const Tensor& tensor) { return tensor.defined() ? std::sqrt(tensor.to(torch::kDouble).square().sum().item<double>()) : 0; }

// The whole spectrum of a large whole matrix takes long, and the leading values tell its story.
Decomposition spectrum(const Change& change) {
  constexpr int64_t kLeading = 64;
  if (change.low_rank) return Decomposition::of(*change.low_rank);
  return Decomposition::leading(change.matrix(), kLeading, 0);
}

void measure(const LoraReader& reader, LayerFacts& facts, std::vector<std::string>& unused) {
  const Layer& layer = *reader.layers().at(facts.path);
  facts.entries = layer.base_weight().numel();
  ReadAdapter read = reader.load(facts.path);
  unused = std::move(read.unused);
  if (!read.adapter) {
    facts.kind = "unknown";
    facts.fault = "no kind of LoRA that is known has these tensors";
    return;
  }
  facts.kind = read.adapter->kind();
  facts.rank = read.adapter->rank();
  facts.alpha = read.adapter->alpha();
  if (reader.has_weights()) facts.weight_norm = norm_of(layer.base_weight());
  const Change change = change_of(*read.adapter, layer, reader.has_weights());
  facts.bias_norm = norm_of(change.bias);
  if (!change.changes_weight()) return;
  if (!change.is_matrix()) {
    facts.norm = change.norm();
    return;
  }
  const Decomposition parts = spectrum(change);
  facts.norm = parts.norm();
  facts.values = parts.values();
  facts.effective_rank = effective_rank(facts.values);
}

std::vector<BlockFacts> blocks_of(const std::vector<LayerFacts>& layers) {
  std::map<std::string, BlockFacts> blocks;
  for (const LayerFacts& layer : layers) {
    BlockFacts& block = blocks[layer.block];
    block.name = layer.block;
    ++block.layers;
    block.dead += layer.dead() ? 1 : 0;
    block.faults += layer.fault.empty() ? 0 : 1;
    if (layer.rank > 0) ++block.ranks[layer.rank], ++block.alphas[layer.alpha];
    block.norm += layer.norm * layer.norm;
    block.weight_norm += layer.weight_norm * layer.weight_norm;
    if (!layer.values.empty()) block.largest_value = std::max(block.largest_value, layer.values.front());
    block.effective_rank += layer.effective_rank;
  }
  std::vector<BlockFacts> sorted;
  for (auto& [name, block] : blocks) {
    block.norm = std::sqrt(block.norm);
    block.weight_norm = std::sqrt(block.weight_norm);
    block.effective_rank /= block.layers;
    sorted.push_back(std::move(block));
  }
  std::ranges::sort(sorted, [](const BlockFacts& a, const BlockFacts& b) { return block_before(a.name, b.name); });
  return sorted;
}

double suggested_multiplier(const std::vector<BlockFacts>& blocks) {
  double most = 0;
  for (const BlockFacts& block : blocks)
    if (block.weight_norm > 0) most = std::max(most, block.norm / block.weight_norm);
  return most > 0 ? kLargestChange / most : 0;
}

void read_header(const LoraFile& file, LoraDescription& description) {
  description.summary = file.summary();
  description.path = file.path().string();
  description.bytes = std::filesystem::file_size(file.path());
  for (const auto& [key, entry] : file.tensors()) ++description.dtypes[entry.stored_dtype];
  for (const TrainingFact& fact : kTraining) {
    const auto found = file.metadata().find(fact.key);
    if (found != file.metadata().end() && !found->second.empty() && found->second != "None" && found->second != "{}")
      description.training.emplace_back(fact.words, valid_utf8(found->second));
  }
  const auto history = history_of(file.metadata());
  if (!history.empty()) description.history = history.dump();
}

}  // namespace

std::map<std::string, std::string> lora_hashes(const LoraFile& file) {
  const std::string whole = sha256_file(file.path());
  std::map<std::string, std::string> hashes{
      {"sha256", whole}, {"AutoV2", whole.substr(0, 10)}, {"AutoV3", auto_v3(file.path()).substr(0, 12)}};
  const auto stated = [&](const char* key, const char* name) {
    if (const auto found = file.metadata().find(key); found != file.metadata().end()) hashes[name] = valid_utf8(found->second);
  };
  stated("sshs_legacy_hash", "legacy");
  stated("sshs_model_hash", "stated");
  return hashes;
}

LoraDescription describe(const LoraReader& reader, Progress& progress, const std::function<void()>& after_layers) {
  LoraDescription description;
  read_header(reader.file(), description);
  description.hashes = lora_hashes(reader.file());
  description.matched = reader.report().matched;
  description.total = reader.report().total;
  description.unmatched = reader.report().unmatched;
  description.with_checkpoint = reader.has_weights();
  const std::vector<std::string> paths = paths_of(reader);
  description.layers.resize(paths.size());
  std::vector<std::vector<std::string>> unused(paths.size());
  for_each_layer(paths, "measuring", progress, [&](size_t i, const std::string& path) {
    LayerFacts& facts = description.layers[i];
    facts.path = path;
    facts.module = reader.module(path);
    facts.block = block_of(path);
    try {
      measure(reader, facts, unused[i]);
    } catch (const Error& error) {
      facts.fault = error.message();  // one broken module is a line of the description, not its end
    }
    constexpr size_t kLayersBetween = 32;
    if (after_layers && (i + 1) % kLayersBetween == 0) after_layers();
  });
  for (const auto& names : unused) description.unused.insert(description.unused.end(), names.begin(), names.end());
  for (const std::string& stray : reader.file().strays()) description.unused.push_back(stray);
  description.blocks = blocks_of(description.layers);
  for (const BlockFacts& block : description.blocks) {
    description.norm += block.norm * block.norm;
    description.weight_norm += block.weight_norm * block.weight_norm;
  }
  description.norm = std::sqrt(description.norm);
  description.weight_norm = std::sqrt(description.weight_norm);
  description.suggested_multiplier = suggested_multiplier(description.blocks);
  return description;
}

}  // namespace lorikeet
