#include "lora/run_time.h"

#include <algorithm>

#include "base/error.h"

namespace lorikeet {
namespace {

// One adapter, or one dense difference, and the shares of the batch that it is for.
struct Work {
  std::shared_ptr<const Adapter> adapter;  // null: dense
  Tensor weight, bias;                     // dense: W' − W and b' − b (maybe undefined), in the compute dtype
  std::vector<float> multipliers;          // per share; dense: 1 or 0
  std::vector<Region> regions;             // per share; null: everywhere
};

bool is_low_rank(const LoraTerms& terms) {
  return std::ranges::all_of(terms, [](const LoraTerm& term) { return term.adapter->has_residual(); });
}

// The terms that work where exactly these regions are.
LoraTerms terms_inside(const LoraTerms& terms, const std::vector<Region>& inside) {
  LoraTerms chosen;
  for (const LoraTerm& term : terms)
    if (!term.region || std::ranges::find(inside, term.region) != inside.end()) chosen.push_back(term);
  return chosen;
}

std::vector<RegionPart> parts_of(const LoraTerms& terms) {
  std::vector<Region> regions;
  for (const LoraTerm& term : terms)
    if (term.region && std::ranges::find(regions, term.region) == regions.end()) regions.push_back(term.region);
  return regions.empty() ? std::vector<RegionPart>{{nullptr, {}}} : divide(regions);
}

Work dense_difference(const Layer& layer, const LoraTerms& terms, size_t shares) {
  torch::NoGradGuard no_grad;
  const Compute& compute = layer.compute();
  const MergedLayer merged = merged_layer(layer, terms);
  Work work{nullptr, {}, {}, std::vector<float>(shares, 0), std::vector<Region>(shares)};
  work.weight = (merged.weight - layer.base_weight().to(torch::kFloat)).to(compute.device, compute.dtype);
  if (merged.bias.defined()) {
    const Tensor& bias = layer.base_bias();
    work.bias = (bias.defined() ? merged.bias - bias.to(torch::kFloat) : merged.bias).to(compute.device, compute.dtype);
  }
  return work;
}

// One for each part of the picture in which the share's terms differ.
void add_dense(std::vector<Work>& all, const Layer& layer, const std::vector<LoraTerms>& rows, size_t share) {
  const auto same = std::ranges::find(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(share), rows[share]);
  const auto first = static_cast<size_t>(same - rows.begin());
  if (first != share) {  // that share's works serve this one too: those without an adapter and with the multiplier 1 there
    for (Work& work : all)
      if (!work.adapter && work.multipliers[first] == 1) work.multipliers[share] = 1, work.regions[share] = work.regions[first];
    return;
  }
  for (const RegionPart& part : parts_of(rows[share])) {
    const LoraTerms terms = terms_inside(rows[share], part.inside);
    if (terms.empty()) continue;
    all.push_back(dense_difference(layer, terms, rows.size()));
    all.back().multipliers[share] = 1;
    all.back().regions[share] = part.share;
  }
}

std::vector<Work> plan(const Layer& layer, const std::vector<LoraTerms>& rows) {
  std::vector<Work> all;
  for (size_t share = 0; share < rows.size(); ++share) {
    if (!is_low_rank(rows[share])) {
      add_dense(all, layer, rows, share);
      continue;
    }
    for (const LoraTerm& term : rows[share]) {
      // The same adapter in two regions of a share is two works.
      const auto is_free = [&](const Work& work) { return work.adapter == term.adapter && work.multipliers[share] == 0; };
      auto work = std::ranges::find_if(all, is_free);
      if (work == all.end())
        work = all.insert(all.end(), Work{term.adapter, {}, {}, std::vector<float>(rows.size(), 0), std::vector<Region>(rows.size())});
      work->multipliers[share] = static_cast<float>(term.multiplier);
      work->regions[share] = term.region;
    }
  }
  return all;
}

Tensor apply(const Work& work, const Layer& layer, const Tensor& x, const Tensor& row_multipliers) {
  if (!work.adapter) return layer.plain(x, work.weight, work.bias);
  const auto added = work.adapter->residual(layer, x, row_multipliers);
  if (!added) throw Error(ErrorKind::internal, "an adapter without its low-rank form on " + layer.path());
  return *added;
}

// What is added, where the regions of its rows are. added: [B, …]
Tensor inside(const Tensor& added, const std::vector<Region>& regions) {
  const Region& first = regions.front();
  if (std::ranges::all_of(regions, [&](const Region& region) { return region == first; }))
    return first ? added * first->over(added) : added;
  std::vector<Tensor> rows;
  for (size_t i = 0; i < regions.size(); ++i) {
    const Tensor row = added.narrow(0, static_cast<int64_t>(i), 1);
    rows.push_back(regions[i] ? row * regions[i]->over(row) : row);
  }
  return torch::cat(rows);
}

// The rows of the batch with a multiplier other than 0, and those multipliers.
struct Rows {
  std::vector<int64_t> index;
  std::vector<float> multipliers;
  std::vector<Region> regions;
};

Rows rows_of(const Work& work, int64_t batch) {
  const int64_t each = batch / static_cast<int64_t>(work.multipliers.size());
  Rows rows;
  for (int64_t row = 0; row < batch; ++row) {
    const float multiplier = work.multipliers[static_cast<size_t>(row / each)];
    if (multiplier == 0) continue;
    rows.index.push_back(row);
    rows.multipliers.push_back(multiplier);
    rows.regions.push_back(work.regions[static_cast<size_t>(row / each)]);
  }
  return rows;
}

bool all_one(const std::vector<float>& multipliers) {
  return std::ranges::all_of(multipliers, [](float multiplier) { return multiplier == 1; });
}

// y, made on first use, plus what the work adds to its rows.
void add_work(Tensor& y, const Work& work, const Layer& layer, const Tensor& x) {
  const int64_t batch = x.size(0);
  const Rows rows = rows_of(work, batch);
  if (rows.index.empty()) return;
  const Tensor multipliers = all_one(rows.multipliers) ? Tensor() : torch::tensor(rows.multipliers, torch::kFloat);
  const auto count = static_cast<int64_t>(rows.index.size());
  if (count == batch) {
    const Tensor added = inside(apply(work, layer, x, multipliers), rows.regions);
    y = y.defined() ? y + added : added;
    return;
  }
  const bool together = rows.index.back() - rows.index.front() + 1 == count;
  const Tensor index = together ? Tensor() : torch::tensor(rows.index, torch::kLong).to(x.device());
  const Tensor chosen = together ? x.narrow(0, rows.index.front(), count) : x.index_select(0, index);
  const Tensor added = inside(apply(work, layer, chosen, multipliers), rows.regions);
  if (!y.defined()) {
    Shape shape = added.sizes().vec();
    shape[0] = batch;
    y = torch::zeros(shape, added.options());
  }
  if (together)
    y.narrow(0, rows.index.front(), count).add_(added);
  else
    y.index_add_(0, index, added);
}

LoraTerms terms_everywhere(LoraTerms terms) {
  for (LoraTerm& term : terms) term.region = nullptr;
  return terms;
}

Region nowhere_like(const std::vector<std::vector<Region>>& regions) {
  const auto any = std::ranges::find_if(regions, [](const auto& of_row) { return !of_row.empty(); });
  return std::make_shared<const RegionMask>(torch::zeros_like(any->front()->mask()));
}

}  // namespace

RunTimeTerm run_time_term(const Layer& layer, std::vector<LoraTerms> rows) {
  const auto shares = static_cast<int64_t>(rows.size());
  return [works = plan(layer, rows), shares](const Layer& layer, const Tensor& x) {
    if (x.dim() == 0 || x.size(0) % shares != 0)
      throw Error(ErrorKind::internal,
                  "a batch of shape " + to_string(x.sizes()) + " for " + std::to_string(shares) + " LoRA sets at " + layer.path());
    Tensor y;
    for (const Work& work : works) add_work(y, work, layer, x);
    return y;
  };
}

LayerVariants run_time_variants(const Layer& layer, const std::vector<LoraTerms>& rows, const std::vector<std::vector<Region>>& regions) {
  std::vector<std::vector<RegionPart>> parts;  // of each row
  size_t most = 0;
  for (const auto& of_row : regions) {
    parts.push_back(of_row.empty() ? std::vector<RegionPart>{{nullptr, {}}} : divide(of_row));
    most = std::max(most, parts.back().size());
  }
  LayerVariants variants;
  std::vector<std::vector<Region>> shares(most);  // of each variant and row; a row with fewer parts has no share in the rest
  for (size_t v = 0; v < most; ++v) {
    std::vector<LoraTerms> terms;
    for (size_t row = 0; row < rows.size(); ++row) {
      const bool there = v < parts[row].size();
      terms.push_back(there ? terms_everywhere(terms_inside(rows[row], parts[row][v].inside)) : LoraTerms{});
      shares[v].push_back(there ? parts[row][v].share : nowhere_like(regions));
    }
    const bool changes = std::ranges::any_of(terms, [](const LoraTerms& of_row) { return !of_row.empty(); });
    variants.terms.push_back(changes ? run_time_term(layer, std::move(terms)) : RunTimeTerm());
  }
  variants.share = [shares = std::move(shares)](size_t v, const Tensor& asking) {
    std::vector<Region> rows;
    const auto each = asking.size(0) / static_cast<int64_t>(shares[v].size());
    for (int64_t row = 0; row < asking.size(0); ++row) rows.push_back(shares[v][static_cast<size_t>(row / each)]);
    return inside(torch::ones({asking.size(0), asking.size(1), 1}, asking.options()), rows);
  };
  return variants;
}

}  // namespace lorikeet
