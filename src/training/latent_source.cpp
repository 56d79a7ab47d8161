#include "training/latent_source.h"

#include <algorithm>

#include "base/error.h"
#include "nn/kernels/parallel.h"
#include "training/random.h"

namespace lorikeet {

namespace fs = std::filesystem;

namespace {

constexpr int64_t kAtOnceOnGpu = 8;
constexpr int64_t kUncachedAtOnce = 64;  // between two looks at whether the person has cancelled

fs::path latents_folder(const Networks& networks, const TrainConfig& config, const fs::path& folder) {
  if (folder.empty() || !config.cache_latents) return {};
  const std::vector<std::string> encoder{"vae.encoder.", "vae.quant_conv"};
  const std::string identity = weights_identity(networks.layers, encoder, networks.compute.vae.dtype);
  networks.checkpoint->release_pages();
  return folder / ("latents-" + identity.substr(0, kFolderDigits));
}

Tensor flipped(const Tensor& image, bool flip) { return flip ? image.flip({-1}) : image; }

}  // namespace

LatentSource::LatentSource(const Networks& networks, const TrainConfig& config, const fs::path& folder)
    : networks_(networks), cached_(config.cache_latents), masked_(config.masks), cache_({.folder = latents_folder(networks, config, folder)}) {}

std::string LatentSource::key(const Item& item) const {
  return item.picture->content_hash + "." + std::to_string(item.bucket.width_px) + "x" + std::to_string(item.bucket.height_px) +
         (item.flipped ? ".flipped" : "");
}

std::string LatentSource::mask_key(const Item& item) const { return key({item.picture, item.bucket, false}) + ".mask"; }

// On the CPU one, so that a picture's bits never depend on what it was encoded with: a run that was killed while encoding goes on with the
// same.
int64_t LatentSource::at_once() const { return networks_.compute.vae.device.is_cpu() ? 1 : kAtOnceOnGpu; }

bool LatentSource::is_stored(const Item& item, bool flips) const {
  if (masked_ && !cache_.contains(mask_key(item))) return false;
  return cache_.contains(key(item)) && (!flips || cache_.contains(key({item.picture, item.bucket, true})));
}

// mask: [H, W] -> [h, w]
Tensor LatentSource::at_latent_size(const Tensor& mask) const {
  return torch::avg_pool2d(mask.unsqueeze(0), networks_.vae->config().factor())[0];
}

// pixels: [3, H, W] each, of one size -> [2, C, H/8, W/8] each.
std::vector<Tensor> LatentSource::encode(std::span<const Tensor> pixels) const {
  const torch::NoGradGuard no_gradients;
  std::vector<Tensor> results;
  for (size_t begin = 0; begin < pixels.size(); begin += static_cast<size_t>(at_once())) {
    const auto some = pixels.subspan(begin, std::min(static_cast<size_t>(at_once()), pixels.size() - begin));
    const VaeEncoding encoding = networks_.vae->encode(torch::stack(std::vector<Tensor>(some.begin(), some.end())));
    const Tensor all = torch::stack({encoding.mean, encoding.log_variance}, 1).to(torch::kCPU);
    if (!all.isfinite().all().item<bool>()) {
      throw Error(ErrorKind::bad_input, "the autoencoder gives numbers that are not finite",
                  "use --precision f32, or another autoencoder (--vae)");
    }
    for (int64_t i = 0; i < all.size(0); ++i) results.push_back(all[i].contiguous());
  }
  return results;
}

// -> what is wrong with it, or "".
std::string LatentSource::read(const Item& item, BucketPicture& picture) const {
  try {
    picture = read_into_bucket(*item.picture, item.bucket, masked_);
    return masked_ && picture.mask.max().item<float>() == 0 ? "its mask is black everywhere: nothing of it would be learnt" : "";
  } catch (const Error& error) {
    return error.message();
  }
}

void LatentSource::check(std::span<const Item> items, std::span<std::string> faults) const {
  kernels::parallel(static_cast<int64_t>(items.size()), [&](int64_t i) {
    BucketPicture unused;
    faults[static_cast<size_t>(i)] = read(items[static_cast<size_t>(i)], unused);
  });
}

// Items of one bucket.
void LatentSource::encode_group(std::span<const Item> items, bool flips, std::span<std::string> faults) {
  std::vector<std::string> keys;
  std::vector<Tensor> pixels;
  for (size_t i = 0; i < items.size(); ++i) {
    BucketPicture picture;
    faults[i] = read(items[i], picture);
    if (!faults[i].empty()) continue;
    if (masked_) cache_.add(mask_key(items[i]), at_latent_size(picture.mask));
    for (const bool flip : {false, true}) {
      if (flip && !flips) continue;
      keys.push_back(key({items[i].picture, items[i].bucket, flip}));
      pixels.push_back(flipped(picture.pixels, flip));
    }
  }
  const std::vector<Tensor> encoded = encode(pixels);
  for (size_t i = 0; i < keys.size(); ++i) cache_.add(keys[i], encoded[i]);
}

std::vector<std::string> LatentSource::prepare(std::span<const Item> items, bool flips, Progress& progress) {
  std::vector<std::string> faults(items.size());
  progress.stage(cached_ ? "encoding pictures" : "checking pictures", static_cast<int>(items.size()));
  const auto most = static_cast<size_t>(cached_ ? at_once() : kUncachedAtOnce);
  for (size_t begin = 0, end = 0; begin < items.size(); begin = end) {
    progress.check();
    const bool stored = cached_ && is_stored(items[begin], flips);
    for (end = begin + 1; end < items.size() && end - begin < most; ++end) {
      if (cached_ && (!(items[end].bucket == items[begin].bucket) || is_stored(items[end], flips) != stored)) break;
    }
    const auto group = items.subspan(begin, end - begin);
    const auto group_faults = std::span(faults).subspan(begin, end - begin);
    if (!cached_) check(group, group_faults);
    if (cached_ && !stored) encode_group(group, flips, group_faults);
    progress.step(static_cast<int>(end));
  }
  cache_.flush();
  return faults;
}

std::vector<Tensor> LatentSource::distributions(std::span<const Item> items) {
  std::vector<Tensor> found(items.size()), pixels;
  std::vector<size_t> missing;
  for (size_t i = 0; i < items.size(); ++i) {
    if (cached_) found[i] = cache_.find(key(items[i]));
    if (found[i].defined()) continue;
    missing.push_back(i);
    pixels.push_back(flipped(read_into_bucket(*items[i].picture, items[i].bucket, false).pixels, items[i].flipped));
  }
  const std::vector<Tensor> encoded = encode(pixels);
  for (size_t i = 0; i < missing.size(); ++i) {
    found[missing[i]] = encoded[i];
    if (cached_) cache_.add(key(items[missing[i]]), encoded[i]);
  }
  return found;
}

Tensor LatentSource::latents(std::span<const Item> items, std::span<const uint64_t> random) {
  std::vector<Tensor> rows = distributions(items);
  for (size_t i = 0; i < rows.size(); ++i) {
    const Tensor mean = rows[i][0], log_variance = rows[i][1];
    rows[i] = random.empty() ? mean : mean + torch::exp(log_variance * 0.5) * normal_tensor(mean.sizes().vec(), random[i]);
  }
  return torch::stack(rows) * networks_.spec.latent.scale;
}

Tensor LatentSource::masks(std::span<const Item> items) {
  if (!masked_) return {};
  std::vector<Tensor> rows;
  for (const Item& item : items) {
    Tensor mask = cached_ ? cache_.find(mask_key(item)) : Tensor();
    if (!mask.defined()) {
      mask = at_latent_size(read_into_bucket(*item.picture, item.bucket, true).mask);
      if (cached_) cache_.add(mask_key(item), mask);
    }
    rows.push_back(flipped(mask, item.flipped).unsqueeze(0));
  }
  return torch::stack(rows);
}

}  // namespace lorikeet
