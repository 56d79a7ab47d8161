// Aspect buckets: which sizes a run trains at, which of them a picture goes to, and how it is scaled and cropped into it.
// kohya's sd-scripts, library/model_util.py make_bucket_resolutions and library/train_util.py BucketManager.
#pragma once
#include <compare>
#include <span>
#include <vector>

#include "training/config.h"

namespace lorikeet {

struct Bucket {
  int width_px = 0, height_px = 0;
  auto operator<=>(const Bucket&) const = default;
};

// All buckets of a run, sorted: sides are multiples of step, between least and most, of at most the area width·height; and the square of
// that area, whatever its side. Error{bad_input}: no such size.
std::vector<Bucket> make_buckets(int width_px, int height_px, int step_px, int least_px, int most_px);

// The bucket of nearly the picture's aspect ratio (least difference of width / height; of equal ones the first). Not empty.
size_t nearest_bucket(std::span<const Bucket> buckets, int width_px, int height_px);

// BucketScaling::down: the picture's own size, made smaller to the area if it is larger, its sides cut to multiples of the step. A side of
// 0: the picture is smaller than one step.
Bucket bucket_without_upscaling(int width_px, int height_px, int area_px, int step_px);

// The bucket of a picture by the settings: one of `buckets`, or its own with BucketScaling::down. Sides may be 0 as above.
Bucket choose_bucket(std::span<const Bucket> buckets, const TrainConfig& config, int width_px, int height_px);
// Those that choose_bucket() takes from: make_buckets(), or width × height alone without buckets. Error{bad_input}: sides or a step that
// are no multiples of 8, which the autoencoder needs.
std::vector<Bucket> buckets_of(const TrainConfig& config);

// How a picture gets into a bucket: scaled to cover it, keeping its shape, then cropped at the centre.
struct Placement {
  int scaled_width_px = 0, scaled_height_px = 0;
  int crop_left_px = 0, crop_top_px = 0;  // of the scaled picture, as SDXL's time ids count
  double lost() const;                    // the share of the scaled picture that is cropped away, 0…1
  Bucket bucket;
};
Placement place_in_bucket(int width_px, int height_px, const Bucket& bucket);

}  // namespace lorikeet
