// Options that several commands share.
#pragma once
#include <string>
#include <vector>

#include "io/model_folders.h"

namespace CLI {
class App;
}

namespace lorikeet {

struct FolderOptions {
  std::vector<std::string> models, checkpoint_dirs, lora_dirs, embedding_dirs, vae_dirs;
};

struct DeviceOptions {
  std::string device = "auto", precision = "auto";
  int threads = 0;
};

void add_folder_options(CLI::App& app, FolderOptions& options);
void add_device_options(CLI::App& app, DeviceOptions& options);

// The folders that the options name. Without --models: $LORIKEET_MODELS, else models/ here, else models/ beside or above the program.
ModelFolders open_folders(const FolderOptions& options);

// The checkpoint that `name` means; "": the only one that there is. Error{not_found} tells a newcomer what to put where.
FoundModel find_checkpoint(const ModelFolders& folders, const std::string& name);

}  // namespace lorikeet
