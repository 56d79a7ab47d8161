// Pictures of what a run has learnt so far: the same prompts and seeds each time, a sheet a time.
#pragma once
#include <cstdint>
#include <memory>

#include "training/config.h"
#include "training/train.h"
#include "training/trainable.h"

namespace lorikeet {

// Writes <run_dir>/samples/step-000100.png, the pictures of config.sample_prompts side by side; of a slider three of each prompt, with the
// multipliers -1, 0 and 1. Without hooks.generate nothing happens.
void make_samples(const TrainConfig& config, const std::shared_ptr<Networks>& networks, Trainable& trainable, int64_t step, const TrainHooks& hooks);

}  // namespace lorikeet
