// The latents of pictures: encoded once and kept as distributions, from which a latent is drawn anew at each use.
#pragma once
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/progress.h"
#include "model/networks.h"
#include "training/dataset.h"
#include "training/tensor_cache.h"

namespace lorikeet {

class LatentSource {
 public:
  // folder: of the run's caches, "" for none; shards lie in a subfolder named by the autoencoder, so that runs can share it. Keys: the hash
  // of the picture (and mask), the bucket, flipped or not. With config.cache_latents off nothing is kept, and each use encodes. The
  // networks must outlive it; their autoencoder is used whenever something is not in the cache.
  LatentSource(const Networks& networks, const TrainConfig& config, const std::filesystem::path& folder);

  struct Item {
    const TrainPicture* picture = nullptr;
    Bucket bucket;
    bool flipped = false;
  };
  // Encodes and stores what is missing of these, and of their mirror images with `flips`. -> for each item "" or why its picture cannot be
  // used. Without cache it only looks whether the pictures can be used.
  std::vector<std::string> prepare(std::span<const Item> items, bool flips, Progress& progress);

  // Items of one bucket. Row i is mean + deviation · noise(random[i]); without `random` the mean. Times the model's latent scale.
  // -> [B, C, h, w] float32 on the CPU
  Tensor latents(std::span<const Item> items, std::span<const uint64_t> random = {});
  // The masks at the latents' size, each value the mean of its pixels. -> [B, 1, h, w] 0..1; undefined when the run uses no masks.
  Tensor masks(std::span<const Item> items);

  const std::vector<std::string>& warnings() const { return cache_.warnings(); }

 private:
  std::string key(const Item& item) const;
  std::string mask_key(const Item& item) const;
  int64_t at_once() const;
  bool is_stored(const Item& item, bool flips) const;
  // [2, C, h, w] each: mean and log variance.
  std::vector<Tensor> distributions(std::span<const Item> items);
  std::vector<Tensor> encode(std::span<const Tensor> pixels) const;
  std::string read(const Item& item, BucketPicture& picture) const;
  void check(std::span<const Item> items, std::span<std::string> faults) const;
  void encode_group(std::span<const Item> items, bool flips, std::span<std::string> faults);
  Tensor at_latent_size(const Tensor& mask) const;

  const Networks& networks_;
  bool cached_, masked_;
  TensorCache cache_;
};

}  // namespace lorikeet
