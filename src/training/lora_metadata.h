// What a trained file says about itself: kohya's ss_* entries (sd-scripts, train_network.py) and Stability's modelspec.*
// (sai_model_spec 1.0.1), by which other programs sort, filter and search. All values are text, in Python's words (True, None).
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/spec.h"
#include "training/config.h"
#include "training/dataset.h"

namespace lorikeet {

// The multipliers that a slider is offered with, from -kSliderRange on; it is trained at -1 and 1, and what it learns goes on beyond.
constexpr double kSliderRange = 2;

// What the run knows beyond its settings.
struct RunFacts {
  // The checkpoint that it trained on, and another autoencoder where one was given. Hashes: legacy_model_hash() and sha256; "" unknown.
  std::string base_name, base_legacy_hash, base_sha256;
  std::string vae_name, vae_legacy_hash, vae_sha256;

  // Pictures of one folder.
  struct Set {
    std::string name;  // "10_sks robot"
    int repeats = 1;
    int64_t pictures = 0;
    bool is_class = false;
    std::map<std::string, int64_t> tags;  // of the captions, how many have each
  };
  std::vector<Set> sets;
  struct BucketCount {
    Bucket bucket;
    int64_t pictures = 0;  // with repeats
  };
  std::vector<BucketCount> buckets;
  int64_t validation_pictures = 0;

  int64_t batches_per_epoch = 0, epochs = 0, epoch = 0, steps = 0, all_steps = 0;  // epoch, steps: done when the file was written
  int processes = 1;
  double started_at = 0, finished_at = 0;  // seconds since 1970
  std::string precision;                   // of the U-Net: "f32", "bf16", "f16"
  double loss = 0;                         // mean over the last epoch
  std::optional<int64_t> best_step;        // by validation
};

// sets, buckets and validation_pictures of a data set; rows that are no pictures do not count.
void add_dataset(RunFacts& facts, const Dataset& dataset);

// The entries. `spec`: the model that was trained on. A slider says which way is which: modelspec.description and usage_hint for people,
// "lorikeet.slider" for programs. The hashes of the file itself are the writer's.
std::map<std::string, std::string> training_metadata(const TrainConfig& config, const ModelSpec& spec, const RunFacts& facts);

}  // namespace lorikeet
