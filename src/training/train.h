// Training: a folder of pictures becomes a LoRA, an embedding or a checkpoint. train() is the page to read first.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/progress.h"
#include "io/picture.h"
#include "model/networks.h"
#include "prompt/embeddings.h"
#include "training/config.h"
#include "training/run_folder.h"

namespace lorikeet {

// A picture that training wants made with the networks as they are at this moment.
struct SampleRequest {
  std::shared_ptr<Networks> networks;
  std::string prompt;
  std::vector<int64_t> seeds;                    // a picture each
  int width_px = 512, height_px = 512;
  std::shared_ptr<const Embedding> embedding;    // that the prompt may use; null: none
};

// What training needs from above: making pictures (training does not know generate/). Empty functions: no samples; class pictures must be given.
struct TrainHooks {
  std::function<std::vector<Picture>(const SampleRequest&)> generate;
  // After each step; for progress bars and servers.
  std::function<void(const LogRow& row, int64_t steps)> logged;
  // A sample sheet was written.
  std::function<void(const std::filesystem::path& picture, int64_t step)> sampled;
};

struct TrainResult {
  std::filesystem::path file;               // what was trained
  std::filesystem::path folder;             // of the run
  int64_t steps = 0;
  double loss = 0;                          // mean over the last epoch
  std::optional<int64_t> best_step;         // by validation
  std::vector<std::string> warnings;
};

// A new run, or with resume_folder the rest of one. Cancelled (progress.cancel()): a backup is written and Error{cancelled} thrown; --resume goes on.
TrainResult train(const TrainConfig& config, const TrainHooks& hooks, Progress& progress);
TrainResult resume_training(const std::filesystem::path& folder, const TrainHooks& hooks, Progress& progress);

}  // namespace lorikeet
