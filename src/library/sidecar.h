// The files beside a model that people and other programs keep about it: NAME.json (A1111's card; ours too), NAME.civitai.info (Civitai
// Helper), NAME.metadata.json (ComfyUI's Lora Manager), NAME.description.txt and NAME.txt (A1111 before 1.3), and the preview picture.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "library/card.h"

namespace lorikeet {

// Names of the files of a folder; those that begin with a point are left out.
using FolderNames = std::unordered_set<std::string>;
FolderNames read_folder_names(const std::filesystem::path& folder);

// Which of them there are; paths are empty where there is none.
struct SidecarFiles {
  std::filesystem::path card, civitai, manager, description, preview;
  int64_t preview_version = 0;  // from the time of change; 0 without one
  std::string stamp;            // changes when one of them appears, changes or vanishes
};
// `names`: of the model's folder.
SidecarFiles find_sidecars(const std::filesystem::path& model, const FolderNames& names);

// What they tell. Not set: nothing is told.
struct Sidecar {
  std::string title, negative_text, description, notes, sd_version, base_model;
  std::optional<std::vector<std::string>> chosen_words;  // trigger words that a person set; an empty list: there shall be none
  std::vector<std::string> trained_words;                // that the model's page names
  std::vector<std::string> tags;
  std::optional<double> preferred_multiplier;
  std::optional<bool> favourite;
  std::optional<int> rating;
  std::string card_json = "{}";      // NAME.json as it is
  std::vector<std::string> faults;   // files that cannot be read
};
// Never throws for what is wrong with the files.
Sidecar read_sidecars(const SidecarFiles& files);

// The words of a text between commas, trimmed, without empty and double ones.
std::vector<std::string> comma_words(std::string_view text);

// Writes the change into NAME.json. Error{bad_input}: a value out of range, a NAME.json that is no JSON object; Error{io}.
void write_card_file(const std::filesystem::path& model, const LibraryEdit& change);

// NAME.json of a model: the path without extension; of a folder (diffusers' layout): beside it.
std::filesystem::path card_path(const std::filesystem::path& model);
// "monet" of "styles/monet.safetensors": what the names of its sidecars begin with.
std::string sidecar_stem(const std::filesystem::path& model);

}  // namespace lorikeet
