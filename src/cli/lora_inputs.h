// What the verbs of "lorikeet lora" share: names become files, files are bound to a checkpoint's layers or to their own shapes, and the
// options about ranks, types and output.
#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/terminal_progress.h"
#include "lora/surgery/change.h"
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

// Options that every verb has.
struct LoraVerbOptions {
  FolderOptions folders;
  std::string model;  // -m; "" for none
  int threads = 0;
  bool json = false, quiet = false;
};
void add_verb_options(CLI::App& app, LoraVerbOptions& options, bool with_model = true);

// Where names are looked up, and the checkpoint if one was named.
class LoraTable {
 public:
  explicit LoraTable(const LoraVerbOptions& options);
  const ModelFolders& folders() const { return folders_; }
  const OpenCheckpoint* checkpoint() const { return checkpoint_ ? &*checkpoint_ : nullptr; }
  void use_checkpoint(const std::filesystem::path& path) { checkpoint_ = open_checkpoint(path); }

  std::filesystem::path find(const std::string& name) const;
  // Bound to the checkpoint's layers, else to the file's own shapes. One reader for a file, however often it is asked for.
  std::shared_ptr<const LoraReader> open(const std::filesystem::path& path);
  // "name", "name:0.8", "name:0.8:0.5" (text encoder, U-Net), with named parts "te=", "unet=", "lbw=1,0,…" too. lbw=PRESET needs a
  // checkpoint.
  MixInput input(const std::string& text);

 private:
  BlockWeights blocks(std::string_view text) const;

  ModelFolders folders_;
  std::optional<OpenCheckpoint> checkpoint_;
  std::vector<std::shared_ptr<const LoraReader>> readers_;
};

// --rank, --conv-rank, --rule NAME=P, --block-ranks BLOCK=N,…
struct RankFlags {
  int64_t rank = 0, conv_rank = 0;
  std::string rule;
  std::vector<std::string> block_ranks;
  RankOptions options() const;
};
void add_rank_options(CLI::App& app, RankFlags& flags);

struct OutputFlags {
  std::string path, dtype = "keep";
  bool force = false;
};
// Adds -o and --dtype.
void add_output_options(CLI::App& app, OutputFlags& flags, const std::string& default_dtype);
// Error{bad_input}: none given, or a file is there already and --force is not given, or it is one of `inputs`.
std::filesystem::path output_path(const OutputFlags& flags, const std::vector<std::filesystem::path>& inputs);

// "264 layers, rank 128 -> 32, relative error 0.012 (largest 0.03 at …)"
void print_layers(const std::vector<LayerResult>& layers, std::ostream& out);
// The file that was written: size and hashes.
void print_written(const std::filesystem::path& path, const std::vector<std::string>& notes, const LoraVerbOptions& options,
                   Output& output);
// The same as JSON, with the layers.
void print_written_json(const std::filesystem::path& path, const std::vector<std::string>& notes, const std::vector<LayerResult>& layers,
                        Output& output);

// Values of the verbs' options, for completion: "--to" -> the spellings.
std::vector<std::string> lora_option_values(const std::string& flag);

}  // namespace lorikeet
