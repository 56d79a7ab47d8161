#include "training/ema.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "training/saved_state.h"

namespace lorikeet {

Ema::Ema(std::span<const ParameterGroup> groups, double decay) : decay_(decay) {
  if (!(decay > 0 && decay < 1)) {
    throw Error(ErrorKind::bad_input, "the decay of the moving average is " + format_number(decay) + "; it must be between 0 and 1",
                "0.999 is usual");
  }
  for (const ParameterGroup& group : groups) {
    for (const auto& [name, tensor] : group.parameters) pairs_.push_back({name, tensor, tensor.detach().clone()});
  }
}

std::vector<SliceRow> Ema::rows() const {
  std::vector<SliceRow> rows;
  for (const Pair& pair : pairs_) rows.push_back({{pair.average, pair.parameter}});
  return rows;
}

void Ema::update() {
  if (swapped_) throw Error(ErrorKind::internal, "the moving average was updated while it stood in for the parameters");
  const double n = static_cast<double>(updates_++), decay = std::min(decay_, (1 + n) / (10 + n));
  for_each_slice(rows(), Cutting::pieces, [=](Slice& slice) {
    for (size_t i = 0; i < slice.lists[0].size(); ++i) slice.lists[0][i].lerp_(slice.lists[1][i], 1 - decay);
    return SliceSums{};
  });
}

void Ema::swap() {
  for_each_slice(rows(), Cutting::pieces, [](Slice& slice) {
    for (size_t i = 0; i < slice.lists[0].size(); ++i) {
      const Tensor average = slice.lists[0][i].clone();
      slice.lists[0][i].copy_(slice.lists[1][i]);
      slice.lists[1][i].copy_(average);
    }
    return SliceSums{};
  });
  swapped_ = !swapped_;
}

std::vector<NamedTensor> Ema::state() const {
  if (swapped_) throw Error(ErrorKind::internal, "the moving average was asked for its state while it stood in for the parameters");
  std::vector<NamedTensor> result{{"updates", torch::tensor(updates_, torch::kLong)}};
  for (const Pair& pair : pairs_) {
    result.push_back({"average." + pair.name, pair.average.to(torch::kCPU)});
  }
  return result;
}

void Ema::load_state(const std::vector<NamedTensor>& state) {
  SavedState saved(state, "the moving average");
  const auto updates = saved.take("updates", {}).item<int64_t>();
  std::vector<Tensor> averages;
  for (const Pair& pair : pairs_) averages.push_back(saved.take("average." + pair.name, pair.average.sizes()));
  saved.expect_all_taken();
  for (size_t i = 0; i < pairs_.size(); ++i) pairs_[i].average.copy_(averages[i]);
  updates_ = updates;
}

}  // namespace lorikeet
