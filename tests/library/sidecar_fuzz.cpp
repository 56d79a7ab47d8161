// Fuzz target: whatever lies beside a model is read as its sidecar or named as a fault, and what cards show of it is text.
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/text.h"
#include "library/sidecar.h"

namespace lorikeet {

int fuzz_sidecar(const uint8_t* data, size_t size) {
  static const std::filesystem::path file = std::filesystem::temp_directory_path() / ("lorikeet-fuzz-" + std::to_string(getpid()) + ".json");
  std::ofstream(file, std::ios::binary).write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  using Place = std::filesystem::path SidecarFiles::*;
  for (const Place place : {&SidecarFiles::card, &SidecarFiles::civitai, &SidecarFiles::manager, &SidecarFiles::description}) {
    SidecarFiles files;
    files.*place = file;
    const Sidecar read = read_sidecars(files);
    std::vector<std::string> texts{read.title, read.negative_text, read.description, read.notes, read.sd_version, read.base_model, read.card_json};
    for (const auto& words : {read.trained_words, read.tags, read.chosen_words.value_or(std::vector<std::string>())})
      texts.insert(texts.end(), words.begin(), words.end());
    for (const std::string& text : texts)
      if (valid_utf8(text) != text) __builtin_trap();
  }
  std::filesystem::remove(file);
  return 0;
}

std::vector<std::string> sidecar_seeds() {
  return {R"({"description": "d", "sd version": "SD1", "activation text": "a, b", "preferred weight": 0.8, "negative text": "n", "notes": "x"})",
          R"({"name": "v1", "baseModel": "SD 1.5", "trainedWords": ["a, b"], "model": {"name": "Monet", "tags": ["style"]}, "description": "<p>d</p>"})",
          R"({"model_name": "Monet", "base_model": "SDXL 1.0", "tags": ["style"], "civitai": {"trainedWords": ["a"]}, "usage_tips": "{\"strength\": 0.7}", "favorite": true})"};
}

}  // namespace lorikeet
