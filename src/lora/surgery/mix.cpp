#include "lora/surgery/mix.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "lora/surgery/option_words.h"

namespace lorikeet {
namespace {

using nlohmann::ordered_json;

double multiplier_at(const MixInput& input, const std::string& path) {
  return (starts_with(path, "text_encoder") ? input.te : input.unet) * input.blocks.at(path);
}

void check(std::span<const MixInput> inputs, const MixOptions& options) {
  if (inputs.empty()) throw Error(ErrorKind::bad_input, "which LoRAs?", "lorikeet lora mix a:0.7 b:0.3 -o ab.safetensors");
  const MixMethod& method = find_mix_method(options.method);
  const bool asked = options.ranks.rank > 0 || !options.ranks.rule.empty();
  if (asked && !method.takes_ranks)
    throw Error(ErrorKind::bad_input, "\"" + options.method + "\" keeps all ranks", "--method svd cuts the sum to a rank");
  if (asked || method.needs_ranks) check(options.ranks);
  if (!(options.density > 0 && options.density <= 1))
    throw Error(ErrorKind::bad_input, "the density is a share above 0, at most 1, not " + format_number(options.density));
  const LoraReport& first = inputs.front().reader->report();
  for (const MixInput& input : inputs) {
    const LoraReport& report = input.reader->report();
    if (!report.unmatched.empty())
      throw Error(ErrorKind::bad_input,
                  std::to_string(report.unmatched.size()) + " of " + std::to_string(report.total) + " modules of " + report.name +
                      " fit no layer (first: " + report.unmatched.front() + ")",
                  "name the checkpoint with -m");
    if (!first.family.empty() && !report.family.empty() && first.family != report.family)
      throw Error(ErrorKind::bad_input, first.name + " is made for " + first.family + ", " + report.name + " for " + report.family,
                  "only files of one family can be mixed");
  }
}

std::vector<std::string> all_paths(std::span<const MixInput> inputs) {
  std::set<std::string> paths;
  for (const MixInput& input : inputs)
    for (const std::string& path : paths_of(*input.reader)) paths.insert(path);
  return {paths.begin(), paths.end()};
}

// A 1×1 convolution and a linear layer are the same matrix.
bool same_matrix(const Shape& a, const Shape& b) {
  const auto count = [](const Shape& shape) { return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>()); };
  return a.at(0) == b.at(0) && count(a) == count(b);
}

// The changes of the inputs that change this layer, multiplied; biases summed up apart.
std::vector<Change> changes_at(std::span<const MixInput> inputs, const std::string& path, Tensor& bias) {
  std::vector<Change> changes;
  for (const MixInput& input : inputs) {
    const double multiplier = multiplier_at(input, path);
    if (multiplier == 0 || !input.reader->layers().contains(path)) continue;
    Change change = read_change(*input.reader, path, multiplier);
    if (!changes.empty() && !same_matrix(changes.front().shape, change.shape))
      throw Error(ErrorKind::bad_input,
                  "the files change weights of two shapes: " + to_string(changes.front().shape) + " and " + to_string(change.shape),
                  "only files for the same model can be mixed");
    if (change.bias.defined()) bias = bias.defined() ? bias + change.bias : change.bias;
    changes.push_back(std::move(change));
  }
  return changes;
}

uint64_t seed_of(uint64_t seed, const std::string& path) {
  uint64_t hash = 0xCBF29CE484222325 ^ seed;  // FNV-1a: the same on every machine
  for (const char byte : path) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001B3;
  return hash;
}

DraftModule mixed_layer(std::span<const MixInput> inputs, const MixOptions& options, const std::string& path, LayerResult& layer) {
  Tensor bias;
  std::vector<Change> changes = changes_at(inputs, path, bias);
  if (changes.empty()) return {};
  const Shape shape = changes.front().shape;
  const bool any_weight = std::ranges::any_of(changes, &Change::changes_weight);
  Change mixed;
  mixed.shape = shape;
  // Norms are few numbers without a rank: always summed.
  const bool matrix = changes.front().is_matrix();
  if (any_weight)
    mixed = matrix ? find_mix_method(options.method).mix(changes, options, seed_of(options.seed, path))
                   : find_mix_method("sum").mix(changes, options, 0);
  mixed.bias = bias;
  const Dtype dtype = options.dtype.value_or(torch::kHalf);
  const bool cut = options.ranks.rank > 0 || !options.ranks.rule.empty();
  DraftModule module{{}, {}};
  for (const MixInput& input : inputs)
    if (module.source.empty() && input.reader->layers().contains(path)) module.source = input.reader->module(path);
  if (!any_weight || !matrix || (!cut && !mixed.low_rank)) {
    layer.norm = mixed.norm();
    module.tensors = whole_difference(mixed, dtype);
    return module;
  }
  LowRank factors;
  if (cut) {
    const Decomposition parts = decompose(mixed);
    layer.rank = choose_rank(options.ranks, path, mixed.has_kernel(), parts);
    layer.norm = parts.norm();
    layer.error = parts.error(layer.rank);
    factors = parts.truncated(layer.rank);
  } else {
    factors = *mixed.low_rank;
    layer.rank = factors.rank();
    layer.norm = mixed.norm();
  }
  module.tensors = plain_lora(factors, shape, dtype);
  add_bias(module.tensors, mixed, dtype);
  return module;
}

ordered_json recipe_inputs(std::span<const MixInput> inputs) {
  ordered_json all = ordered_json::array();
  for (const MixInput& input : inputs) {
    ordered_json one = history_input(input.reader->file().path(), input.reader->file().metadata());
    one["te"] = input.te;
    one["unet"] = input.unet;
    if (!input.blocks.text().empty()) one["blocks"] = input.blocks.text();
    all.push_back(std::move(one));
  }
  return all;
}

ordered_json recipe_options(const MixOptions& options) {
  ordered_json words = option_words(options.ranks);
  words["method"] = options.method;
  words["density"] = options.density;
  words["seed"] = options.seed;
  words["dtype"] = dtype_word(options.dtype.value_or(torch::kHalf));
  if (!options.checkpoint.empty()) words["checkpoint"] = history_input(options.checkpoint, {});
  return words;
}

Metadata mixed_files_metadata(std::span<const MixInput> inputs, const LoraDraft& draft) {
  std::vector<Metadata> all;
  for (const MixInput& input : inputs) all.push_back(input.reader->file().metadata());
  Metadata metadata = mixed_metadata(all);
  const RankCounts counts = rank_counts(draft);
  // kohya's readers want these two.
  metadata["ss_network_module"] = "networks.lora";
  metadata["ss_network_dim"] = metadata["ss_network_alpha"] = "";
  note_ranks(metadata, counts.ranks, counts.alphas);
  return metadata;
}

// Bundled embeddings of all files; of two with one name the first.
std::vector<DraftTensor> embeddings_of(std::span<const MixInput> inputs) {
  std::vector<DraftTensor> all;
  std::set<std::string> names;
  for (const MixInput& input : inputs)
    for (DraftTensor& tensor : other_tensors(*input.reader))
      if (input.reader->file().is_embedding(tensor.name) && names.insert(tensor.name).second) all.push_back(std::move(tensor));
  return all;
}

}  // namespace

LoraDraft mix(std::span<const MixInput> inputs, const MixOptions& options, MixResult& result, Progress& progress) {
  check(inputs, options);
  int64_t longest = 0;
  for (const MixInput& input : inputs) longest = std::max(longest, longest_rank(*input.reader));
  refuse_larger(options.ranks, longest);
  const std::vector<std::string> paths = all_paths(inputs);
  std::vector<DraftModule> modules(paths.size());
  std::vector<LayerResult> layers(paths.size());
  for_each_layer(paths, "mixing", progress, [&](size_t i, const std::string& path) {
    layers[i].path = path;
    layers[i].block = block_of(path);
    modules[i] = mixed_layer(inputs, options, path, layers[i]);
  });
  LoraDraft draft;
  for (size_t i = 0; i < paths.size(); ++i) {
    if (modules[i].tensors.empty()) continue;
    draft.modules[paths[i]] = std::move(modules[i]);
    result.layers.push_back(std::move(layers[i]));
  }
  if (draft.modules.empty()) throw Error(ErrorKind::bad_input, "nothing is left of the LoRAs: all multipliers are 0");
  draft.others = embeddings_of(inputs);
  draft.metadata = mixed_files_metadata(inputs, draft);
  add_history(draft.metadata, "mix", recipe_inputs(inputs), recipe_options(options));
  return draft;
}

MixRecipe read_recipe(const Metadata& metadata) {
  const ordered_json history = history_of(metadata);
  if (history.empty() || history.back().value("operation", "") != "mix")
    throw Error(ErrorKind::bad_input, "the file carries no recipe: its last operation was no mix");
  try {
    const ordered_json& entry = history.back();
    MixRecipe recipe;
    for (const ordered_json& input : entry.at("inputs")) {
      const std::string blocks = input.value("blocks", "");
      recipe.inputs.push_back({input.at("name"), input.at("sha256"), input.at("te"), input.at("unet"),
                               blocks.empty() ? BlockWeights() : BlockWeights::parse(blocks)});
    }
    const ordered_json& options = entry.at("options");
    recipe.options.method = options.at("method");
    recipe.options.ranks = rank_options_of(options);
    recipe.options.density = options.at("density");
    recipe.options.seed = options.at("seed");
    recipe.options.dtype = dtype_of_word(options.at("dtype").get<std::string>());
    if (options.contains("checkpoint")) recipe.checkpoint_sha256 = options["checkpoint"].at("sha256");
    return recipe;
  } catch (const nlohmann::json::exception&) {
    throw Error(ErrorKind::bad_input, "the file's recipe cannot be read");
  }
}

}  // namespace lorikeet
