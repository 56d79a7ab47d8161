#include "sampling/noise.h"

#include <ATen/TensorIndexing.h>
#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace lorikeet {
namespace {

using torch::indexing::Slice;

// `small` laid on the middle of `large`, cut where it is the larger one. Both [C, H, W].
Tensor centred_on(Tensor large, const Tensor& small) {
  auto place = [](int64_t large_size, int64_t small_size) {
    int64_t offset = (large_size - small_size) >> 1;  // floor, also below 0: Python's //
    int64_t length = offset >= 0 ? small_size : small_size + 2 * offset;
    int64_t to = std::max<int64_t>(offset, 0), from = std::max<int64_t>(-offset, 0);
    return std::pair{Slice(to, to + length), Slice(from, from + length)};
  };
  auto [to_y, from_y] = place(large.size(1), small.size(1));
  auto [to_x, from_x] = place(large.size(2), small.size(2));
  large.index_put_({Slice(), to_y, to_x}, small.index({Slice(), from_y, from_x}));
  return large;
}

}  // namespace

std::vector<uint64_t> batch_seeds(uint64_t seed, int64_t count) {
  std::vector<uint64_t> seeds;
  for (int64_t i = 0; i < count; ++i) seeds.push_back(seed + static_cast<uint64_t>(i));
  return seeds;
}

Tensor slerp(double share, const Tensor& low, const Tensor& high) {
  Tensor low_unit = low / low.norm(2, {1}, true), high_unit = high / high.norm(2, {1}, true);
  Tensor dot = (low_unit * high_unit).sum(1);
  // The weights are A1111's: for nearly parallel noises they are the other way round than on the arc.
  if (dot.mean().item<double>() > 0.9995) return low * share + high * (1 - share);
  Tensor omega = dot.acos(), sine = omega.sin();
  return (((1 - share) * omega).sin() / sine).unsqueeze(1) * low + ((share * omega).sin() / sine).unsqueeze(1) * high;
}

PictureNoise::PictureNoise(NoiseSettings settings, Shape shape, Device device)
    : settings_(std::move(settings)), shape_(std::move(shape)), device_(device) {
  if (settings_.subseed_strength != 0 && settings_.subseeds.size() < settings_.seeds.size()) {
    throw Error(ErrorKind::bad_input, "a variation strength is given, but not a variation seed for each picture");
  }
  for (uint64_t seed : settings_.seeds) streams_.push_back(settings_.source->stream(seed));
}

Tensor PictureNoise::initial(size_t picture) {
  Tensor noise = streams_[picture]->normal(shape_);
  Tensor own = noise;
  auto seeded = [&](uint64_t seed, const Shape& shape) { return settings_.source->stream(seed)->normal(shape); };
  Shape small = shape_;
  if (settings_.seed_resize_width_px > 0 && settings_.seed_resize_height_px > 0) {
    small = {shape_[0], settings_.seed_resize_height_px / 8, settings_.seed_resize_width_px / 8};
    if (small != shape_) own = seeded(settings_.seeds[picture], small);
  }
  if (settings_.subseed_strength != 0) {
    own = slerp(settings_.subseed_strength, own, seeded(settings_.subseeds[picture], small));
  }
  return small == shape_ ? own : centred_on(noise, own);
}

Tensor PictureNoise::next() {
  std::vector<Tensor> pictures;
  for (size_t i = 0; i < streams_.size(); ++i) pictures.push_back(is_first_ ? initial(i) : streams_[i]->normal(shape_));
  if (is_first_ && settings_.eta_noise_seed_delta != 0) {
    for (size_t i = 0; i < streams_.size(); ++i) {
      streams_[i] = settings_.source->stream(settings_.seeds[i] + static_cast<uint64_t>(settings_.eta_noise_seed_delta));
    }
  }
  is_first_ = false;
  return torch::stack(pictures).to(device_);
}

void PictureNoise::prepare_between(std::span<const double> sigmas) {
  double low = 0, high = 0;
  for (double sigma : sigmas) {
    if (sigma > 0) low = low > 0 ? std::min(low, sigma) : sigma;
    high = std::max(high, sigma);
  }
  trees_.clear();
  if (low <= 0 || low >= high) return;
  for (uint64_t seed : settings_.seeds) trees_.emplace_back(low, high, shape_, seed, *settings_.source);
}

Tensor PictureNoise::between(double sigma, double sigma_next) {
  if (trees_.empty()) return next();
  std::vector<Tensor> pictures;
  for (const BrownianTree& tree : trees_) pictures.push_back(tree.increment(sigma_next, sigma));
  return (torch::stack(pictures) * -1 / std::sqrt(sigma - sigma_next)).to(device_);
}

}  // namespace lorikeet
