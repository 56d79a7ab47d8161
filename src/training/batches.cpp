#include "training/batches.h"

#include <algorithm>

#include "base/error.h"
#include "training/random.h"

namespace lorikeet {

namespace {

// Fisher and Yates, from the front.
template <class T>
void shuffle(std::vector<T>& items, uint64_t random) {
  for (size_t i = 0; i + 1 < items.size(); ++i) {
    const auto left = static_cast<int64_t>(items.size() - i);
    std::swap(items[i], items[i + static_cast<size_t>(below(random_bits(random, "swap", i), left))]);
  }
}

std::vector<size_t> shuffled(std::vector<size_t> items, uint64_t random) {
  shuffle(items, random);
  return items;
}

}  // namespace

BatchPlan::BatchPlan(const Dataset& dataset, const TrainConfig& config, int global_batch)
    : by_bucket_(dataset.buckets.size()),
      class_by_bucket_(dataset.buckets.size()),
      seed_(static_cast<uint64_t>(config.seed)),
      flip_(config.flip) {
  if (global_batch < 1) throw Error(ErrorKind::bad_input, "a batch of " + std::to_string(global_batch) + " pictures");
  global_batch_ = static_cast<size_t>(global_batch);
  Indices all_class;
  for (size_t i = 0; i < dataset.pictures.size(); ++i) {
    const TrainPicture& picture = dataset.pictures[i];
    Indices& to = (picture.is_class ? class_by_bucket_ : by_bucket_)[picture.bucket];
    to.insert(to.end(), static_cast<size_t>(std::max(1, picture.repeats)), i);
    if (picture.is_class) all_class.push_back(i);
  }
  for (size_t b = 0; b < by_bucket_.size(); ++b) {
    if (class_by_bucket_[b].empty()) class_by_bucket_[b] = all_class;
    const size_t rows = by_bucket_[b].size() * (all_class.empty() ? 1 : 2), batches = (rows + global_batch_ - 1) / global_batch_;
    batches_per_epoch_ += static_cast<int64_t>(batches);
    filled_up_ += static_cast<int64_t>(batches * global_batch_ - rows);
  }
  if (batches_per_epoch_ == 0) throw Error(ErrorKind::bad_input, "there are no pictures to train on");
}

std::vector<Draw> BatchPlan::rows_of_bucket(size_t bucket, int64_t epoch) const {
  const Indices pictures = shuffled(by_bucket_[bucket], random_bits(seed_, "order", static_cast<uint64_t>(epoch), bucket));
  const Indices& of_class = class_by_bucket_[bucket];
  Indices class_order;
  uint64_t shown_order = ~uint64_t{0};
  std::vector<Draw> rows;
  for (size_t i = 0; i < pictures.size(); ++i) {
    rows.push_back({pictures[i], bucket});
    if (of_class.empty()) continue;
    const uint64_t at = static_cast<uint64_t>(epoch) * pictures.size() + i, order = at / of_class.size();
    if (order != shown_order) class_order = shuffled(of_class, random_bits(seed_, "class order", order, bucket));
    shown_order = order;
    rows.push_back({class_order[at % of_class.size()], bucket});
  }
  return rows;
}

std::vector<std::vector<Draw>> BatchPlan::epoch(int64_t number) const {
  std::vector<std::vector<Draw>> batches;
  for (size_t b = 0; b < by_bucket_.size(); ++b) {
    const std::vector<Draw> rows = rows_of_bucket(b, number);
    for (size_t begin = 0; begin < rows.size(); begin += global_batch_) {
      std::vector<Draw>& batch = batches.emplace_back();
      for (size_t i = 0; i < global_batch_; ++i) batch.push_back(rows[(begin + i) % rows.size()]);
    }
  }
  shuffle(batches, random_bits(seed_, "batches", static_cast<uint64_t>(number)));
  uint64_t next = static_cast<uint64_t>(number) * batches.size() * global_batch_;
  for (auto& batch : batches) {
    for (Draw& draw : batch) {
      draw.batch = next / global_batch_;
      draw.number = next++;
      draw.flipped = flip_ && (random_bits(seed_, "flip", draw.number) & 1) != 0;
    }
  }
  return batches;
}

std::vector<Draw> BatchPlan::batch(int64_t index) const {
  const int64_t number = index / batches_per_epoch_;
  if (number != cached_epoch_) {
    cached_ = epoch(number);
    cached_epoch_ = number;
  }
  return cached_[static_cast<size_t>(index % batches_per_epoch_)];
}

std::span<const Draw> rows_of_process(const std::vector<Draw>& global_batch, int rank, int processes) {
  const size_t count = global_batch.size() / static_cast<size_t>(processes);
  return std::span(global_batch).subspan(static_cast<size_t>(rank) * count, count);
}

}  // namespace lorikeet
