#include "lora/apply.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "lora/run_time.h"
#include "nn/kernels/kernels.h"
#include "nn/kernels/parallel.h"

namespace lorikeet {
namespace {

void sort_by_size(std::vector<Layer*>& layers) {
  std::ranges::stable_sort(layers, [](const Layer* a, const Layer* b) { return a->base_weight().numel() > b->base_weight().numel(); });
}

// A few output rows at a time, so that the float32 rows stay in the cache.
Tensor weight_merged_by_rows(const Tensor& base, const LoraTerms& terms, Dtype dtype) {
  constexpr int64_t kCachedNumbers = 128 * 1024;  // 512 KiB, a quarter of a core's second-level cache
  Tensor result = torch::empty(base.sizes(), base.options().dtype(dtype).memory_format(torch::MemoryFormat::Contiguous));
  const Tensor from = base.flatten(1);
  const Tensor to = result.view({base.size(0), -1});
  const int64_t columns = from.size(1), step = std::max<int64_t>(16, kCachedNumbers / std::max<int64_t>(columns, 1));
  const Tensor scratch = torch::empty({std::min(step, base.size(0)), columns}, torch::kFloat);
  for (int64_t first = 0; first < base.size(0); first += step) {
    const int64_t count = std::min(step, base.size(0) - first);
    Tensor rows = scratch.narrow(0, 0, count);
    kernels::convert(from.narrow(0, first, count), rows);
    for (const LoraTerm& term : terms) term.adapter->merge_rows(rows, first, term.multiplier);
    kernels::convert(rows, to.narrow(0, first, count));
  }
  return result;
}

Tensor merged_weight(const Layer& layer, const LoraTerms& terms, Dtype dtype) {
  const Tensor& base = layer.base_weight();
  if (base.dim() >= 2 && std::ranges::all_of(terms, [](const LoraTerm& term) { return term.adapter->merges_rows(); }))
    return weight_merged_by_rows(base, terms, dtype);
  Tensor weight = base.to(torch::kFloat, false, true).contiguous();
  for (const LoraTerm& term : terms) term.adapter->merge_into(weight, term.multiplier);
  return weight.to(dtype);
}

bool has_region(const LoraTerms& terms) {
  return std::ranges::any_of(terms, [](const LoraTerm& term) { return term.region != nullptr; });
}

std::vector<Region> regions_of(const LoraSet& set) {
  std::vector<Region> regions;
  for (const LoraUse& use : set)
    if (use.region && std::ranges::find(regions, use.region) == regions.end()) regions.push_back(use.region);
  return regions;
}

}  // namespace

MergedLayer merged_layer(const Layer& layer, const LoraTerms& terms, Dtype dtype) {
  torch::NoGradGuard no_grad;
  MergedLayer merged{merged_weight(layer, terms, dtype), layer.base_bias()};
  bool bias_changed = false;
  for (const LoraTerm& term : terms) {
    if (!term.adapter->changes_bias()) continue;
    if (!bias_changed && merged.bias.defined()) merged.bias = merged.bias.to(torch::kFloat);
    merged.bias = term.adapter->merge_bias(merged.bias, term.multiplier);
    bias_changed = true;
  }
  if (!bias_changed) merged.bias = Tensor();
  return merged;
}

std::shared_ptr<const Adapter> LoraApplier::cut(const std::shared_ptr<const Adapter>& adapter, std::optional<int64_t> rank) {
  if (!rank) return adapter;
  const auto [entry, fresh] = cut_.try_emplace({adapter, *rank});
  if (fresh) entry->second = adapter->truncated(*rank);
  return entry->second ? entry->second : adapter;
}

LoraTerms LoraApplier::terms_of(const LoraSet& set, const std::string& path) {
  const bool unet = starts_with(path, "unet.");
  LoraTerms terms;
  for (const LoraUse& use : set) {
    const auto found = use.lora->adapters.find(path);
    if (found == use.lora->adapters.end()) continue;
    const Region region = unet ? use.region : nullptr;
    if (region && is_placeless(path)) continue;
    const auto adapter = cut(found->second, use.dyn);
    double multiplier = unet ? use.unet : use.te;
    if (use.blocks) multiplier *= use.blocks->at(path);
    const auto same = std::ranges::find_if(terms, [&](const LoraTerm& term) { return term.adapter == adapter && term.region == region; });
    if (same == terms.end())
      terms.push_back({adapter, multiplier, region});
    else
      same->multiplier += multiplier;
  }
  std::erase_if(terms, [](const LoraTerm& term) { return term.multiplier == 0; });
  return terms;
}

void LoraApplier::change(std::vector<Layer*> layers) {
  sort_by_size(layers);
  try {
    kernels::parallel(static_cast<int64_t>(layers.size()), [&](int64_t i) {
      torch::NoGradGuard no_grad;  // the guard is each thread's own
      Layer& layer = *layers[static_cast<size_t>(i)];
      const Applied& wanted = applied_.at(layer.path());
      layer.set_run_time_terms({});
      layer.set_variants(nullptr);
      if (wanted.merged) {
        // Norms and biases stay float32; a matrix is needed in the compute dtype only.
        const bool matrix = layer.base_weight().dim() >= 2;
        MergedLayer merged = merged_layer(layer, wanted.rows.front(), matrix ? layer.compute().dtype : torch::kFloat);
        layer.set_merged(std::move(merged.weight), std::move(merged.bias));
        return;
      }
      layer.clear_merged();
      if (!wanted.regions.empty())
        layer.set_variants(std::make_shared<const LayerVariants>(run_time_variants(layer, wanted.rows, wanted.regions)));
      else if (!wanted.rows.empty())
        layer.set_run_time_terms({run_time_term(layer, wanted.rows)});
    });
  } catch (...) {  // out of memory, most likely: back to a state that is known
    for (Layer* layer : layers) {
      layer->set_run_time_terms({});
      layer->set_variants(nullptr);
      layer->clear_merged();
      applied_.erase(layer->path());
    }
    throw;
  }
}

void LoraApplier::merge(const LoraSet& set, std::string_view component) {
  std::vector<Layer*> changed;
  for (const auto& [path, layer] : layers_) {
    if (!starts_with(path, component)) continue;
    Applied wanted{true, {terms_of(set, path)}, {}};
    if (has_region(wanted.rows.front())) throw Error(ErrorKind::internal, "a LoRA that works in a region cannot be merged");
    if (wanted.rows.front().empty()) wanted = {};
    Applied& applied = applied_[path];
    if (applied == wanted) continue;
    applied = std::move(wanted);
    changed.push_back(layer.get());
  }
  change(changed);
}

void LoraApplier::attach(std::span<const LoraSet> sets, std::string_view component) {
  std::vector<Layer*> changed;
  for (const auto& [path, layer] : layers_) {
    if (!starts_with(path, component)) continue;
    Applied wanted;
    for (const LoraSet& set : sets) wanted.rows.push_back(terms_of(set, path));
    if (std::ranges::all_of(wanted.rows, &LoraTerms::empty)) wanted = {};
    if (reads_text(path) && std::ranges::any_of(wanted.rows, has_region))
      for (const LoraSet& set : sets) wanted.regions.push_back(regions_of(set));
    Applied& applied = applied_[path];
    if (applied == wanted) continue;
    applied = std::move(wanted);
    changed.push_back(layer.get());
  }
  change(changed);
  if (sets.empty() && component.empty()) cut_.clear();
}

bool is_low_rank(const LoraSet& set) {
  return std::ranges::all_of(set, [](const LoraUse& use) {
    return std::ranges::all_of(use.lora->adapters, [](const auto& entry) { return entry.second->has_residual(); });
  });
}

bool has_regions(const LoraSet& set) {
  return std::ranges::any_of(set, [](const LoraUse& use) { return use.region != nullptr; });
}

int placeless_layers(const LoadedLora& lora) {
  return static_cast<int>(std::ranges::count_if(lora.adapters, [](const auto& entry) { return is_placeless(entry.first); }));
}

bool prefer_merged(const ApplyPlan& plan) {
  if (plan.sets_in_batch > 1) return false;  // one weight cannot serve two sets
  if (plan.merged_now && plan.changes == 0) return true;
  // Measured by `lorikeet bench` on two CPU cores in bfloat16: a merge of a rank-32 file costs about half of one 512² evaluation of SD1.5,
  // as does the dense difference of a kind without a short cut; the short cut costs a twentieth of every evaluation, a dense difference
  // doubles it.
  constexpr double kMerge = 0.5, kShortCut = 0.05, kDense = 1.0;
  const double merged = kMerge * (1 + plan.changes);
  const double at_run_time = (plan.low_rank ? kShortCut : kDense) * plan.evaluations * plan.pictures + (plan.low_rank ? 0 : merged);
  return merged <= at_run_time;
}

}  // namespace lorikeet
