// What the library knows of one model: a card of the list, its details, what a person may edit, its preview.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "io/model_folders.h"

namespace lorikeet {

// All texts are valid UTF-8. Times are seconds since 1970.
struct LibraryCard {
  ModelKind kind = ModelKind::lora;
  // By which item(), edit() and a tag find it: the path below its folder without extension. Where two files have that name, the one that
  // ModelFolders::find() takes keeps it, the others are named with their extension.
  std::string name;
  std::string file_name;  // "monet.safetensors"; a folder's name for diffusers' layout
  std::string folder;     // "styles"; "" for the top
  std::string title;      // for people: sidecar's or metadata's name of the model, else the stem
  std::string alias;      // LoRAs: ss_output_name, else the stem
  std::string family;     // "sd1", "sd2", "sdxl", "sd3", "flux": by shapes, else by what is claimed; "" unknown
  std::vector<std::string> kinds;  // LoRAs: "lora", "lokr", …
  std::optional<int64_t> rank;     // LoRAs: the largest
  uint64_t size_bytes = 0;         // of all files of a folder
  int64_t modified = 0;
  int64_t added = 0;  // the file's birth where the file system tells it, else its time of change
  // 64 digits each; "" until they are computed. autov3 is what the file says of itself until then (see docs/formats.md, Hashes).
  std::string sha256, autov3;
  bool has_preview = false;
  int64_t preview_version = 0;  // changes with the picture; 0 without one
  std::vector<std::string> trigger_words;
  std::vector<std::pair<std::string, int64_t>> tags;  // of the training captions, most frequent first, at most 24; then the sidecars' (0)
  std::optional<double> preferred_multiplier;
  std::string negative_text, description, notes;
  bool favourite = false;
  std::optional<int> rating;     // 1..5
  std::string base_model_claim;  // what metadata or sidecar say: "sdxl_base_v1-0", "SD 1.5"
  std::optional<int64_t> vectors;         // embeddings
  std::optional<int64_t> native_size_px;  // checkpoints: side of the pictures it was trained on
  int64_t duplicates = 0;          // other files of this kind with the same tensors
  std::string error;               // why the file cannot be read; "" when it can
};

struct LibraryItem {
  LibraryCard card;
  std::filesystem::path path;                   // never for strangers
  std::map<std::string, std::string> metadata;  // of the file; values beyond 64 KiB are cut, pictures left out
  std::string sidecar;                          // NAME.json as JSON text; "{}" without one
  int64_t modules = 0, tensors = 0;             // modules: LoRAs
  std::string dtype;                            // of most tensors, in safetensors' words: "F16"
  std::string path_in_folder;                   // "styles/monet.safetensors"
  std::vector<std::string> duplicates_of;       // names of the other files with the same tensors
  std::vector<std::string> warnings;            // for people: other files of this name, a link to elsewhere, a damaged sidecar
};

// What a person may change; what is not set stays. Texts have at most 64 KiB.
struct LibraryEdit {
  std::optional<std::vector<std::string>> trigger_words = {};
  std::optional<double> preferred_multiplier = {};  // -100..100; 0: none
  std::optional<std::string> negative_text = {}, description = {}, notes = {};
  std::optional<std::string> sd_version = {};  // A1111's words: "SD1", "SD2", "SDXL", "Unknown"
  std::optional<bool> favourite = {};
  std::optional<int> rating = {};  // 1..5; 0: none
};

// An encoded picture.
struct PreviewFile {
  std::string bytes;
  std::string media_type;  // "image/png", "image/jpeg", "image/webp", "image/gif"
  int64_t version = 0;     // the card's preview_version
};

// Whether a LoRA fits a checkpoint, by names and shapes.
struct LoraFit {
  bool fits = false;
  int matched = 0, total = 0;  // modules
  std::string reason;          // for people
};

}  // namespace lorikeet
