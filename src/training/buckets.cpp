#include "training/buckets.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"

namespace lorikeet {

namespace {

constexpr int kLatentPx = 8;  // pixels of a latent in every family (VaeConfig::factor())

int whole_steps(double px, int step_px) {
  const int rounded = static_cast<int>(px + 0.5);
  return rounded - rounded % step_px;
}

void check_multiple(const char* what, int px) {
  if (px > 0 && px % kLatentPx == 0) return;
  const int lower = std::max(kLatentPx, px / kLatentPx * kLatentPx);
  throw Error(ErrorKind::bad_input, std::string(what) + " is " + std::to_string(px) + ", which is no multiple of 8",
              "take " + std::to_string(lower) + " or " + std::to_string(lower + kLatentPx));
}

}  // namespace

std::vector<Bucket> make_buckets(int width_px, int height_px, int step_px, int least_px, int most_px) {
  const int64_t area = int64_t{width_px} * height_px;
  std::set<Bucket> buckets;
  const int side = static_cast<int>(std::sqrt(static_cast<double>(area))) / step_px * step_px;
  if (side > 0) buckets.insert({side, side});
  for (int width = std::max(1, (least_px + step_px - 1) / step_px) * step_px; width <= most_px; width += step_px) {
    const auto fitting = static_cast<int>(std::min<int64_t>(most_px, area / width)) / step_px * step_px;
    if (fitting < least_px || fitting == 0) continue;
    buckets.insert({width, fitting});
    buckets.insert({fitting, width});
  }
  if (buckets.empty()) {
    throw Error(ErrorKind::bad_input,
                "no bucket is left: a step of " + std::to_string(step_px) + " px is larger than pictures of " + std::to_string(width_px) +
                    " x " + std::to_string(height_px),
                "lower bucket_step");
  }
  return {buckets.begin(), buckets.end()};
}

size_t nearest_bucket(std::span<const Bucket> buckets, int width_px, int height_px) {
  const double wanted = static_cast<double>(width_px) / height_px;
  const auto error = [&](const Bucket& b) { return std::abs(static_cast<double>(b.width_px) / b.height_px - wanted); };
  const auto best = std::min_element(buckets.begin(), buckets.end(), [&](const Bucket& a, const Bucket& b) { return error(a) < error(b); });
  return static_cast<size_t>(best - buckets.begin());
}

Bucket bucket_without_upscaling(int width_px, int height_px, int area_px, int step_px) {
  double width = width_px, height = height_px;
  if (int64_t{width_px} * height_px > area_px) {
    // Either side may be the one that is a whole number of steps: the one that keeps the shape better.
    const double ratio = width / height, exact_width = std::sqrt(area_px * ratio), exact_height = area_px / exact_width;
    const int by_width = whole_steps(exact_width, step_px), by_height = whole_steps(exact_height, step_px);
    const double ratio_by_width = by_width / std::max(1.0, static_cast<double>(whole_steps(by_width / ratio, step_px)));
    const double ratio_by_height = whole_steps(by_height * ratio, step_px) / std::max(1.0, static_cast<double>(by_height));
    if (std::abs(ratio_by_width - ratio) < std::abs(ratio_by_height - ratio)) {
      width = by_width, height = std::floor(by_width / ratio + 0.5);
    } else {
      width = std::floor(by_height * ratio + 0.5), height = by_height;
    }
  }
  const int w = static_cast<int>(width), h = static_cast<int>(height);
  return {w - w % step_px, h - h % step_px};
}

std::vector<Bucket> buckets_of(const TrainConfig& config) {
  if (!config.buckets) {
    check_multiple("width", config.width);
    check_multiple("height", config.height);
    return {{config.width, config.height}};
  }
  check_multiple("bucket_step", config.bucket_step);
  if (config.bucket_least > config.bucket_most) {
    throw Error(ErrorKind::bad_input,
                "bucket_least " + std::to_string(config.bucket_least) + " is more than bucket_most " + std::to_string(config.bucket_most));
  }
  return make_buckets(config.width, config.height, config.bucket_step, config.bucket_least, config.bucket_most);
}

Bucket choose_bucket(std::span<const Bucket> buckets, const TrainConfig& config, int width_px, int height_px) {
  if (config.buckets && config.bucket_scaling == BucketScaling::down) {
    return bucket_without_upscaling(width_px, height_px, config.width * config.height, config.bucket_step);
  }
  const auto same = std::find(buckets.begin(), buckets.end(), Bucket{width_px, height_px});
  return same != buckets.end() ? *same : buckets[nearest_bucket(buckets, width_px, height_px)];
}

double Placement::lost() const {
  const double scaled = static_cast<double>(scaled_width_px) * scaled_height_px;
  return 1 - static_cast<double>(bucket.width_px) * bucket.height_px / scaled;
}

Placement place_in_bucket(int width_px, int height_px, const Bucket& bucket) {
  const double across = static_cast<double>(bucket.width_px) / width_px, down = static_cast<double>(bucket.height_px) / height_px;
  const double scale = std::max(across, down);
  Placement placement;
  placement.bucket = bucket;
  placement.scaled_width_px = std::max(bucket.width_px, static_cast<int>(width_px * scale + 0.5));
  placement.scaled_height_px = std::max(bucket.height_px, static_cast<int>(height_px * scale + 0.5));
  placement.crop_left_px = (placement.scaled_width_px - bucket.width_px) / 2;
  placement.crop_top_px = (placement.scaled_height_px - bucket.height_px) / 2;
  return placement;
}

}  // namespace lorikeet
