// The hashes by which the field names models and LoRAs. All are lower-case hexadecimal. Files are streamed, not loaded.
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace lorikeet {

std::string sha256(std::string_view bytes);                  // 64 digits
std::string sha256_file(const std::filesystem::path& path);  // 64 digits; Error as MappedFile::open

// The same of bytes that come piece by piece.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void add(std::string_view bytes);
  std::string digits();  // 64; once, at the end

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// sha256_file(), remembered per user in $XDG_CACHE_HOME/lorikeet/hashes.json (else ~/.cache/…) by path, size and time of change:
// a checkpoint takes seconds to hash. Where the cache cannot be read or written, it is as if there were none.
std::string cached_sha256_file(const std::filesystem::path& path);

// AUTOMATIC1111 webui 1.10, modules/hashes.py and modules/sd_models.py:
std::string auto_v2(const std::filesystem::path& path);  // "Model hash": the first 10 digits of cached_sha256_file
std::string auto_v3(const std::filesystem::path& path);  // sha256 of all after the safetensors header (AddNet's hash, sshs_model_hash), 64
                                                         // digits, shown as 12; of the whole file for other formats
std::string legacy_model_hash(const std::filesystem::path& path);  // AutoV1: the first 8 digits of the sha256 of 64 KiB at 1 MiB

}  // namespace lorikeet
