// Computes the hashes of files in the background, at the lowest priority of processor and disk.
#pragma once
#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "library/index.h"

namespace lorikeet {

// sha256 of the file and of what is behind its safetensors header (of all of it for other formats), in one reading of the file and without a
// mapping, so that another program may change it meanwhile. Nothing when `stop` was set. Error: not_found, io.
struct FileHashes {
  std::string sha256, tensors_sha256;
};
std::optional<FileHashes> hash_file(const std::filesystem::path& path, const std::atomic<bool>& stop);

class Hasher {
 public:
  // `changed` is called from its thread when new hashes are in the index: at the end of the work, and now and then in between.
  Hasher(Index& index, std::function<void()> changed);
  ~Hasher();
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;

  void wake();  // there may be something to hash
  bool idle() const;

 private:
  void run();
  void hash_all();
  void hash_one(const HashWork& work);

  Index& index_;
  std::function<void()> changed_;
  std::atomic<bool> stop_{false};
  mutable std::mutex mutex_;
  std::condition_variable woken_;
  bool wanted_ = false, busy_ = false;
  std::thread thread_;
};

}  // namespace lorikeet
