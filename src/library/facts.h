// What a model file's header tells, whatever the kind of model; no tensor of a LoRA or checkpoint is read.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "io/model_folders.h"
#include "lora/file.h"

namespace lorikeet {

struct FileFacts {
  std::string error;                // why the file cannot be read, and what to do; then nothing else is set
  std::optional<LoraSummary> lora;  // LoRAs
  std::map<std::string, std::string> metadata;
  std::string family;  // by shapes; "" unknown
  std::string claim;   // the metadata's words for the base model
  std::optional<int64_t> vectors;         // embeddings
  std::optional<int64_t> native_size_px;  // checkpoints
  int64_t tensors = 0;
  std::string dtype;  // of most tensors: "F16"
};

// Never throws for what is wrong with the file.
FileFacts read_facts(const ModelFile& file);

// "sd1", "sd2", "sdxl", "sd3", "flux" for the words that people and programs use ("SD 1.5", "SDXL", "sd_v1", "Pony", "sdxl_base_v1-0"); "" for
// others.
std::string family_of_words(std::string_view words);

// The value of a key, "" without one.
std::string metadata_text(const std::map<std::string, std::string>& metadata, const std::string& key);

}  // namespace lorikeet
