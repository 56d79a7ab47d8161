// What the verbs of "lorikeet lora" share: the options about names, ranks, types and output, and what is printed of a written file.
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
#include "workshop/lora_table.h"

namespace lorikeet {

// Options that every verb has.
struct LoraVerbOptions {
  FolderOptions folders;
  std::string model;  // -m; "" for none
  int threads = 0;
  bool json = false, quiet = false;
};
void add_verb_options(CLI::App& app, LoraVerbOptions& options, bool with_model = true);

// Where the options' names are looked up, with the checkpoint if one was named.
LoraTable open_table(const LoraVerbOptions& options);

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
// With .safetensors where no extension is given. Error{bad_input}: none given, another extension, or a file is there already and --force is
// not given, or it is one of `inputs`. is_folder: what is written is a folder, of any name.
std::filesystem::path output_path(const OutputFlags& flags, const std::vector<std::filesystem::path>& inputs, bool is_folder = false);

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
