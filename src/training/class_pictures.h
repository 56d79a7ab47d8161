// Prior preservation needs pictures of the class (Ruiz et al. 2022, arXiv 2208.12242, sec. 3.2): those that are missing are made with the
// checkpoint itself before training starts.
#pragma once
#include "base/progress.h"
#include "model/networks.h"
#include "training/config.h"
#include "training/train.h"

namespace lorikeet {

// Fills config.class_images up to config.class_count pictures of config.class_prompt; picture i has seed config.seed + i. Without class_prompt
// those that are there have to do. Nothing to do: nothing. Error{bad_input} when pictures are missing and hooks.generate is empty, or when
// there are none and no class_prompt.
void make_class_pictures(const TrainConfig& config, const std::shared_ptr<Networks>& networks, const TrainHooks& hooks, Progress& progress);

}  // namespace lorikeet
