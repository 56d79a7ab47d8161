#include "training/batch_source.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "training/picture_files.h"
#include "training/random.h"

namespace lorikeet {

namespace {

CaptionRules rules_of(const TrainConfig& config) {
  return {.shuffle_tags = config.shuffle_tags,
          .keep_tags = config.keep_tags,
          .caption_dropout = config.caption_dropout,
          .tag_dropout = config.tag_dropout};
}

std::vector<int64_t> widths_of(const Networks& networks) {
  std::vector<int64_t> widths;
  for (const auto& encoder : networks.text_encoders) widths.push_back(encoder->config().width);
  return widths;
}

Tensor on(const Device& device, const Tensor& tensor) { return tensor.defined() ? tensor.to(device) : tensor; }

}  // namespace

BatchSource::BatchSource(const Networks& networks, Dataset dataset, const TrainConfig& config, Options options, Progress& progress)
    : networks_(networks),
      config_(config),
      options_(std::move(options)),
      rules_(rules_of(config)),
      dataset_(std::move(dataset)),
      latents_(networks, config, options_.cache_folder),
      texts_(networks, config, options_.trains_text ? std::filesystem::path() : options_.cache_folder) {
  with_context("while preparing the pictures", [&] {
    prepare_latents(progress);
    prepare_texts(progress);
  });
  for (const auto* warnings : {&latents_.warnings(), &texts_.warnings()}) {
    dataset_.warnings.insert(dataset_.warnings.end(), warnings->begin(), warnings->end());
  }
}

std::vector<LatentSource::Item> BatchSource::items_of(std::span<const TrainPicture> pictures) const {
  std::vector<Item> items;
  for (const TrainPicture& picture : pictures) items.push_back({&picture, dataset_.bucket_of(picture)});
  return items;
}

// faults: of each picture, "" where it is good.
void BatchSource::remove_unusable(std::vector<TrainPicture>& pictures, const std::vector<std::string>& faults) {
  DataProblems problems(config_.strict);
  std::vector<TrainPicture> good;
  for (size_t i = 0; i < pictures.size(); ++i) {
    if (faults[i].empty())
      good.push_back(std::move(pictures[i]));
    else
      problems.skip(pictures[i].path.string(), faults[i]);
  }
  pictures = std::move(good);
  for (std::string& line : problems.take()) dataset_.warnings.push_back(std::move(line));
}

void BatchSource::prepare_latents(Progress& progress) {
  for (auto* pictures : {&dataset_.pictures, &dataset_.validation}) {
    if (pictures->empty()) continue;
    const bool flips = config_.flip && pictures == &dataset_.pictures;
    remove_unusable(*pictures, latents_.prepare(items_of(*pictures), flips, progress));
  }
  const auto is_training = [](const TrainPicture& picture) { return !picture.is_class; };
  if (std::none_of(dataset_.pictures.begin(), dataset_.pictures.end(), is_training)) {
    throw Error(ErrorKind::bad_input, "none of the pictures can be used", dataset_.warnings.empty() ? "" : dataset_.warnings.back());
  }
}

void BatchSource::prepare_texts(Progress& progress) {
  std::set<std::string> captions;
  for (const TrainPicture& picture : dataset_.pictures) captions.insert(picture.caption);
  for (const TrainPicture& picture : dataset_.validation) captions.insert(picture.caption);
  const auto too_long = std::count_if(captions.begin(), captions.end(), is_too_long);
  if (too_long > 0) {
    dataset_.warnings.push_back("of " + std::to_string(too_long) + " captions only the beginning is used: they have more than " +
                                std::to_string(kMostCaptionChunks * kChunkTokens) + " tokens");
  }
  if (options_.trains_text) return;
  std::vector<std::string> texts;
  std::set<std::string> known;
  const auto add = [&](const std::string& text) {
    if (known.insert(text).second) texts.push_back(text);
  };
  add("");
  for (const TrainPicture& picture : dataset_.validation) add(picture.caption);
  for (const TrainPicture& picture : dataset_.pictures) {
    for (const std::string& text : caption_variants(picture.caption, rules_, static_cast<uint64_t>(config_.seed), config_.caption_variants))
      add(text);
  }
  texts_.prepare(texts, progress);
}

std::string BatchSource::text_of(const TrainPicture& picture, uint64_t number) const {
  const auto seed = static_cast<uint64_t>(config_.seed);
  const uint64_t random = random_bits(seed, "caption", number);
  const bool kept = config_.cache_text && !options_.trains_text;
  return kept ? varied_caption(picture.caption, rules_, random, seed, config_.caption_variants)
              : varied_caption(picture.caption, rules_, random);
}

// Podell et al. 2023, arXiv 2307.01952, sec. 2.2: original size, what was cropped away above and on the left, target size; heights first.
Tensor BatchSource::time_ids(std::span<const Item> items) const {
  if (!networks_.spec.pooled) return {};
  std::vector<Tensor> rows;
  for (const Item& item : items) {
    const TrainPicture& picture = *item.picture;
    const Placement place = place_in_bucket(picture.width_px, picture.height_px, item.bucket);
    const std::vector<int64_t> ids{picture.height_px,  picture.width_px,      place.crop_top_px,
                                   place.crop_left_px, item.bucket.height_px, item.bucket.width_px};
    rows.push_back(torch::tensor(ids).to(torch::kFloat));
  }
  return torch::stack(rows);
}

TrainBatch BatchSource::assemble(std::span<const Item> items, std::vector<std::string> texts, std::span<const uint64_t> latent_random) {
  const Device device = networks_.compute.unet.device;
  TrainBatch batch;
  batch.loss.latents = on(device, latents_.latents(items, latent_random));
  batch.loss.masks = on(device, latents_.masks(items));
  batch.time_ids = on(device, time_ids(items));
  if (!options_.trains_text) {
    const EncodedTexts encoded = texts_.encode(texts);
    batch.encoded = {on(device, encoded.context), on(device, encoded.pooled)};
  }
  batch.texts = std::move(texts);
  return batch;
}

TrainBatch BatchSource::batch(std::span<const Draw> draws) {
  const auto seed = static_cast<uint64_t>(config_.seed);
  std::vector<Item> items;
  std::vector<std::string> texts;
  std::vector<uint64_t> latent_random, loss_random;
  std::vector<float> weights;
  for (const Draw& draw : draws) {
    const TrainPicture& picture = dataset_.pictures.at(draw.picture);
    items.push_back({&picture, dataset_.buckets.at(draw.bucket), draw.flipped});
    texts.push_back(text_of(picture, draw.number));
    latent_random.push_back(random_bits(seed, "latent", draw.number));
    loss_random.push_back(random_bits(seed, "loss", draw.number));
    weights.push_back(picture.is_class ? static_cast<float>(config_.prior_loss_weight) : 1.0f);
  }
  TrainBatch batch = assemble(items, std::move(texts), latent_random);
  batch.loss.weights = torch::tensor(weights).to(networks_.compute.unet.device);
  batch.loss.random = std::move(loss_random);
  return batch;
}

TrainBatch BatchSource::fixed_batch(std::span<const TrainPicture* const> pictures) {
  std::vector<Item> items;
  std::vector<std::string> texts;
  std::vector<uint64_t> random;
  for (const TrainPicture* picture : pictures) {
    items.push_back({picture, dataset_.bucket_of(*picture)});
    texts.push_back(picture->caption);
    random.push_back(random_bits(static_cast<uint64_t>(config_.seed), picture->content_hash, 0));
  }
  TrainBatch batch = assemble(items, std::move(texts), {});
  batch.loss.weights = torch::ones({static_cast<int64_t>(pictures.size())}, networks_.compute.unet.device);
  batch.loss.random = std::move(random);
  return batch;
}

EncodedTexts BatchSource::encode(std::span<const std::string> texts, const std::shared_ptr<const Embedding>& trained) const {
  EmbeddingStore store(widths_of(networks_));
  if (trained) store.add(*trained);
  if (!store.skipped().empty()) {
    throw Error(ErrorKind::bad_input, "\"" + store.skipped().front().name + "\" cannot be trained as a word: " + store.skipped().front().reason);
  }
  const EncodedTexts encoded =
      encode_texts(networks_, texts, store, config_.clip_skip > 0 ? std::optional(config_.clip_skip) : std::nullopt);
  return {on(networks_.compute.unet.device, encoded.context), on(networks_.compute.unet.device, encoded.pooled)};
}

}  // namespace lorikeet
