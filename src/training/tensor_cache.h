// Tensors by key that are dear to compute: in memory up to a limit, and in shard files of a folder, where the next run finds them. Many
// tensors go into a file (20,000 small pictures are a handful of files); a file is written once and never changed.
#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/tensor_file.h"
#include "nn/layer.h"

namespace lorikeet {

// Of the hash that names a cache's folder.
constexpr size_t kFolderDigits = 16;

class TensorCache {
 public:
  struct Options {
    std::filesystem::path folder = {};               // made when needed; empty: memory only
    int64_t memory_bytes = int64_t{512} << 20;  // what is beyond comes from the mapped files, or without a folder is not kept
    int64_t shard_bytes = int64_t{64} << 20;    // a file is written when so much is new
  };
  // Reads the headers of the folder's shards. A damaged shard is passed over and named in warnings().
  explicit TensorCache(Options options);

  bool contains(const std::string& key) const { return memory_.contains(key) || unwritten_.contains(key) || places_.contains(key); }
  // Never to be written to. Undefined: there is none.
  Tensor find(const std::string& key);
  // A tensor on the CPU. Error{io}: a shard cannot be written.
  void add(const std::string& key, const Tensor& tensor);
  // Writes what is not yet in a file. What was added and not flushed is lost when the program dies.
  void flush();

  int64_t memory_used() const { return memory_used_; }
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  void keep(const std::string& key, const Tensor& tensor);

  Options options_;
  std::map<std::string, Tensor> memory_;
  std::map<std::string, std::shared_ptr<const TensorFile>> places_;  // the shard of each key
  std::map<std::string, Tensor> unwritten_;
  int64_t memory_used_ = 0, unwritten_bytes_ = 0;
  std::vector<std::string> warnings_;
};

// What tells one network from another: the bytes of all weights of `layers` whose path begins with one of `prefixes`, and the dtype that
// they are computed in. 64 digits.
std::string weights_identity(const LayerMap& layers, std::span<const std::string> prefixes, Dtype compute);

}  // namespace lorikeet
