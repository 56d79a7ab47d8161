#include "training/dataset.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "io/hash.h"
#include "io/image.h"
#include "io/mapped_file.h"
#include "nn/kernels/parallel.h"
#include "training/captions.h"
#include "training/picture_files.h"

namespace lorikeet {

namespace fs = std::filesystem;

namespace {

constexpr int64_t kFilesAtOnce = 64;      // between two looks at whether the person has cancelled
constexpr double kMostLost = 1.0 / 3;     // of a picture's area that cropping may take without a word
constexpr double kMaskShapeError = 0.02;  // between the aspect ratios of a picture and its mask
constexpr int kManyRepeats = 200;         // "2024_holiday" is hardly meant as a number of repeats

struct Contents {
  PictureInfo info;
  std::string hash;
};

Contents look_at(const fs::path& path) {
  const auto file = MappedFile::open(path);
  const auto bytes = file->bytes();
  return {picture_info({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}), sha256(bytes)};
}

std::string counted(size_t count, const std::string& one, const std::string& many) {
  return std::to_string(count) + " " + (count == 1 ? one : many);
}

std::vector<FoundPicture> some_pictures(const std::string& root, DataProblems& problems) {
  std::vector<FoundPicture> found = find_pictures(root, problems);
  if (found.empty()) throw Error(ErrorKind::bad_input, "there is no picture in " + root, "PNG, JPEG and WebP are read");
  return found;
}

// What a picture is for: decides about its caption and its place.
enum class Part { training, class_pictures, validation };

class DatasetReader {
 public:
  DatasetReader(const TrainConfig& config, Progress& progress)
      : config_(config), progress_(progress), problems_(config.strict), choices_(buckets_of(config)) {}

  Dataset read() {
    if (config_.images.empty()) throw Error(ErrorKind::bad_input, "no pictures are named", "give a folder of pictures: --images FOLDER");
    read_part(config_.images, Part::training, dataset_.pictures);
    const size_t trained = dataset_.pictures.size();
    hold_out();
    if (trained == 1) problems_.warn("there is only one picture: what is learnt will be that picture");
    if (!config_.validation_images.empty()) read_part(config_.validation_images, Part::validation, dataset_.validation);
    if (!config_.class_images.empty()) read_part(config_.class_images, Part::class_pictures, dataset_.pictures);
    check_class_captions();
    warn_of_captions();
    warn_of_crops();
    warn_of_masks();
    number_buckets();
    dataset_.warnings = problems_.take();
    return std::move(dataset_);
  }

 private:
  void read_part(const std::string& root, Part part, std::vector<TrainPicture>& to) {
    const std::vector<FoundPicture> found = some_pictures(root, problems_);
    std::vector<TrainPicture> pictures(found.size());
    std::vector<std::string> faults(found.size());
    const auto total = static_cast<int64_t>(found.size());
    progress_.stage("reading pictures", static_cast<int>(total));
    for (int64_t begin = 0; begin < total; begin += kFilesAtOnce) {
      progress_.check();
      const int64_t count = std::min(kFilesAtOnce, total - begin);
      kernels::parallel(count, [&](int64_t i) {
        const auto at = static_cast<size_t>(begin + i);
        faults[at] = open(found[at], part, pictures[at]);
      });
      progress_.step(static_cast<int>(begin + count));
    }
    size_t readable = 0;
    for (size_t i = 0; i < found.size(); ++i) {
      if (!faults[i].empty()) {
        problems_.skip(found[i].path.string(), faults[i]);
        continue;
      }
      ++readable;
      to.push_back(std::move(pictures[i]));
    }
    if (readable == 0) {
      throw Error(ErrorKind::bad_input, "of " + counted(found.size(), "picture", "pictures") + " in " + root + " none can be used",
                  found.front().path.string() + ": " + faults.front());
    }
    warn_of_sets(found);
    if (part == Part::training) warn_of_copies(to);
  }

  // Fills `picture`; -> what is wrong with it, or "".
  std::string open(const FoundPicture& found, Part part, TrainPicture& picture) const {
    try {
      const Contents contents = look_at(found.path);
      picture.path = found.path;
      picture.set = found.set.name;
      picture.is_class = part == Part::class_pictures;
      picture.repeats = found.set.repeats.value_or(picture.is_class ? 1 : config_.repeats);
      picture.width_px = contents.info.width_px, picture.height_px = contents.info.height_px;
      picture.alpha = contents.info.alpha;
      picture.content_hash = contents.hash;
      picture.caption = caption_of(found, picture.is_class);
      const Bucket bucket = choose_bucket(choices_, config_, picture.width_px, picture.height_px);
      if (bucket.width_px == 0 || bucket.height_px == 0) {
        return "it is smaller than a bucket (" + std::to_string(config_.bucket_step) + " px), and bucket_scaling is down";
      }
      return config_.masks && found.mask ? add_mask(*found.mask, picture) : "";
    } catch (const Error& error) {
      return error.message();
    }
  }

  static std::string add_mask(const fs::path& path, TrainPicture& picture) {
    const Contents mask = look_at(path);
    const double shape = static_cast<double>(picture.width_px) / picture.height_px;
    const double mask_shape = static_cast<double>(mask.info.width_px) / mask.info.height_px;
    if (std::abs(mask_shape / shape - 1) > kMaskShapeError) {
      return "its mask " + path.filename().string() + " has another shape: " + std::to_string(mask.info.width_px) + " x " +
             std::to_string(mask.info.height_px) + ", the picture " + std::to_string(picture.width_px) + " x " +
             std::to_string(picture.height_px);
    }
    picture.mask = path;
    picture.content_hash = sha256(picture.content_hash + mask.hash);
    return "";
  }

  std::string caption_of(const FoundPicture& found, bool is_class) const {
    std::string caption = found.caption.value_or(found.set.caption);
    if (is_class) return caption.empty() ? config_.class_prompt : caption;
    const bool new_word = config_.method == TrainMethod::textual_inversion || config_.method == TrainMethod::pivotal;
    if (new_word && !has_words(config_.trigger, config_.token)) caption = with_words_in_front(config_.token, caption);
    return with_words_in_front(config_.trigger, caption);
  }

  // Pictures whose hash, read as a number 0…1, is below the share; at least one, and never all.
  void hold_out() {
    auto& pictures = dataset_.pictures;
    if (config_.validation_share <= 0) return;
    if (pictures.size() < 2)
      throw Error(ErrorKind::bad_input, "of one picture none can be held out for validation", "leave out validation_share");
    std::vector<std::string> hashes;
    for (const TrainPicture& picture : pictures) hashes.push_back(picture.content_hash);
    std::sort(hashes.begin(), hashes.end());
    const auto held = [&](const std::string& hash) {
      const double place = static_cast<double>(std::stoul(hash.substr(0, 8), nullptr, 16)) / 4294967296.0;  // 2^32
      return hash == hashes.front() || (hash != hashes.back() && place < config_.validation_share);
    };
    const auto middle =
        std::stable_partition(pictures.begin(), pictures.end(), [&](const TrainPicture& p) { return !held(p.content_hash); });
    dataset_.validation.assign(std::make_move_iterator(middle), std::make_move_iterator(pictures.end()));
    pictures.erase(middle, pictures.end());
    if (pictures.empty())
      throw Error(ErrorKind::bad_input, "all pictures are copies of one: none can be held out", "leave out validation_share");
  }

  void number_buckets() {
    std::set<Bucket> used;
    const auto bucket_of = [&](const TrainPicture& p) { return choose_bucket(choices_, config_, p.width_px, p.height_px); };
    const auto each = [&](auto work) {
      for (TrainPicture& picture : dataset_.pictures) work(picture);
      for (TrainPicture& picture : dataset_.validation) work(picture);
    };
    each([&](TrainPicture& p) { used.insert(bucket_of(p)); });
    dataset_.buckets.assign(used.begin(), used.end());
    each([&](TrainPicture& p) { p.bucket = static_cast<size_t>(std::distance(used.begin(), used.find(bucket_of(p)))); });
  }

  // Prior preservation with an empty caption would preserve something else.
  void check_class_captions() const {
    const auto nameless = [](const TrainPicture& p) { return p.is_class && p.caption.empty(); };
    const auto& pictures = dataset_.pictures;
    const auto first = std::find_if(pictures.begin(), pictures.end(), nameless);
    if (first == pictures.end()) return;
    const auto count = static_cast<size_t>(std::count_if(first, pictures.end(), nameless));
    throw Error(ErrorKind::bad_input,
                counted(count, "class picture has", "class pictures have") + " no caption (first: " + first->path.string() + "), and there is no class_prompt",
                "say what they show with --class-prompt, like \"a robot\"");
  }

  void warn_of_captions() {
    const auto empty =
        std::count_if(dataset_.pictures.begin(), dataset_.pictures.end(), [](const TrainPicture& p) { return p.caption.empty(); });
    if (empty == 0) return;
    problems_.warn(counted(static_cast<size_t>(empty), "picture has", "pictures have") +
                   " no caption and there is no trigger: nothing will call what is learnt from them (--trigger WORDS)");
  }

  void warn_of_crops() {
    size_t cut = 0;
    const TrainPicture* worst = nullptr;
    double most = kMostLost;
    for (const TrainPicture& picture : dataset_.pictures) {
      const Bucket bucket = choose_bucket(choices_, config_, picture.width_px, picture.height_px);
      const double lost = place_in_bucket(picture.width_px, picture.height_px, bucket).lost();
      cut += lost > kMostLost;
      if (lost > most) most = lost, worst = &picture;
    }
    if (!worst) return;
    problems_.warn(counted(cut, "picture loses", "pictures lose") + " more than a third by cropping (most: " + worst->path.string() + ", " +
                   std::to_string(static_cast<int>(most * 100 + 0.5)) +
                   " %); no bucket has their shape (see buckets, bucket_least, bucket_most)");
  }

  void warn_of_masks() {
    if (!config_.masks) return;
    const auto has = [](const TrainPicture& p) { return p.mask || p.alpha; };
    if (std::any_of(dataset_.pictures.begin(), dataset_.pictures.end(), has)) return;
    problems_.warn("masks are asked for, but no picture has one (NAME.mask.png, NAME-masklabel.png or an alpha channel)");
  }

  void warn_of_sets(const std::vector<FoundPicture>& found) {
    std::map<std::string, int> many;
    size_t unused_masks = 0;
    for (const FoundPicture& one : found) {
      unused_masks += one.mask.has_value() && !config_.masks;
      if (one.set.repeats.value_or(1) > kManyRepeats) many[one.set.name] = *one.set.repeats;
    }
    for (const auto& [name, repeats] : many) {
      problems_.warn("each picture of the folder \"" + name + "\" counts " + std::to_string(repeats) +
                     " times an epoch, by the number in front of its name");
    }
    if (unused_masks > 0)
      problems_.warn(counted(unused_masks, "mask lies", "masks lie") + " beside the pictures, but masks are not used (--masks)");
  }

  void warn_of_copies(const std::vector<TrainPicture>& pictures) {
    std::map<std::string_view, const TrainPicture*> first;
    size_t copies = 0;
    std::string example;
    for (const TrainPicture& picture : pictures) {
      const auto [known, fresh] = first.emplace(picture.content_hash, &picture);
      if (fresh) continue;
      if (copies++ == 0) example = known->second->path.string() + " and " + picture.path.string();
    }
    if (copies > 0) problems_.warn(counted(copies, "picture is a copy of another", "pictures are copies of others") + " (" + example + ")");
  }

  const TrainConfig& config_;
  Progress& progress_;
  DataProblems problems_;
  std::vector<Bucket> choices_;
  Dataset dataset_;
};

Tensor crop(const Tensor& image, const Placement& place) {
  return image.slice(1, place.crop_top_px, place.crop_top_px + place.bucket.height_px)
      .slice(2, place.crop_left_px, place.crop_left_px + place.bucket.width_px);
}

// [1, H, W] of any size, or undefined.
Tensor mask_image(const TrainPicture& picture, const Picture& pixels) {
  if (picture.mask) return mask_of(read_picture(*picture.mask).picture);
  if (pixels.channels != 4) return {};
  Picture alpha{pixels.width_px, pixels.height_px, 1, {}};
  for (size_t i = 3; i < pixels.pixels.size(); i += 4) alpha.pixels.push_back(pixels.pixels[i]);
  return mask_of(alpha);
}

}  // namespace

Dataset read_dataset(const TrainConfig& config, Progress& progress) {
  return with_context("while reading the pictures", [&] { return DatasetReader(config, progress).read(); });
}

void check_there_are_pictures(const std::string& root) {
  DataProblems unheard(false);
  some_pictures(root, unheard);
}

int64_t count_pictures(const fs::path& folder) {
  std::error_code code;
  if (!fs::exists(folder, code)) return 0;
  DataProblems unheard(false);
  return static_cast<int64_t>(find_pictures(folder, unheard).size());
}

BucketPicture read_into_bucket(const TrainPicture& picture, const Bucket& bucket, bool masks) {
  const Picture pixels = read_picture(picture.path).picture;
  const Placement place = place_in_bucket(pixels.width_px, pixels.height_px, bucket);
  const auto placed = [&](const Tensor& image) { return crop(resize(image, place.scaled_width_px, place.scaled_height_px), place); };
  BucketPicture result{placed(image_of(pixels)).mul(2).sub(1).contiguous(), {}};
  if (!masks) return result;
  const Tensor mask = mask_image(picture, pixels);
  result.mask = mask.defined() ? placed(mask)[0].contiguous() : torch::ones({bucket.height_px, bucket.width_px});
  return result;
}

}  // namespace lorikeet
