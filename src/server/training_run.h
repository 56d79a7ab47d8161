// What a training run needs from making pictures, and where its file goes: shared by `lorikeet train` and the server.
#pragma once
#include <filesystem>
#include <vector>

#include "base/progress.h"
#include "io/model_folders.h"
#include "training/train.h"

namespace lorikeet {

// Where programs look for what a method makes.
ModelKind model_kind_of(TrainMethod method);

// Pictures through generate(), with the networks as they are. `progress` is asked between them.
std::vector<Picture> sample_pictures(const SampleRequest& wanted, const ModelFolders& folders, const Progress& progress);

// Copies a file to where `lorikeet generate` finds it; it appears whole or not at all. Never over another file: then its name gets a number
// where `number` says so, else nothing happens. -> where, or "" when there is no folder of that kind, or a file of that name.
std::filesystem::path install_trained(const std::filesystem::path& file, TrainMethod method, const ModelFolders& folders, bool number);

}  // namespace lorikeet
