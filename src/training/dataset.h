// The pictures of a run: found, checked, captioned, sorted into aspect buckets. Files are read once here, for their sizes and hashes;
// pixels come later.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "io/picture.h"
#include "training/buckets.h"
#include "training/config.h"

namespace lorikeet {

struct TrainPicture {
  std::filesystem::path path;                 // empty: a row of a run without pictures (a slider)
  std::optional<std::filesystem::path> mask;  // only when the run uses masks
  std::string caption;                        // with the trigger already in it
  std::string set;                            // the folder's own name, "10_sks robot": the key of ss_tag_frequency
  int repeats = 1;
  bool is_class = false;            // of the prior-preservation set
  int width_px = 0, height_px = 0;  // as shown: EXIF rotation applied
  bool alpha = false;               // has an alpha channel, which is the mask where masks are used and none is beside it
  size_t bucket = 0;                // index into Dataset::buckets
  std::string content_hash;         // sha256 of the file's bytes (and of the mask's): the key of the caches
};

struct Dataset {
  std::vector<TrainPicture> pictures;    // sorted by name below the folder, the class pictures behind: the same on every machine
  std::vector<TrainPicture> validation;  // held out
  std::vector<Bucket> buckets;           // those that are used, sorted
  std::vector<std::string> warnings;     // pictures skipped and why, captions re-coded, …

  const Bucket& bucket_of(const TrainPicture& picture) const { return buckets[picture.bucket]; }
};

// Reads what config.images, class_images and validation_images name: see picture_files.h for what a folder may hold. The trigger (and,
// where a new word is trained, that word) is put in front of captions that lack it; class pictures without caption get class_prompt, or
// are Error{bad_input} where there is none.
// kohya's number before a folder's name takes the place of config.repeats. Of validation_share each picture's hash decides, so that
// pictures that are added move no other. Error{not_found} / Error{bad_input}: no folder, no picture that can be read, a broken picture with
// config.strict, buckets that make no sense.
Dataset read_dataset(const TrainConfig& config, Progress& progress);

// By names alone, so that it is told before anything is loaded. Error{not_found}: no such folder; Error{bad_input}: no picture in it.
void check_there_are_pictures(const std::string& root);

// How many pictures a folder offers, by their names alone; 0 where there is no such folder. (How many class pictures have yet to be made.)
int64_t count_pictures(const std::filesystem::path& folder);

// The picture's pixels in its bucket: placed as buckets.h says, turned upright, RGB; a picture with alpha over white. -> [3, h, w] float32
// in -1..1; mask: [h, w] 0..1, undefined when the run uses none, all 1 where the picture has none. Error as read_picture.
struct BucketPicture {
  Tensor pixels, mask;
};
BucketPicture read_into_bucket(const TrainPicture& picture, const Bucket& bucket, bool masks);

}  // namespace lorikeet
