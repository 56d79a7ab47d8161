#include "lora/surgery/extract.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/text.h"
#include "lora/blocks.h"
#include "lora/surgery/option_words.h"

namespace lorikeet {
namespace {

bool same_matrix(torch::IntArrayRef a, torch::IntArrayRef b) {
  const auto count = [](torch::IntArrayRef shape) { return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>()); };
  return !a.empty() && !b.empty() && a[0] == b[0] && count(a) == count(b);
}

// tuned − base, float32; undefined where no entry differs by more than `least`.
Tensor difference(const Tensor& base, const Tensor& tuned, double least) {
  if (!base.defined() || !tuned.defined()) return {};
  Tensor change = tuned.to(torch::kFloat, /*non_blocking=*/false, /*copy=*/true).reshape(base.sizes());
  change.sub_(base);
  const auto [low, high] = torch::aminmax(change);
  const double largest = std::max(std::abs(low.item<double>()), std::abs(high.item<double>()));
  if (!std::isfinite(low.item<double>()) || !std::isfinite(high.item<double>()))
    throw Error(ErrorKind::bad_input, "the difference of the checkpoints holds NaN or infinity", "one of the two files is broken");
  return largest > least ? change : Tensor();
}

// kohya's sd-scripts, networks/extract_lora_from_models.py: entries beyond the quantile of both factors' entries.
void clamp_factors(LowRank& factors, double quantile) {
  if (quantile >= 1) return;
  const Tensor magnitudes = torch::cat({factors.up.flatten(), factors.down.flatten()}).abs();
  const auto place = static_cast<int64_t>(std::llround(quantile * static_cast<double>(magnitudes.numel() - 1)));
  const double most = std::get<0>(magnitudes.kthvalue(place + 1)).item<double>();
  factors.up.clamp_(-most, most);
  factors.down.clamp_(-most, most);
}

class Extraction {
 public:
  explicit Extraction(const ExtractOptions& options) : options_(options) {
    const bool ruled = !options.ranks.rule.empty();
    exact_ = options.exact || (ruled && !find_rank_rule(options.ranks.rule).leading_suffice);
  }

  // Nothing: the layers do not differ, or in a way that a LoRA does not hold (then `left_out` is set).
  std::vector<DraftTensor> take(const Layer& base, const Layer& tuned, LayerResult& layer, bool& left_out) const {
    Change change;
    change.shape = base.base_weight().sizes().vec();
    change.whole = difference(base.base_weight(), tuned.base_weight(), options_.min_difference);
    change.bias = difference(base.base_bias(), tuned.base_bias(), options_.min_difference);
    std::vector<DraftTensor> tensors;
    const bool wanted = change.is_matrix() && base.geometry().op != LayerOp::embedding && (options_.convolutions || !change.has_kernel());
    if (change.whole.defined() && wanted) tensors = factors_of(change, layer);
    if (options_.rest && !change.is_matrix()) return whole_difference(change, options_.dtype);
    if (options_.rest && wanted) add_bias(tensors, change, options_.dtype);
    left_out = (change.whole.defined() && !wanted) || (change.bias.defined() && !options_.rest);
    return tensors;
  }

 private:
  std::vector<DraftTensor> factors_of(const Change& change, LayerResult& layer) const {
    const Tensor matrix = change.whole.flatten(1);
    const int64_t length = std::min(matrix.size(0), matrix.size(1));
    const int64_t most = most_ranks(options_.ranks, layer.path, change.has_kernel(), length);
    const Decomposition parts = exact_ ? Decomposition::exact(matrix) : Decomposition::leading(matrix, most, options_.seed);
    layer.rank = choose_rank(options_.ranks, layer.path, change.has_kernel(), parts);
    layer.norm = parts.norm();
    layer.error = parts.error(layer.rank);
    LowRank factors = parts.truncated(layer.rank);
    if (options_.clamp_quantile < 1) {
      clamp_factors(factors, options_.clamp_quantile);
      const double wrong = (matrix - torch::matmul(factors.up, factors.down)).to(torch::kDouble).square().sum().item<double>();
      layer.error = std::sqrt(wrong) / layer.norm;
    }
    return plain_lora(factors, change.shape, options_.dtype);
  }

  const ExtractOptions& options_;
  bool exact_ = false;
};

struct FamilyWords {
  std::string_view family, base, v2, architecture;
};
// kohya's and Stability's words (docs/formats.md). A start is enough: "sd1-inpaint" is "sd1".
constexpr FamilyWords kFamilies[] = {{"sdxl", "sdxl_base_v1-0", "False", "stable-diffusion-xl-v1-base/lora"},
                                     {"sd2", "sd_v2", "True", "stable-diffusion-v2-768-v/lora"},
                                     {"sd1", "sd_v1", "False", "stable-diffusion-v1/lora"}};

Metadata metadata_of(const LoraDraft& draft, const ExtractOptions& options) {
  Metadata metadata{{"ss_network_module", "networks.lora"}, {"ss_network_dim", ""}, {"ss_network_alpha", ""}, {"ss_network_args", "{}"}};
  for (const FamilyWords& words : kFamilies) {
    if (!starts_with(options.family, words.family)) continue;
    metadata["ss_base_model_version"] = words.base;
    metadata["ss_v2"] = words.v2;
    metadata["modelspec.architecture"] = words.architecture;
    metadata["modelspec.sai_model_spec"] = "1.0.0";
  }
  const RankCounts counts = rank_counts(draft);
  note_ranks(metadata, counts.ranks, counts.alphas);
  return metadata;
}

}  // namespace

nlohmann::ordered_json option_words(const ExtractOptions& options) {
  nlohmann::ordered_json words = option_words(options.ranks);
  words["convolutions"] = options.convolutions;
  words["text_encoder"] = options.text_encoder;
  words["rest"] = options.rest;
  words["exact"] = options.exact;
  words["min_difference"] = options.min_difference;
  words["clamp_quantile"] = options.clamp_quantile;
  words["seed"] = options.seed;
  words["dtype"] = dtype_word(options.dtype);
  return words;
}

LoraDraft extract(const LayerMap& base, const LayerMap& tuned, const ExtractOptions& options, ExtractResult& result, Progress& progress,
                  const std::function<void()>& after_layers) {
  check(options.ranks);
  if (!(options.clamp_quantile > 0 && options.clamp_quantile <= 1))
    throw Error(ErrorKind::bad_input, "the quantile is above 0 and at most 1, not " + format_number(options.clamp_quantile));
  std::vector<std::string> paths;
  for (const auto& [path, layer] : base) {
    if (starts_with(path, "vae.") || (!options.text_encoder && starts_with(path, "text_encoder"))) continue;
    const auto other = tuned.find(path);
    const bool fits = other != tuned.end() && same_matrix(layer->base_weight().sizes(), other->second->base_weight().sizes());
    (fits ? paths : result.only_one).push_back(path);
  }
  for (const auto& [path, layer] : tuned)
    if (!base.contains(path) && !starts_with(path, "vae.")) result.only_one.push_back(path);
  if (paths.empty()) throw Error(ErrorKind::bad_input, "the checkpoints have no layer in common", "both are to be of one family");
  int64_t longest = 0;
  for (const std::string& path : paths) longest = std::max(longest, longest_rank(base.at(path)->base_weight().sizes()));
  refuse_larger(options.ranks, longest);
  const Extraction extraction(options);
  std::vector<DraftModule> modules(paths.size());
  std::vector<LayerResult> layers(paths.size());
  std::vector<char> left_out(paths.size());
  std::atomic<int64_t> read{0};
  for_each_layer(paths, "extracting", progress, [&](size_t i, const std::string& path) {
    layers[i].path = path;
    layers[i].block = block_of(path);
    bool out = false;
    modules[i].tensors = extraction.take(*base.at(path), *tuned.at(path), layers[i], out);
    left_out[i] = out;
    constexpr int64_t kNumbersBetween = int64_t{64} << 20;
    const int64_t numbers = base.at(path)->base_weight().numel();
    const int64_t before = read.fetch_add(numbers);
    if (after_layers && before / kNumbersBetween != (before + numbers) / kNumbersBetween) after_layers();
  });
  LoraDraft draft;
  for (size_t i = 0; i < paths.size(); ++i) {
    if (left_out[i]) result.different.push_back(paths[i]);
    if (modules[i].tensors.empty()) {
      result.same += left_out[i] ? 0 : 1;
      continue;
    }
    draft.modules[paths[i]] = std::move(modules[i]);
    result.layers.push_back(std::move(layers[i]));
  }
  if (draft.modules.empty())
    throw Error(ErrorKind::bad_input, "the checkpoints do not differ in any layer that a LoRA could change",
                options.min_difference > 0 ? "lower --min-diff" : "are they the same file?");
  draft.metadata = metadata_of(draft, options);
  return draft;
}

}  // namespace lorikeet
