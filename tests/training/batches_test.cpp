#include "training/batches.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/error.h"

namespace lorikeet {

namespace {
struct Wanted {
  size_t bucket;
  int repeats;
  bool is_class;
};

Dataset dataset_of(const std::vector<Wanted>& wanted) {
  Dataset dataset;
  for (const Wanted& one : wanted) {
    TrainPicture& picture = dataset.pictures.emplace_back();
    picture.bucket = one.bucket, picture.repeats = one.repeats, picture.is_class = one.is_class;
    while (dataset.buckets.size() <= one.bucket) dataset.buckets.push_back({static_cast<int>(64 * (dataset.buckets.size() + 1)), 64});
  }
  return dataset;
}

// Two buckets of 5 and 4 pictures, some repeated.
Dataset two_buckets() {
  return dataset_of({{0, 1, false},
                     {0, 2, false},
                     {0, 1, false},
                     {0, 3, false},
                     {0, 1, false},
                     {1, 1, false},
                     {1, 1, false},
                     {1, 2, false},
                     {1, 4, false}});
}

std::map<size_t, int> counts(const BatchPlan& plan, int64_t epoch) {
  std::map<size_t, int> seen;
  for (int64_t i = 0; i < plan.batches_per_epoch(); ++i)
    for (const Draw& draw : plan.batch(epoch * plan.batches_per_epoch() + i)) ++seen[draw.picture];
  return seen;
}

std::vector<Draw> run(const BatchPlan& plan, int64_t begin, int64_t end) {
  std::vector<Draw> all;
  for (int64_t i = begin; i < end; ++i)
    for (const Draw& draw : plan.batch(i)) all.push_back(draw);
  return all;
}
}  // namespace

TEST(Batches, AnEpochSeesEachPictureRepeatsTimes) {
  const Dataset dataset = two_buckets();
  for (const int size : {1, 2, 4}) {  // both buckets have 8 rows: nothing is filled up
    const BatchPlan plan(dataset, TrainConfig{}, size);
    EXPECT_EQ(plan.batches_per_epoch(), 16 / size);
    EXPECT_EQ(plan.filled_up(), 0);
    for (const int64_t epoch : {0, 1, 7})
      for (const auto& [picture, count] : counts(plan, epoch)) EXPECT_EQ(count, dataset.pictures[picture].repeats) << size;
  }
}

TEST(Batches, TheLastBatchOfABucketIsFilledFromTheBucket) {
  const Dataset dataset = two_buckets();
  const BatchPlan plan(dataset, TrainConfig{}, 3);
  EXPECT_EQ(plan.batches_per_epoch(), 6);
  EXPECT_EQ(plan.filled_up(), 2);
  int extra = 0;
  for (const auto& [picture, count] : counts(plan, 0)) {
    EXPECT_GE(count, dataset.pictures[picture].repeats);
    extra += count - dataset.pictures[picture].repeats;
  }
  EXPECT_EQ(extra, 2);
  EXPECT_EQ(BatchPlan(dataset_of({{0, 1, false}}), TrainConfig{}, 5).batch(0).size(), 5U);
}

TEST(Batches, HoldOneBucketEach) {
  const Dataset dataset = two_buckets();
  const BatchPlan plan(dataset, TrainConfig{}, 3);
  for (int64_t i = 0; i < 20; ++i) {
    for (const Draw& draw : plan.batch(i)) {
      EXPECT_EQ(draw.bucket, plan.batch(i).front().bucket);
      EXPECT_EQ(draw.batch, static_cast<uint64_t>(i));
      EXPECT_EQ(dataset.pictures[draw.picture].bucket, draw.bucket);
    }
  }
}

TEST(Batches, TheOrderDiffersFromEpochToEpochAndFromSeedToSeed) {
  const Dataset dataset = two_buckets();
  TrainConfig other;
  other.seed = 1;
  const BatchPlan plan(dataset, TrainConfig{}, 2), reseeded(dataset, other, 2);
  const auto pictures = [](const std::vector<Draw>& draws) {
    std::vector<size_t> list;
    for (const Draw& draw : draws) list.push_back(draw.picture);
    return list;
  };
  EXPECT_NE(pictures(run(plan, 0, 8)), pictures(run(plan, 8, 16)));
  EXPECT_NE(pictures(run(plan, 0, 8)), pictures(run(reseeded, 0, 8)));
}

TEST(Batches, ARunThatGoesOnInTheMiddleDrawsTheSame) {
  const Dataset dataset = two_buckets();
  TrainConfig config;
  config.flip = true;
  const BatchPlan whole(dataset, config, 3), resumed(dataset, config, 3);
  const auto first = run(whole, 0, 25);
  const auto rest = run(resumed, 10, 25);
  EXPECT_EQ(std::vector<Draw>(first.begin() + 30, first.end()), rest);
}

TEST(Batches, SeveralProcessesTogetherDrawWhatOneDoes) {
  const Dataset dataset = two_buckets();
  TrainConfig config;
  config.flip = true;
  const BatchPlan one(dataset, config, 6);
  for (const int processes : {2, 3, 6}) {
    std::vector<BatchPlan> plans(static_cast<size_t>(processes), BatchPlan(dataset, config, (6 / processes) * processes));
    for (int64_t i = 0; i < 12; ++i) {
      std::vector<Draw> together;
      for (int rank = 0; rank < processes; ++rank) {
        const auto batch = plans[static_cast<size_t>(rank)].batch(i);
        const auto rows = rows_of_process(batch, rank, processes);
        EXPECT_EQ(rows.size(), static_cast<size_t>(6 / processes));
        together.insert(together.end(), rows.begin(), rows.end());
      }
      EXPECT_EQ(together, one.batch(i));
    }
  }
}

TEST(Batches, EveryDrawHasANumberOfItsOwnAndHalfAreFlipped) {
  TrainConfig config;
  config.flip = true;
  const BatchPlan plan(two_buckets(), config, 4);
  std::set<uint64_t> numbers;
  int flipped = 0;
  const auto draws = run(plan, 0, 1000);
  for (const Draw& draw : draws) numbers.insert(draw.number), flipped += draw.flipped;
  EXPECT_EQ(numbers.size(), draws.size());
  EXPECT_EQ(*numbers.rbegin(), draws.size() - 1);
  EXPECT_NEAR(flipped, 2000, 160);  // five deviations of a binomial
  for (const Draw& draw : run(BatchPlan(two_buckets(), TrainConfig{}, 4), 0, 8)) EXPECT_FALSE(draw.flipped);
}

TEST(Batches, PicturesAndClassPicturesTakeTurns) {
  // 4 pictures; 6 class pictures in the same bucket.
  std::vector<Wanted> wanted(4, Wanted{0, 1, false});
  wanted.insert(wanted.end(), 6, Wanted{0, 1, true});
  const Dataset dataset = dataset_of(wanted);
  for (const int size : {1, 2, 4, 8}) {
    const BatchPlan plan(dataset, TrainConfig{}, size);
    EXPECT_EQ(plan.batches_per_epoch(), 8 / size);
    std::map<size_t, int> seen;
    for (int64_t epoch = 0; epoch < 3; ++epoch) {
      int of_class = 0;
      for (const auto& [picture, count] : counts(plan, epoch)) {
        seen[picture] += count;
        if (dataset.pictures[picture].is_class)
          of_class += count;
        else
          EXPECT_EQ(count, 1);
      }
      EXPECT_EQ(of_class, 4);
    }
    for (const auto& [picture, count] : seen) {
      if (!dataset.pictures[picture].is_class) continue;
      EXPECT_EQ(count, 2) << "12 draws of 6 class pictures go through them twice";
    }
    if (size == 1) continue;
    for (int64_t i = 0; i < 4; ++i) {
      const auto batch = plan.batch(i);
      for (size_t row = 0; row < batch.size(); ++row) EXPECT_EQ(dataset.pictures[batch[row].picture].is_class, row % 2 == 1);
    }
  }
}

TEST(Batches, ABucketWithoutClassPicturesTakesThemFromTheOthers) {
  const Dataset dataset = dataset_of({{0, 1, false}, {1, 1, false}, {1, 1, true}});
  const BatchPlan plan(dataset, TrainConfig{}, 2);
  EXPECT_EQ(plan.batches_per_epoch(), 2);
  for (int64_t i = 0; i < 2; ++i) {
    const auto batch = plan.batch(i);
    EXPECT_EQ(batch[0].bucket, dataset.pictures[batch[0].picture].bucket);
    EXPECT_EQ(batch[1].picture, 2U);
    EXPECT_EQ(batch[1].bucket, batch[0].bucket);
  }
}

TEST(Batches, NothingToTrainOnIsAnError) {
  EXPECT_THROW(BatchPlan(Dataset{}, TrainConfig{}, 1), Error);
  EXPECT_THROW(BatchPlan(dataset_of({{0, 1, true}}), TrainConfig{}, 1), Error);
  EXPECT_THROW(BatchPlan(two_buckets(), TrainConfig{}, 0), Error);
}

}  // namespace lorikeet
