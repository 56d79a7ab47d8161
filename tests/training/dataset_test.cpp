// Folders of tiny pictures, whole and broken in every way that people's pictures are.
#include "training/dataset.h"

#include <gtest/gtest.h>
#include <png.h>

#include <algorithm>
#include <fstream>

#include "io/picture_samples.h"
#include "model/tiny.h"
#include "training/picture_files.h"
#include "training/random.h"

namespace lorikeet::dataset_test {

namespace fs = std::filesystem;
using testing::Bytes;
using testing::error_of;
using testing::ScratchFolder;

namespace {

void write(const fs::path& path, std::string_view text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary).write(text.data(), static_cast<std::streamsize>(text.size()));
}
void write(const fs::path& path, const Bytes& bytes) {
  write(path, std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

// One colour, another for each `shade`.
Picture plain(int width, int height, int shade, int channels = 3) {
  Picture picture{width, height, channels, std::vector<uint8_t>(static_cast<size_t>(width) * height * channels, 200)};
  for (size_t i = 0; i < picture.pixels.size(); i += static_cast<size_t>(channels)) picture.pixels[i] = static_cast<uint8_t>(shade);
  return picture;
}

void write_png(const fs::path& path, int width, int height, int shade = 1, int channels = 3) {
  write(path, encode_picture(PictureFormat::png, plain(width, height, shade, channels)));
}

class DatasetTest : public ::testing::Test {
 protected:
  DatasetTest() {
    config_.images = folder_.path().string();
    config_.width = config_.height = 64;
    config_.bucket_step = 8, config_.bucket_least = 32, config_.bucket_most = 128;
    config_.trigger = "sks robot";
  }
  Dataset read() {
    Progress progress;
    return read_dataset(config_, progress);
  }
  static std::vector<std::string> captions(const Dataset& dataset) {
    std::vector<std::string> list;
    for (const TrainPicture& picture : dataset.pictures) list.push_back(picture.caption);
    return list;
  }
  static bool warns(const Dataset& dataset, std::string_view part) {
    return std::any_of(dataset.warnings.begin(), dataset.warnings.end(),
                       [&](const std::string& line) { return line.find(part) != std::string::npos; });
  }

  ScratchFolder folder_;
  TrainConfig config_;
};

}  // namespace

TEST_F(DatasetTest, CaptionsStandBesideThePictures) {
  write_png(folder_ / "a.png", 64, 64, 1);
  write(folder_ / "a.txt", "a street\nat night");
  write_png(folder_ / "b.png", 64, 64, 2);
  write(folder_ / "b.caption", "an sks robot");
  write_png(folder_ / "c.JPG", 64, 64, 3);  // by content, whatever the name
  write_png(folder_ / "sub/d.png", 64, 64, 4);
  write(folder_ / "sub/d.txt", "");
  const Dataset dataset = read();
  EXPECT_EQ(captions(dataset), (std::vector<std::string>{"sks robot, a street at night", "an sks robot", "sks robot", "sks robot"}));
  EXPECT_EQ(dataset.pictures[3].set, "sub");
  EXPECT_EQ(dataset.pictures[0].set, fs::canonical(folder_.path()).filename());
  EXPECT_TRUE(dataset.warnings.empty()) << dataset.warnings.front();
}

TEST_F(DatasetTest, CaptionsInOddEncodingsAreRead) {
  const std::string_view encoded[] = {
      "\xEF\xBB\xBF"
      "K\xC3\xA4"
      "fer",
      std::string_view("\xFF\xFEK\0\xE4\0f\0e\0r\0", 12), std::string_view("\xFE\xFF\0K\0\xE4\0f\0e\0r", 12),
      "K\xE4"
      "fer"};
  for (int i = 0; i < 4; ++i) {
    const std::string name = std::to_string(i);
    write_png(folder_ / (name + ".png"), 64, 64, i);
    write(folder_ / (name + ".txt"), encoded[i]);
  }
  const Dataset dataset = read();
  EXPECT_EQ(captions(dataset), std::vector<std::string>(4, "sks robot, K\u00e4fer"));
  EXPECT_EQ(dataset.warnings.size(), 1U);
  EXPECT_TRUE(warns(dataset, "3.txt is no UTF-8; it is read as Latin-1"));
}

TEST_F(DatasetTest, KohyasFoldersGiveRepeatsAndCaption) {
  write_png(folder_ / "10_sks robot/a.png", 64, 64, 1);
  write_png(folder_ / "10_sks robot/deeper/b.png", 64, 64, 2);
  write_png(folder_ / "2_big_dog/c.png", 64, 64, 3);
  write(folder_ / "2_big_dog/c.txt", "a dog, running");
  write_png(folder_ / "other/d.png", 64, 64, 4);
  write_png(folder_ / "2024_trip/e.png", 64, 64, 5);
  config_.trigger = "";
  config_.repeats = 3;
  const Dataset dataset = read();
  const auto& p = dataset.pictures;
  ASSERT_EQ(p.size(), 5U);
  EXPECT_EQ(captions(dataset), (std::vector<std::string>{"sks robot", "sks robot", "trip", "a dog, running", ""}));
  EXPECT_EQ(p[0].repeats, 10);
  EXPECT_EQ(p[1].repeats, 10);
  EXPECT_EQ(p[1].set, "10_sks robot");
  EXPECT_EQ(p[3].repeats, 2);
  EXPECT_EQ(p[4].repeats, 3);
  EXPECT_TRUE(warns(dataset, "counts 2024 times an epoch"));
  EXPECT_TRUE(warns(dataset, "1 picture has no caption and there is no trigger"));
}

TEST_F(DatasetTest, ListsOfJsonLinesAreRead) {
  write_png(folder_ / "a.png", 64, 64, 1);
  write_png(folder_ / "sub/b.png", 64, 64, 2);
  write_png(folder_ / "c.png", 64, 64, 3);
  const std::string lines =
      "{\"file_name\": \"a.png\", \"text\": \"a \\u00e4\", \"width\": 64}\n\n{\"image\": \"sub/b.png\", \"caption\": \"b\"}\n";
  write(folder_ / "list.jsonl", lines + "{\"file_name\": \"no.png\", \"text\": \"x\"}\nnonsense\n{\"text\": \"x\"}\n");
  config_.images = (folder_ / "list.jsonl").string();
  const Dataset listed = read();
  EXPECT_EQ(captions(listed), (std::vector<std::string>{"sks robot, a \u00e4", "sks robot, b"}));
  EXPECT_TRUE(warns(listed, "line 4 of"));
  EXPECT_TRUE(warns(listed, "line 5 of"));
  EXPECT_TRUE(warns(listed, "line 6 of"));
  EXPECT_TRUE(warns(listed, "these fields are not used: width"));
  // As metadata.jsonl in the folder it gives captions, and the other pictures are there too.
  write(folder_ / "metadata.jsonl", lines + "{\"file_name\": \"no.png\", \"text\": \"x\"}\n");
  config_.images = folder_.path().string();
  const Dataset folder = read();
  EXPECT_EQ(captions(folder), (std::vector<std::string>{"sks robot, a \u00e4", "sks robot", "sks robot, b"}));
  EXPECT_TRUE(warns(folder, "no.png is skipped"));
  config_.strict = true;
  EXPECT_NE(error_of([&] { read(); }).find("no.png"), std::string::npos);
}

TEST_F(DatasetTest, DamagedListsNeverDoWorseThanWarnings) {
  write_png(folder_ / "a.png", 16, 16, 1);
  const std::string sound = "{\"file_name\": \"a.png\", \"text\": \"a \\u00e4 [[[\", \"x\": [[1, {\"y\": null}]]}\n";
  for (uint64_t i = 0; i < 400; ++i) {
    std::string damaged = sound + sound;
    for (uint64_t k = 0; k < 1 + i % 4; ++k)
      damaged[random_bits(i, "place", k) % damaged.size()] = static_cast<char>(random_bits(i, "byte", k));
    write(folder_ / "metadata.jsonl", damaged);
    DataProblems problems(false);
    const auto found = find_pictures(folder_.path(), problems);
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].name, "a.png");
  }
}

TEST_F(DatasetTest, OrderDoesNotDependOnTheFileSystem) {
  for (const char* name : {"b.png", "a/z.png", "c.png", "a.png", "B.png"})
    write_png(folder_ / name, 64, 64, static_cast<int>(name[0]) + name[1]);
  std::vector<std::string> names;
  for (const TrainPicture& picture : read().pictures) names.push_back(picture.path.lexically_relative(folder_.path()).generic_string());
  EXPECT_EQ(names, (std::vector<std::string>{"B.png", "a.png", "a/z.png", "b.png", "c.png"}));
}

TEST_F(DatasetTest, EveryKindOfPictureIsReadAsItIsShown) {
  write(folder_ / "cmyk.jpg", testing::make_jpeg(true, {}));
  write(folder_ / "palette.png", testing::make_png({PNG_COLOR_TYPE_PALETTE, 2, true}, 1, {0b00011011, 0}));
  write(folder_ / "rotated.jpg", testing::make_jpeg(false, testing::orientation_exif(6)));
  write(folder_ / "sixteen.png", testing::make_png({PNG_COLOR_TYPE_RGB, 16, false}, 24, Bytes(48, 128)));
  write_png(folder_ / "gray.png", 20, 10, 90, 1);
  write(folder_ / "web.webp", encode_picture(PictureFormat::webp, plain(20, 10, 8, 4), {}, 100));
  const Dataset dataset = read();
  ASSERT_EQ(dataset.pictures.size(), 6U);
  const TrainPicture& rotated = dataset.pictures[3];
  EXPECT_EQ(rotated.path.filename(), "rotated.jpg");
  EXPECT_EQ(rotated.width_px, 8);
  EXPECT_EQ(rotated.height_px, 16);
  EXPECT_LT(dataset.bucket_of(rotated).width_px, dataset.bucket_of(rotated).height_px);
  for (const TrainPicture& picture : dataset.pictures) {
    const Bucket& bucket = dataset.bucket_of(picture);
    const BucketPicture read = read_into_bucket(picture, bucket, false);
    EXPECT_EQ(read.pixels.sizes(), (Shape{3, bucket.height_px, bucket.width_px})) << picture.path;
    EXPECT_GE(read.pixels.min().item<float>(), -1);
    EXPECT_LE(read.pixels.max().item<float>(), 1);
    EXPECT_FALSE(read.mask.defined());
  }
  // Orientation 6: the dark left half of the file is shown on top.
  const Tensor pixels = read_into_bucket(rotated, dataset.bucket_of(rotated), false).pixels;
  EXPECT_LT(pixels.slice(1, 0, 8).mean().item<float>(), -0.5);
  EXPECT_GT(pixels.slice(1, -8).mean().item<float>(), 0.5);
}

TEST_F(DatasetTest, TransparencyIsShownOverWhite) {
  Picture picture = plain(64, 64, 0, 4);
  for (size_t i = 3; i < picture.pixels.size(); i += 4) picture.pixels[i] = 0;
  write(folder_ / "a.png", encode_picture(PictureFormat::png, picture));
  const Dataset dataset = read();
  EXPECT_EQ(read_into_bucket(dataset.pictures[0], {64, 64}, false).pixels.min().item<float>(), 1);
}

TEST_F(DatasetTest, BrokenPicturesAreNamedAndSkippedOrStopAStrictRun) {
  write_png(folder_ / "good.png", 64, 64);
  const Bytes png = encode_picture(PictureFormat::png, testing::gradient(40, 40, 3)),
              jpeg = encode_picture(PictureFormat::jpeg, testing::gradient(40, 40, 3));
  Bytes flipped = png;
  flipped[png.size() / 2] ^= 0x10;
  const std::vector<std::pair<std::string, Bytes>> broken{
      {"empty.png", {}},
      {"half.png", {png.begin(), png.begin() + static_cast<std::ptrdiff_t>(png.size() / 2)}},
      {"half.jpg", {jpeg.begin(), jpeg.begin() + static_cast<std::ptrdiff_t>(jpeg.size() / 2)}},
      {"bit.png", flipped},
      {"page.jpg", {'<', 'h', 't', 'm', 'l', '>'}}};
  for (const auto& [name, bytes] : broken) write(folder_ / name, bytes);
  write(folder_ / "._good.png", "a resource fork");
  write(folder_ / "moving.gif", "GIF89a");
  const Dataset dataset = read();
  ASSERT_EQ(dataset.pictures.size(), 1U);
  for (const auto& [name, bytes] : broken) EXPECT_TRUE(warns(dataset, name + " is skipped: ")) << name;
  EXPECT_TRUE(warns(dataset, "the file is empty"));
  EXPECT_TRUE(warns(dataset, "moving.gif"));
  EXPECT_FALSE(warns(dataset, "._good"));
  config_.strict = true;
  for (const auto& [name, bytes] : broken) {
    for (const auto& [other, unused] : broken) fs::remove(folder_ / other);
    write(folder_ / name, bytes);
    const std::string error = error_of([&] { read(); });
    EXPECT_NE(error.find(name), std::string::npos) << error;
    EXPECT_NE(error.find("--strict"), std::string::npos) << error;
  }
}

TEST_F(DatasetTest, NothingToReadIsAClearError) {
  EXPECT_NE(error_of([&] { read(); }).find("there is no picture in "), std::string::npos);
  write(folder_ / "a.png", "");
  EXPECT_NE(error_of([&] { read(); }).find("of 1 picture in "), std::string::npos);
  config_.images = (folder_ / "nowhere").string();
  EXPECT_NE(error_of([&] { read(); }).find("there is no folder "), std::string::npos);
  config_.images = (folder_ / "a.png").string();
  EXPECT_NE(error_of([&] { read(); }).find("neither a folder nor"), std::string::npos);
  config_.images = "";
  EXPECT_NE(error_of([&] { read(); }).find("--images"), std::string::npos);
  EXPECT_EQ(count_pictures(folder_ / "nowhere"), 0);
  EXPECT_EQ(count_pictures(folder_.path()), 1);
}

TEST_F(DatasetTest, OnePictureWorksWithAWarning) {
  write_png(folder_ / "a.png", 64, 64);
  const Dataset dataset = read();
  EXPECT_EQ(dataset.pictures.size(), 1U);
  EXPECT_TRUE(warns(dataset, "only one picture"));
}

TEST_F(DatasetTest, CopiesAndPicturesThatLoseMuchAreNamed) {
  write_png(folder_ / "a.png", 64, 64);
  write_png(folder_ / "b.png", 64, 64);
  write_png(folder_ / "long.png", 1000, 50, 3);
  const Dataset dataset = read();
  EXPECT_TRUE(warns(dataset, "1 picture is a copy of another"));
  EXPECT_TRUE(warns(dataset, "long.png, 80 %"));  // 128 x 32 keeps 4 of 20
}

TEST_F(DatasetTest, BucketsAreThoseThatAreUsed) {
  write_png(folder_ / "a.png", 100, 100, 1);
  write_png(folder_ / "b.png", 200, 100, 2);
  const Dataset both = read();
  EXPECT_EQ(both.buckets, (std::vector<Bucket>{{64, 64}, {88, 40}}));  // of 88 x 40 = 2.2 and 80 x 48 = 1.67 the first is nearer to 2
  EXPECT_EQ(both.bucket_of(both.pictures[1]), (Bucket{88, 40}));
  config_.bucket_scaling = BucketScaling::down;
  write_png(folder_ / "c.png", 30, 20, 3);
  write_png(folder_ / "d.png", 5, 20, 4);
  const Dataset down = read();
  EXPECT_EQ(down.bucket_of(down.pictures[2]), (Bucket{24, 16}));
  EXPECT_TRUE(warns(down, "d.png is skipped: it is smaller than a bucket"));
  config_.buckets = false;
  EXPECT_EQ(read().buckets, (std::vector<Bucket>{{64, 64}}));
}

TEST_F(DatasetTest, MasksAreFoundAndPlacedLikeThePicture) {
  Picture mask = plain(40, 20, 0, 1);  // left half trains
  for (int i = 0; i < 800; ++i) mask.pixels[static_cast<size_t>(i)] = i % 40 < 20 ? 255 : 0;
  write_png(folder_ / "a.png", 80, 40, 1);
  write(folder_ / "a.mask.png", encode_picture(PictureFormat::png, mask));
  write_png(folder_ / "b.png", 80, 40, 2);
  write(folder_ / "b-masklabel.png", encode_picture(PictureFormat::png, mask));
  Picture alpha = plain(80, 40, 3, 4);
  for (size_t i = 0; i < 3200; ++i) alpha.pixels[4 * i + 3] = i % 80 < 40 ? 255 : 0;
  write(folder_ / "c.png", encode_picture(PictureFormat::png, alpha));
  write_png(folder_ / "d.png", 80, 40, 4);
  Picture opaque = plain(80, 40, 5, 4);
  for (size_t i = 3; i < opaque.pixels.size(); i += 4) opaque.pixels[i] = 255;
  write(folder_ / "e.png", encode_picture(PictureFormat::png, opaque));
  write_png(folder_ / "f.png", 40, 80, 6);
  write(folder_ / "f.mask.png", encode_picture(PictureFormat::png, mask));
  const Dataset unmasked = read();
  EXPECT_EQ(unmasked.pictures.size(), 6U);
  EXPECT_TRUE(warns(unmasked, "3 masks lie beside the pictures"));
  config_.masks = true;
  const Dataset dataset = read();
  ASSERT_EQ(dataset.pictures.size(), 5U);
  EXPECT_TRUE(warns(dataset, "f.png is skipped: its mask f.mask.png has another shape"));
  for (int i = 0; i < 5; ++i) {
    const TrainPicture& picture = dataset.pictures[static_cast<size_t>(i)];
    const Bucket& bucket = dataset.bucket_of(picture);
    const Tensor read = read_into_bucket(picture, bucket, true).mask;
    ASSERT_EQ(read.sizes(), (Shape{bucket.height_px, bucket.width_px}));
    EXPECT_GT(read.slice(1, 0, bucket.width_px / 2 - 8).min().item<float>(), 0.9) << i;  // Lanczos rings beside the edge
    EXPECT_EQ(read.slice(1, bucket.width_px / 2 + 8).max().item<float>() < 0.1, i < 3) << i;
  }
  EXPECT_NE(dataset.pictures[0].content_hash, unmasked.pictures[0].content_hash);
}

TEST_F(DatasetTest, HeldOutPicturesStayHeldOutWhenOthersAreAdded) {
  config_.validation_share = 0.3;
  for (int i = 0; i < 60; ++i) write_png(folder_ / ("a" + std::to_string(i) + ".png"), 16, 16, i);
  const auto held = [](const Dataset& dataset) {
    std::vector<std::string> names;
    for (const TrainPicture& picture : dataset.validation) names.push_back(picture.path.filename());
    return names;
  };
  const Dataset before = read();
  EXPECT_EQ(before.pictures.size() + before.validation.size(), 60U);
  EXPECT_NEAR(static_cast<double>(before.validation.size()), 18, 11);  // three deviations of a binomial
  for (int i = 0; i < 30; ++i) write_png(folder_ / ("b" + std::to_string(i) + ".png"), 16, 16, 100 + i);
  const auto after = held(read());
  for (const std::string& name : held(before)) EXPECT_NE(std::find(after.begin(), after.end(), name), after.end()) << name;
}

TEST_F(DatasetTest, HoldingOutTakesAtLeastOneAndLeavesAtLeastOne) {
  config_.validation_share = 0.0001;
  write_png(folder_ / "a.png", 16, 16, 1);
  EXPECT_THROW(read(), Error);
  write_png(folder_ / "b.png", 16, 16, 2);
  for (const double share : {0.0001, 0.5}) {
    config_.validation_share = share;
    const Dataset dataset = read();
    EXPECT_EQ(dataset.pictures.size(), 1U);
    EXPECT_EQ(dataset.validation.size(), 1U);
  }
}

TEST_F(DatasetTest, ClassAndValidationFoldersAreReadBeside) {
  const ScratchFolder classes, held;
  write_png(folder_ / "a.png", 64, 64, 1);
  write_png(folder_ / "b.png", 64, 64, 2);
  write_png(classes / "1_robot/x.png", 64, 64, 3);
  write_png(classes / "y.png", 64, 64, 4);
  write_png(held / "z.png", 64, 64, 5);
  config_.class_images = classes.path().string();
  config_.class_prompt = "a robot";
  config_.validation_images = held.path().string();
  config_.repeats = 4;
  const Dataset dataset = read();
  ASSERT_EQ(dataset.pictures.size(), 4U);
  EXPECT_EQ(captions(dataset), (std::vector<std::string>{"sks robot", "sks robot", "robot", "a robot"}));
  EXPECT_FALSE(dataset.pictures[1].is_class);
  EXPECT_TRUE(dataset.pictures[2].is_class);
  EXPECT_EQ(dataset.pictures[1].repeats, 4);
  EXPECT_EQ(dataset.pictures[3].repeats, 1);
  ASSERT_EQ(dataset.validation.size(), 1U);
  EXPECT_EQ(dataset.validation[0].caption, "sks robot");
}

TEST_F(DatasetTest, ClassPicturesWithCaptionsNeedNoClassPrompt) {
  const ScratchFolder classes;
  write_png(folder_ / "a.png", 64, 64, 1);
  write_png(classes / "x.png", 64, 64, 3);
  write(classes / "x.txt", "a robot on a hill");
  config_.class_images = classes.path().string();
  EXPECT_EQ(captions(read()), (std::vector<std::string>{"sks robot", "a robot on a hill"}));
  write_png(classes / "y.png", 64, 64, 4);
  const std::string error = error_of([&] { read(); });
  EXPECT_NE(error.find("1 class picture has no caption"), std::string::npos) << error;
  EXPECT_NE(error.find("y.png"), std::string::npos) << error;
  EXPECT_NE(error.find("--class-prompt"), std::string::npos) << error;
}

TEST_F(DatasetTest, ANewWordStandsInEveryCaption) {
  write_png(folder_ / "a.png", 64, 64, 1);
  write_png(folder_ / "b.png", 64, 64, 2);
  write(folder_ / "b.txt", "<rob> on a hill");
  config_.token = "<rob>";
  EXPECT_EQ(read().pictures[0].caption, "sks robot");  // LoRA alone: no new word
  config_.method = TrainMethod::pivotal;
  EXPECT_EQ(captions(read()), (std::vector<std::string>{"sks robot, <rob>", "sks robot, <rob> on a hill"}));
}

TEST_F(DatasetTest, ReadingCanBeCancelled) {
  write_png(folder_ / "a.png", 64, 64, 1);
  Progress progress;
  progress.cancel();
  EXPECT_THROW(read_dataset(config_, progress), Error);
}

}  // namespace lorikeet::dataset_test
