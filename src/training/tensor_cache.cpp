#include "training/tensor_cache.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "io/hash.h"

namespace lorikeet {

namespace fs = std::filesystem;

namespace {

constexpr size_t kNameDigits = 16;

std::vector<fs::path> shards_of(const fs::path& folder) {
  std::vector<fs::path> shards;
  std::error_code code;
  for (auto at = fs::directory_iterator(folder, code); !code && at != fs::directory_iterator(); at.increment(code)) {
    const std::string name = at->path().filename().string();
    if (name.front() != '.' && ends_with(name, ".safetensors")) shards.push_back(at->path());
  }
  std::sort(shards.begin(), shards.end());
  return shards;
}

}  // namespace

TensorCache::TensorCache(Options options) : options_(std::move(options)) {
  if (options_.folder.empty()) return;
  for (const fs::path& path : shards_of(options_.folder)) {
    try {
      const auto file = TensorFile::open(path);
      for (const auto& [key, entry] : file->tensors()) places_[key] = file;
    } catch (const Error& error) {
      warnings_.push_back("the cache file " + path.string() + " is not used: " + error.message());
    }
  }
}

void TensorCache::keep(const std::string& key, const Tensor& tensor) {
  const auto bytes = static_cast<int64_t>(tensor.nbytes());
  if (memory_used_ + bytes > options_.memory_bytes || !memory_.emplace(key, tensor).second) return;
  memory_used_ += bytes;
}

Tensor TensorCache::find(const std::string& key) {
  if (const auto kept = memory_.find(key); kept != memory_.end()) return kept->second;
  if (const auto fresh = unwritten_.find(key); fresh != unwritten_.end()) return fresh->second;
  const auto place = places_.find(key);
  if (place == places_.end()) return {};
  const Tensor copy = place->second->read(key).clone();  // a view would keep pages of the file in memory beside the limit
  keep(key, copy);
  return copy;
}

void TensorCache::add(const std::string& key, const Tensor& tensor) {
  if (contains(key)) return;
  const Tensor own = tensor.detach().to(torch::kCPU).contiguous().clone();
  keep(key, own);
  if (options_.folder.empty()) return;
  unwritten_[key] = own;
  unwritten_bytes_ += static_cast<int64_t>(own.nbytes());
  if (unwritten_bytes_ >= options_.shard_bytes) flush();
}

void TensorCache::flush() {
  if (unwritten_.empty()) return;
  std::error_code code;
  fs::create_directories(options_.folder, code);
  if (code) throw Error(ErrorKind::io, "cannot make the folder " + options_.folder.string() + ": " + code.message());
  std::string keys;
  for (const auto& [key, tensor] : unwritten_) keys += key + "\n";
  // By its contents: two runs that compute the same write the same file.
  const fs::path path = options_.folder / (sha256(keys).substr(0, kNameDigits) + ".safetensors");
  with_context("while writing the cache", [&] { write_safetensors(path, unwritten_, {}); });
  const auto file = TensorFile::open(path);
  for (const auto& [key, tensor] : unwritten_) places_[key] = file;
  unwritten_.clear();
  unwritten_bytes_ = 0;
}

std::string weights_identity(const LayerMap& layers, std::span<const std::string> prefixes, Dtype compute) {
  std::string summary = to_string(compute);
  const auto add = [&](const Tensor& tensor) {
    if (!tensor.defined()) return;
    const Tensor flat = tensor.detach().cpu().contiguous();
    summary += to_string(flat.scalar_type()) + to_string(flat.sizes());
    summary += sha256({static_cast<const char*>(flat.data_ptr()), static_cast<size_t>(flat.nbytes())});
  };
  for (const auto& [path, layer] : layers) {
    if (std::none_of(prefixes.begin(), prefixes.end(), [&](const std::string& prefix) { return starts_with(path, prefix); })) continue;
    summary += "\n" + path + " ";
    add(layer->base_weight());
    add(layer->base_bias());
  }
  return sha256(summary);
}

}  // namespace lorikeet
