// A models folder to be filled and a library over it.
#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "library/library.h"
#include "model/tiny.h"

namespace lorikeet::testing {

struct LoraShape {
  int modules = 2;
  int64_t rank = 4, context = 768;  // context: 768 sd1, 1024 sd2, 2048 sdxl
  std::map<std::string, std::string> metadata = {};
  unsigned seed = 0;  // of the data; 0: a hole in the file, all zeros
};

// A LoRA whose header is real and whose data is a hole in the file.
void write_lora(const std::filesystem::path& path, const LoraShape& shape = {});
void write_text(const std::filesystem::path& path, const std::string& text);
std::string read_text(const std::filesystem::path& path);
// A PNG of one colour, with the text "parameters".
std::string png(int width_px, int height_px, const std::string& parameters = {});

class Shelf {
 public:
  Shelf();

  std::filesystem::path root() const { return folder_ / "models"; }
  std::filesystem::path data() const { return folder_ / "data"; }
  std::filesystem::path loras() const { return root() / "Lora"; }
  std::filesystem::path checkpoints() const { return root() / "Stable-diffusion"; }
  std::filesystem::path embeddings() const { return root() / "embeddings"; }
  std::filesystem::path vaes() const { return root() / "VAE"; }

  void lora(const std::string& name, const LoraShape& shape = {}) const { write_lora(loras() / (name + ".safetensors"), shape); }

  LibraryOptions options() const;  // no watch, no hashes
  // Scanned when it returns.
  std::unique_ptr<Library> open() const { return open(options()); }
  static std::unique_ptr<Library> open(LibraryOptions options);

 private:
  ScratchFolder folder_;
};

std::vector<std::string> names(const LibraryPage& page);
std::vector<std::string> found(const Library& library, const std::string& text, ModelKind kind = ModelKind::lora);

// Looks every few milliseconds for at most 20 s.
bool soon(const std::function<bool()>& holds);

}  // namespace lorikeet::testing
