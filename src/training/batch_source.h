// From draws to what a training step needs: latents, masks, weights, texts or their encodings, SDXL's time ids.
#pragma once
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/progress.h"
#include "model/networks.h"
#include "training/batches.h"
#include "training/captions.h"
#include "training/dataset.h"
#include "training/diffusion_loss.h"
#include "training/latent_source.h"
#include "training/text_source.h"

namespace lorikeet {

// B rows of one bucket, on the U-Net's device.
struct TrainBatch {
  LossBatch loss;
  std::vector<std::string> texts;  // as trained at these draws
  EncodedTexts encoded;            // of `texts`, without gradients; undefined tensors where the text encoders are trained: see encode()
  Tensor time_ids;                 // [B, 6] as UNetInput has them; undefined for models without
};

class BatchSource {
 public:
  struct Options {
    bool trains_text = false;            // the text encoders, or an embedding: nothing of theirs is kept
    std::filesystem::path cache_folder;  // of the run, or shared by several; empty: caches in memory only
  };
  // Fills the caches: every picture is decoded once here, so that broken ones are found before the first step. They leave the dataset and
  // are named in its warnings; with config.strict they are Error{bad_input}. Several processes: rank 0 first, then the others, which find
  // all stored. The networks must outlive it.
  BatchSource(const Networks& networks, Dataset dataset, const TrainConfig& config, Options options, Progress& progress);

  // What is left, for the BatchPlan.
  const Dataset& dataset() const { return dataset_; }

  // Everything random about a row comes from the run's seed and draw.number.
  TrainBatch batch(std::span<const Draw> draws);

  // For validation, always the same: pictures of one bucket with their captions as they are, never flipped, the means of their latents,
  // weight 1. loss.random depends on each picture's contents and the seed only.
  TrainBatch fixed_batch(std::span<const TrainPicture* const> pictures);

  // Texts with gradients. `trained`: an embedding whose vectors stand in for its word; null: none.
  EncodedTexts encode(std::span<const std::string> texts, const std::shared_ptr<const Embedding>& trained) const;

 private:
  using Item = LatentSource::Item;
  std::vector<Item> items_of(std::span<const TrainPicture> pictures) const;
  void remove_unusable(std::vector<TrainPicture>& pictures, const std::vector<std::string>& faults);
  void prepare_latents(Progress& progress);
  void prepare_texts(Progress& progress);
  std::string text_of(const TrainPicture& picture, uint64_t number) const;
  TrainBatch assemble(std::span<const Item> items, std::vector<std::string> texts, std::span<const uint64_t> latent_random);
  Tensor time_ids(std::span<const Item> items) const;

  const Networks& networks_;
  TrainConfig config_;
  Options options_;
  CaptionRules rules_;
  Dataset dataset_;
  LatentSource latents_;
  TextSource texts_;
};

}  // namespace lorikeet
