// Which pictures a step sees. A pure function of the settings and the step's number: an epoch goes through every picture `repeats` times in
// a random order, a batch holds pictures of one bucket only, and process r of N takes rows r·B … of each global batch of N·B rows.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "training/dataset.h"

namespace lorikeet {

// One row of a batch.
struct Draw {
  size_t picture = 0;   // index into Dataset::pictures
  size_t bucket = 0;    // the batch's: a class picture may be wanted in another bucket than its own
  uint64_t number = 0;  // the how-many-th draw of the run this is, over all processes: the counter of its noise, timestep, caption
  bool flipped = false;
  uint64_t batch = 0;  // the how-many-th global batch of the run it stands in
  auto operator<=>(const Draw&) const = default;
};

class BatchPlan {
 public:
  // global_batch: batch_size · processes. A bucket's last batch of an epoch is filled up from the bucket's own order, so that all batches
  // are full. With class pictures the rows of a bucket are a picture and a class picture by turns (in batches of an odd size the next batch
  // goes on where the last one ended), and an epoch is one pass over the pictures. The class pictures are those of the bucket, or all of
  // them, cropped to it, where it has none; they are gone through in random orders, one after another, on through the epochs.
  // Error{bad_input}: no pictures, global_batch below 1.
  BatchPlan(const Dataset& dataset, const TrainConfig& config, int global_batch);

  int64_t batches_per_epoch() const { return batches_per_epoch_; }
  // Rows of an epoch that are there only to fill batches up.
  int64_t filled_up() const { return filled_up_; }
  // The rows of global batch `index` (counted over the whole run; epoch = index / batches_per_epoch()). Keeps the last epoch: for one
  // thread.
  std::vector<Draw> batch(int64_t index) const;

 private:
  using Indices = std::vector<size_t>;
  std::vector<std::vector<Draw>> epoch(int64_t number) const;
  std::vector<Draw> rows_of_bucket(size_t bucket, int64_t epoch) const;

  std::vector<Indices> by_bucket_, class_by_bucket_;  // indices, repeated
  uint64_t seed_ = 0;
  bool flip_ = false;
  size_t global_batch_ = 1;
  int64_t batches_per_epoch_ = 0, filled_up_ = 0;
  mutable int64_t cached_epoch_ = -1;
  mutable std::vector<std::vector<Draw>> cached_;
};

// The rows of a global batch that are process `rank`'s, of `processes`.
std::span<const Draw> rows_of_process(const std::vector<Draw>& global_batch, int rank, int processes);

}  // namespace lorikeet
