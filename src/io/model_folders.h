// Where models lie, and which file a name means. Reads A1111's layout (Stable-diffusion/, Lora/, LyCORIS/, VAE/, embeddings/ in or beside
// the models folder) and ComfyUI's (checkpoints/, loras/, vae/, embeddings/), several of them, and single folders.
#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lorikeet {

enum class ModelKind { checkpoint, lora, embedding, vae };
std::string_view name(ModelKind kind);  // "checkpoint", "LoRA", "embedding", "VAE"

struct ModelFile {
  ModelKind kind;
  std::string name;            // the path below its folder without extension, '/' between: "styles/monet"
  std::filesystem::path path;  // a file; a folder for a checkpoint or VAE in diffusers' layout
};

struct FoundModel {
  ModelFile file;
  std::vector<std::string> notes;  // for people: which other files the name could mean
};

// A file, or a folder that is one model as a whole (checkpoint or autoencoder in diffusers' layout, LoRA in PEFT's). Any other folder is none:
// that one happens to be where somebody works must not hide the model of its name.
bool is_model_path(const std::filesystem::path& path);

class ModelFolders {
 public:
  ModelFolders();

  // A models folder of either layout, or the folder of a whole A1111 or ComfyUI (which has models/ in it). Error{not_found}: no such
  // folder.
  void add_root(const std::filesystem::path& root);
  // A folder of one kind. Error{not_found}.
  void add_folder(ModelKind kind, const std::filesystem::path& folder);

  // The folders that are searched for a kind, in order.
  const std::vector<std::filesystem::path>& places(ModelKind kind) const;
  const std::vector<std::filesystem::path>& roots() const { return roots_; }  // the models folders themselves

  // All files of a kind, folders in their order, names sorted. Sub-folders are searched, hidden ones are not. Reads the disk each time.
  // A folder in diffusers' layout is one checkpoint; a folder with adapter_config.json (PEFT) is one LoRA; *.vae.* beside a checkpoint is a
  // VAE. `faults` gains a line for each folder that cannot be read and each link to nothing.
  std::vector<ModelFile> list(ModelKind kind, std::vector<std::string>* faults = nullptr) const;

  // What `name` means: "name", "name.ext", "folder/name", a LoRA's ss_output_name, or a hash (10 or 64 digits: of the file; 12 or 64:
  // AutoV3). Exact case before any case, names before aliases before hashes (computed only when nothing else fits). Several files of one
  // name: the one with the fewest folders before it, then the earlier place, then .safetensors; the notes name the others. A1111 takes
  // whichever it scanned last. A name never leaves the folders; with_paths (the command line) also takes the path of any existing file or
  // folder, before names if it is_model_path(), else behind them.
  // Error{not_found}: the near names and where was looked; Error{bad_input}: an empty name, a name with "..".
  FoundModel find(ModelKind kind, std::string_view name, bool with_paths = false) const;

  // The file with this hash (any of the forms above; upper or lower case), if there is one.
  std::optional<ModelFile> find_hash(ModelKind kind, std::string_view hash) const;

 private:
  [[noreturn]] void throw_missing(ModelKind kind, std::string_view name, const std::vector<ModelFile>& files) const;
  struct HashCache;
  std::map<ModelKind, std::vector<std::filesystem::path>> places_;
  std::vector<std::filesystem::path> roots_;
  std::shared_ptr<HashCache> hashes_;
};

}  // namespace lorikeet
