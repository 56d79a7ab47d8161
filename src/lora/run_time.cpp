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
};

bool is_low_rank(const LoraTerms& terms) {
  return std::ranges::all_of(terms, [](const LoraTerm& term) { return term.adapter->has_residual(); });
}

Work dense_work(const Layer& layer, const LoraTerms& terms, size_t shares) {
  torch::NoGradGuard no_grad;
  const Compute& compute = layer.compute();
  const MergedLayer merged = merged_layer(layer, terms);
  Work work{nullptr, {}, {}, std::vector<float>(shares, 0)};
  work.weight = (merged.weight - layer.base_weight().to(torch::kFloat32)).to(compute.device, compute.dtype);
  if (merged.bias.defined()) {
    const Tensor& bias = layer.base_bias();
    work.bias = (bias.defined() ? merged.bias - bias.to(torch::kFloat32) : merged.bias).to(compute.device, compute.dtype);
  }
  return work;
}

std::vector<Work> plan(const Layer& layer, const std::vector<LoraTerms>& rows) {
  std::vector<Work> all;
  for (size_t share = 0; share < rows.size(); ++share) {
    if (rows[share].empty()) continue;
    if (!is_low_rank(rows[share])) {
      const auto same = std::ranges::find(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(share), rows[share]);
      const auto first = static_cast<size_t>(same - rows.begin());
      if (first == share) all.push_back(dense_work(layer, rows[share], rows.size()));
      // The dense work of the first share with these terms; it is the only one whose multiplier there is 1 and that has no adapter.
      const auto work = first == share ? all.end() - 1
                                       : std::ranges::find_if(all, [&](const Work& w) { return !w.adapter && w.multipliers[first] == 1; });
      work->multipliers[share] = 1;
      continue;
    }
    for (const LoraTerm& term : rows[share]) {
      auto work = std::ranges::find(all, term.adapter, &Work::adapter);
      if (work == all.end()) work = all.insert(all.end(), Work{term.adapter, {}, {}, std::vector<float>(rows.size(), 0)});
      work->multipliers[share] += static_cast<float>(term.multiplier);
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

// The rows of the batch with a multiplier other than 0, and those multipliers.
struct Rows {
  std::vector<int64_t> index;
  std::vector<float> multipliers;
};

Rows rows_of(const Work& work, int64_t batch) {
  const int64_t each = batch / static_cast<int64_t>(work.multipliers.size());
  Rows rows;
  for (int64_t row = 0; row < batch; ++row) {
    const float multiplier = work.multipliers[static_cast<size_t>(row / each)];
    if (multiplier == 0) continue;
    rows.index.push_back(row);
    rows.multipliers.push_back(multiplier);
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
  const Tensor multipliers = all_one(rows.multipliers) ? Tensor() : torch::tensor(rows.multipliers, torch::kFloat32);
  const auto count = static_cast<int64_t>(rows.index.size());
  if (count == batch) {
    const Tensor added = apply(work, layer, x, multipliers);
    y = y.defined() ? y + added : added;
    return;
  }
  const bool together = rows.index.back() - rows.index.front() + 1 == count;
  const Tensor index = together ? Tensor() : torch::tensor(rows.index, torch::kInt64).to(x.device());
  const Tensor chosen = together ? x.narrow(0, rows.index.front(), count) : x.index_select(0, index);
  const Tensor added = apply(work, layer, chosen, multipliers);
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

}  // namespace lorikeet
