// LoRA files on the work table: names become readers, bound to a checkpoint's layers or to their own shapes.
#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/model_folders.h"
#include "lora/surgery/mix.h"
#include "model/spec.h"

namespace lorikeet {

// A checkpoint for tools on files: its layers with their weights, no networks.
struct OpenCheckpoint {
  std::shared_ptr<const Checkpoint> checkpoint;
  ModelSpec spec;
  LayerMap layers;
};
OpenCheckpoint open_checkpoint(const std::filesystem::path& path);

// Where names are looked up, and the checkpoint if one was named.
class LoraTable {
 public:
  // with_paths: a name may also be the path of any file (the command line).
  LoraTable(ModelFolders folders, bool with_paths) : folders_(std::move(folders)), with_paths_(with_paths) {}
  const ModelFolders& folders() const { return folders_; }
  const OpenCheckpoint* checkpoint() const { return checkpoint_ ? &*checkpoint_ : nullptr; }
  void use_checkpoint(const std::filesystem::path& path) { checkpoint_ = open_checkpoint(path); }

  std::filesystem::path find(const std::string& name) const;
  std::filesystem::path find_checkpoint(const std::string& name) const;
  // Bound to the checkpoint's layers, else to the file's own shapes. One reader for a file, however often it is asked for.
  std::shared_ptr<const LoraReader> open(const std::filesystem::path& path);
  // "name", "name:0.8", "name:0.8:0.5" (text encoder, U-Net), with named parts "te=", "unet=", "lbw=1,0,…" too.
  MixInput input(const std::string& text);

 private:
  ModelFolders folders_;
  bool with_paths_;
  std::optional<OpenCheckpoint> checkpoint_;
  std::vector<std::shared_ptr<const LoraReader>> readers_;
};

std::vector<std::filesystem::path> paths_of(const std::vector<MixInput>& inputs);

}  // namespace lorikeet
