// What is computed once and kept: latents, encoded captions; and the batches that are made of them.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "io/atomic_file.h"
#include "io/image.h"
#include "io/picture_samples.h"
#include "model/tiny.h"
#include "prompt/conditioning.h"
#include "training/batch_source.h"
#include "training/random.h"

namespace lorikeet {

namespace fs = std::filesystem;
using testing::Bytes;
using testing::error_of;
using testing::ScratchFolder;

namespace {

std::shared_ptr<Networks> tiny_networks(std::string_view family, uint64_t seed = 1) {
  const ScratchFolder folder;
  const auto model = testing::tiny_model(family, /*inpainting=*/false, seed);
  testing::write_single_file(folder / "tiny.safetensors", model, testing::file_of(model));
  return load_networks(folder / "tiny.safetensors", {}, plan_compute("cpu", "f32"));
}

Networks& networks_of(std::string_view family) {
  static std::map<std::string, std::shared_ptr<Networks>, std::less<>> loaded;
  auto& networks = loaded[std::string(family)];
  if (!networks) networks = tiny_networks(family);
  return *networks;
}

void write(const fs::path& path, const Bytes& bytes) {
  write_file_atomically(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

// The shade is in the upper left corner too, so that no two are the same.
Picture sample(int width, int height, int shade) {
  Picture picture = testing::gradient(width, height, 3);
  for (size_t i = 0; i < 60; ++i) picture.pixels[i] = static_cast<uint8_t>(shade);
  return picture;
}

bool same(const Tensor& a, const Tensor& b) { return a.defined() == b.defined() && (!a.defined() || torch::equal(a, b)); }

size_t files_below(const fs::path& folder) {
  return static_cast<size_t>(
      std::count_if(fs::recursive_directory_iterator(folder), {}, [](const auto& entry) { return entry.is_regular_file(); }));
}

// Four pictures of two shapes with captions.
class CachesTest : public ::testing::Test {
 protected:
  CachesTest() {
    for (int i = 0; i < 4; ++i) {
      const std::string name = "p" + std::to_string(i);
      write(pictures_ / (name + ".png"), encode_picture(PictureFormat::png, i < 2 ? sample(48, 48, i) : sample(70, 30, i)));
      write_file_atomically(pictures_ / (name + ".txt"), "robot (series), tag" + std::to_string(i) + ", red, blue, green");
    }
    config_.images = pictures_.path().string();
    config_.trigger = "robot";
    config_.width = config_.height = 32;
    config_.bucket_step = 8, config_.bucket_least = 16, config_.bucket_most = 64;
  }

  Dataset dataset() {
    Progress progress;
    return read_dataset(config_, progress);
  }
  BatchSource source(std::string_view family = "sd1", BatchSource::Options options = {}) {
    Progress progress;
    return BatchSource(networks_of(family), dataset(), config_, std::move(options), progress);
  }
  static std::vector<LatentSource::Item> items(const Dataset& dataset, bool flipped = false) {
    std::vector<LatentSource::Item> list;
    for (const TrainPicture& picture : dataset.pictures) list.push_back({&picture, dataset.bucket_of(picture), flipped});
    return list;
  }
  // Two draws of the first bucket's shape.
  static std::vector<Draw> two_draws(const BatchSource& source, uint64_t number = 5) {
    const size_t bucket = source.dataset().pictures[0].bucket;
    return {{0, bucket, number, false}, {1, bucket, number + 1, true}};
  }
  static void expect_same(const TrainBatch& a, const TrainBatch& b) {
    EXPECT_TRUE(same(a.loss.latents, b.loss.latents));
    EXPECT_TRUE(same(a.loss.masks, b.loss.masks));
    EXPECT_TRUE(same(a.encoded.context, b.encoded.context));
    EXPECT_TRUE(same(a.encoded.pooled, b.encoded.pooled));
    EXPECT_TRUE(same(a.time_ids, b.time_ids));
    EXPECT_EQ(a.texts, b.texts);
    EXPECT_EQ(a.loss.random, b.loss.random);
  }

  ScratchFolder pictures_, cache_;
  TrainConfig config_;
};

}  // namespace

TEST(TensorCache, KeepsTensorsInMemoryUpToTheLimitAndAllInFiles) {
  const ScratchFolder folder;
  {
    TensorCache cache({.folder = folder.path(), .memory_bytes = 1000, .shard_bytes = 2000});
    for (int i = 0; i < 20; ++i) cache.add(std::to_string(i), torch::full({100}, 1.0 * i));  // 400 bytes each; five to a shard
    EXPECT_EQ(cache.memory_used(), 800);
    for (int i = 0; i < 20; ++i) EXPECT_TRUE(same(cache.find(std::to_string(i)), torch::full({100}, 1.0 * i)));
    EXPECT_FALSE(cache.find("20").defined());
    cache.flush();
  }
  EXPECT_EQ(files_below(folder.path()), 4U);
  TensorCache again({.folder = folder.path()});
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(same(again.find(std::to_string(i)), torch::full({100}, 1.0 * i)));
  EXPECT_TRUE(again.warnings().empty());
}

TEST(TensorCache, WithoutAFolderItForgetsWhatIsBeyondTheLimit) {
  TensorCache cache({.memory_bytes = 1000});
  for (int i = 0; i < 3; ++i) cache.add(std::to_string(i), torch::full({100}, 1.0 * i));
  EXPECT_TRUE(cache.contains("1"));
  EXPECT_FALSE(cache.contains("2"));
  cache.flush();
}

TEST(TensorCache, ADamagedShardIsNamedAndMadeAnew) {
  const ScratchFolder folder;
  TensorCache first({.folder = folder.path()});
  first.add("a", torch::ones({10}));
  first.flush();
  for (const auto& entry : fs::directory_iterator(folder.path())) fs::resize_file(entry.path(), 30);
  TensorCache second({.folder = folder.path()});
  EXPECT_EQ(second.warnings().size(), 1U);
  EXPECT_FALSE(second.contains("a"));
  second.add("a", torch::ones({10}));
  second.flush();
  EXPECT_TRUE(TensorCache({.folder = folder.path()}).warnings().empty());
}

TEST_F(CachesTest, ALatentIsDrawnFromWhatTheAutoencoderSays) {
  Networks& networks = networks_of("sd1");
  const Dataset data = dataset();
  LatentSource source(networks, config_, "");
  const auto first = std::vector<LatentSource::Item>{items(data)[2]};
  const torch::NoGradGuard no_gradients;
  const VaeEncoding wanted = networks.vae->encode(read_into_bucket(data.pictures[2], first[0].bucket, false).pixels.unsqueeze(0));
  EXPECT_TRUE(same(source.latents(first), wanted.mean * networks.spec.latent.scale));
  const uint64_t random = 11;
  const Tensor noise = normal_tensor(wanted.mean[0].sizes().vec(), random);
  const Tensor drawn = (wanted.mean[0] + torch::exp(wanted.log_variance[0] * 0.5) * noise) * networks.spec.latent.scale;
  EXPECT_TRUE(same(source.latents(first, std::span(&random, 1))[0], drawn));
  const uint64_t other = 12;
  EXPECT_FALSE(same(source.latents(first, std::span(&other, 1))[0], drawn));
}

TEST_F(CachesTest, AMirroredPictureIsEncodedByItself) {
  Networks& networks = networks_of("sd1");
  const Dataset data = dataset();
  LatentSource source(networks, config_, "");
  const auto mirrored = std::vector<LatentSource::Item>{items(data, true)[0]};
  const Tensor pixels = read_into_bucket(data.pictures[0], mirrored[0].bucket, false).pixels;
  const torch::NoGradGuard no_gradients;
  EXPECT_TRUE(same(source.latents(mirrored), networks.vae->encode(pixels.flip({2}).unsqueeze(0)).mean * networks.spec.latent.scale));
}

TEST_F(CachesTest, StoredLatentsServeTheNextRunToTheBit) {
  Networks& networks = networks_of("sd1");
  const Dataset data = dataset();
  Progress progress;
  LatentSource first(networks, config_, cache_.path());
  EXPECT_EQ(first.prepare(items(data), /*flips=*/true, progress), std::vector<std::string>(4));
  EXPECT_EQ(files_below(cache_.path()), 1U);                                   // all of them in one shard
  for (const TrainPicture& picture : data.pictures) fs::remove(picture.path);  // it must not be read again
  LatentSource second(networks, config_, cache_.path());
  EXPECT_EQ(second.prepare(items(data), true, progress), std::vector<std::string>(4));
  const std::vector<uint64_t> random{3};
  for (size_t i = 0; i < 4; ++i) {
    for (const bool flipped : {false, true}) {
      const std::vector<LatentSource::Item> one{items(data, flipped)[i]};
      EXPECT_TRUE(same(first.latents(one, random), second.latents(one, random)));
    }
  }
  // Another autoencoder finds nothing of it.
  const auto other = tiny_networks("sd1", /*seed=*/2);
  EXPECT_NE(LatentSource(*other, config_, cache_.path()).prepare(items(data), false, progress), std::vector<std::string>(4));
}

TEST_F(CachesTest, MasksAreMeansOverTheirPixels) {
  config_.masks = true;
  Picture mask{48, 48, 1, std::vector<uint8_t>(48 * 48, 0)};
  for (size_t i = 0; i < mask.pixels.size(); ++i) mask.pixels[i] = i % 48 < 12 ? 255 : 0;  // a quarter on the left
  write(pictures_ / "p0.mask.png", encode_picture(PictureFormat::png, mask));
  BatchSource with_cache = source();
  config_.cache_latents = false;
  BatchSource without = source();
  for (BatchSource* batches : {&with_cache, &without}) {
    auto draws = two_draws(*batches);
    draws[1] = draws[0], draws[1].flipped = true;
    const Tensor masks = batches->batch(draws).loss.masks;
    ASSERT_EQ(masks.sizes(), (Shape{2, 1, 4, 4}));
    EXPECT_NEAR(masks[0].mean().item<float>(), 0.25, 0.01);  // Lanczos, rounded to 8 bits
    EXPECT_GT(masks[0][0].select(1, 0).min().item<float>(), 0.97);
    EXPECT_TRUE(same(masks[1], masks[0].flip({2})));
    const Draw unmasked{1, draws[0].bucket, 0, false};
    EXPECT_TRUE(same(batches->batch(std::span(&unmasked, 1)).loss.masks, torch::ones({1, 1, 4, 4})));
  }
}

TEST_F(CachesTest, ABlackMaskTakesItsPictureOut) {
  config_.masks = true;
  write(pictures_ / "p0.mask.png", encode_picture(PictureFormat::png, Picture{48, 48, 1, std::vector<uint8_t>(48 * 48, 0)}));
  for (const bool cached : {true, false}) {
    config_.cache_latents = cached;
    const BatchSource batches = source();
    EXPECT_EQ(batches.dataset().pictures.size(), 3U);
    EXPECT_NE(batches.dataset().warnings.front().find("black"), std::string::npos);
  }
}

TEST_F(CachesTest, CaptionsAreTakenLiterally) {
  Networks& networks = networks_of("sd1");
  const torch::NoGradGuard no_gradients;
  const EmbeddingStore none;
  PromptEncoder prompts({networks.text_encoders[0].get()}, none, {});
  const std::vector<std::string> caption{"robot (series), [red] BREAK blue:1.2"};
  const Tensor found = encode_texts(networks, caption, none, {}).context[0];
  EXPECT_TRUE(same(found, prompts.encode("robot \\(series\\), \\[red\\] break blue:1.2").context));
  EXPECT_FALSE(same(found, prompts.encode(caption[0]).context.slice(0, 0, 77)));
}

TEST_F(CachesTest, RowsOfFewerChunksArePaddedWithTheEmptyText) {
  for (const char* family : {"sd1", "sdxl"}) {
    Networks& networks = networks_of(family);
    std::string lengthy, endless;
    for (int i = 0; i < 100; ++i) lengthy += "red ";
    for (int i = 0; i < 400; ++i) endless += "red ";
    const std::vector<std::string> texts{"a robot", lengthy, "", endless};
    TextSource source(networks, config_, "");
    const EncodedTexts together = source.encode(texts);
    EXPECT_EQ(together.context.size(1), 3 * 77);
    const auto alone = [&](const std::string& text) { return source.encode(std::span(&text, 1)); };
    const Tensor empty = alone("").context[0];
    EXPECT_TRUE(same(together.context[0], torch::cat({alone("a robot").context[0], empty, empty})));
    EXPECT_TRUE(same(together.context[1], torch::cat({alone(lengthy).context[0], empty})));
    EXPECT_EQ(together.pooled.defined(), networks.spec.pooled);
    EXPECT_TRUE(is_too_long(endless));
    EXPECT_FALSE(is_too_long(lengthy));
    // In one pass with gradients the numbers are the same up to the order of sums in single precision.
    const EncodedTexts pass = encode_texts(networks, texts, {}, {});
    EXPECT_TRUE(torch::allclose(pass.context, together.context, 1e-4, 1e-5));
    if (!pass.pooled.defined()) continue;
    EXPECT_TRUE(torch::allclose(pass.pooled, together.pooled, 1e-4, 1e-5));
  }
}

TEST_F(CachesTest, GradientsReachTheVectorsOfATrainedWord) {
  BatchSource batches = source("sdxl", {.trains_text = true, .cache_folder = ""});
  const Tensor l = torch::randn({2, 16}).requires_grad_(), g = torch::randn({2, 32}).requires_grad_();
  const auto word = std::make_shared<const Embedding>(Embedding{"zzqx", "", {l, g}});
  const std::vector<std::string> texts{"a zzqx robot", "red"};
  const EncodedTexts encoded = batches.encode(texts, word);
  EXPECT_EQ(encoded.context.sizes(), (Shape{2, 77, 48}));
  (encoded.context.square().mean() + encoded.pooled.square().mean()).backward();
  for (const Tensor& vectors : {l, g}) {
    ASSERT_TRUE(vectors.grad().defined());
    EXPECT_TRUE((vectors.grad() != 0).any(1).all().item<bool>());
  }
  EXPECT_FALSE(same(encoded.context[0], batches.encode(texts, nullptr).context[0]));
  EXPECT_TRUE(same(encoded.context[1], batches.encode(texts, nullptr).context[1]));
  const auto narrow = std::make_shared<const Embedding>(Embedding{"zzqx", "", {l}});
  EXPECT_THROW(batches.encode(texts, narrow), Error);
}

TEST_F(CachesTest, EncodedCaptionsAreStoredAndFoundAgain) {
  config_.shuffle_tags = true;
  config_.caption_dropout = 0.2;
  for (const char* family : {"sd1", "sdxl"}) {
    const ScratchFolder folder;
    BatchSource first = source(family, {.cache_folder = folder.path()});
    const size_t files = files_below(folder.path());
    EXPECT_EQ(files, 2U);  // a shard of latents, one of texts
    BatchSource second = source(family, {.cache_folder = folder.path()}), memory_only = source(family);
    for (uint64_t number = 0; number < 10; ++number) {
      const TrainBatch wanted = first.batch(two_draws(first, number));
      expect_same(wanted, second.batch(two_draws(second, number)));
      expect_same(wanted, memory_only.batch(two_draws(memory_only, number)));
    }
    EXPECT_EQ(files_below(folder.path()), files);  // every text of the draws was there
  }
}

TEST_F(CachesTest, CachesChangeNoBit) {
  for (const char* family : {"sd1", "sdxl"}) {
    config_.cache_latents = config_.cache_text = true;
    BatchSource cached = source(family);
    config_.cache_latents = config_.cache_text = false;
    BatchSource uncached = source(family);
    for (uint64_t number = 0; number < 3; ++number)
      expect_same(cached.batch(two_draws(cached, number)), uncached.batch(two_draws(uncached, number)));
  }
}

TEST_F(CachesTest, ARowIsTheSameInWhateverBatchItStands) {
  config_.shuffle_tags = true;
  BatchSource batches = source("sdxl");
  const auto draws = two_draws(batches);
  const TrainBatch both = batches.batch(draws);
  for (size_t i = 0; i < 2; ++i) {
    const TrainBatch one = batches.batch(std::span(&draws[i], 1));
    const auto row = static_cast<int64_t>(i);
    EXPECT_TRUE(same(one.loss.latents[0], both.loss.latents[row]));
    EXPECT_TRUE(same(one.encoded.context[0], both.encoded.context[row]));
    EXPECT_TRUE(same(one.encoded.pooled[0], both.encoded.pooled[row]));
    EXPECT_EQ(one.loss.random[0], both.loss.random[i]);
    EXPECT_EQ(one.texts[0], both.texts[i]);
  }
}

TEST_F(CachesTest, BatchesHaveWhatAStepNeeds) {
  write(pictures_ / "1_robot.png", encode_picture(PictureFormat::png, sample(48, 48, 9)));
  const ScratchFolder classes;
  write(classes / "x.png", encode_picture(PictureFormat::png, sample(48, 48, 77)));
  config_.class_images = classes.path().string(), config_.class_prompt = "a machine", config_.prior_loss_weight = 0.5;
  BatchSource batches = source("sdxl");
  const Dataset& data = batches.dataset();
  const size_t of_class = data.pictures.size() - 1, wide = data.pictures[4].bucket;
  const std::vector<Draw> draws{{4, wide, 0, false}, {of_class, wide, 1, false}};
  const TrainBatch batch = batches.batch(draws);
  EXPECT_EQ(batch.texts, (std::vector<std::string>{"robot (series), tag3, red, blue, green", "a machine"}));
  EXPECT_TRUE(same(batch.loss.weights, torch::tensor({1.0f, 0.5f})));
  const Bucket& bucket = data.buckets[wide];
  EXPECT_EQ(batch.loss.latents.sizes(), (Shape{2, 4, bucket.height_px / 8, bucket.width_px / 8}));
  EXPECT_FALSE(batch.loss.masks.defined());
  const Placement place = place_in_bucket(70, 30, bucket), square = place_in_bucket(48, 48, bucket);
  const auto f = [](int64_t value) { return static_cast<float>(value); };
  EXPECT_TRUE(
      same(batch.time_ids,
           torch::tensor({{30.0f, 70.0f, f(place.crop_top_px), f(place.crop_left_px), f(bucket.height_px), f(bucket.width_px)},
                          {48.0f, 48.0f, f(square.crop_top_px), f(square.crop_left_px), f(bucket.height_px), f(bucket.width_px)}})));
  EXPECT_FALSE(source("sd1").batch(std::span(draws).first(1)).time_ids.defined());
}

TEST_F(CachesTest, ValidationIsAlwaysTheSame) {
  config_.shuffle_tags = true, config_.flip = true, config_.caption_dropout = 0.5;
  BatchSource batches = source();
  const std::vector<const TrainPicture*> pictures{&batches.dataset().pictures[1], &batches.dataset().pictures[0]};
  const TrainBatch batch = batches.fixed_batch(pictures);
  EXPECT_EQ(batch.texts[0], "robot (series), tag1, red, blue, green");
  expect_same(batch, batches.fixed_batch(pictures));
  const TrainBatch alone = batches.fixed_batch(std::span(pictures).subspan(1));
  EXPECT_EQ(alone.loss.random[0], batch.loss.random[1]);
  EXPECT_TRUE(same(alone.loss.latents[0], batch.loss.latents[1]));
}

TEST_F(CachesTest, TheTextEncodersAreLeftToTheStepWhereTheyAreTrained) {
  BatchSource batches = source("sd1", {.trains_text = true, .cache_folder = cache_.path()});
  EXPECT_FALSE(batches.batch(two_draws(batches)).encoded.context.defined());
  EXPECT_EQ(files_below(cache_.path()), 1U);  // latents alone
}

TEST_F(CachesTest, DamageThatOnlyDecodingFindsTakesAPictureOut) {
  // A JPEG without its quantisation table: marker 0xFFDB, then its length.
  Bytes jpeg = testing::make_jpeg(false, {}, 48, 48);
  for (size_t i = 2; i + 3 < jpeg.size();) {
    const size_t length = 2 + (size_t{jpeg[i + 2]} << 8 | jpeg[i + 3]);
    if (jpeg[i + 1] == 0xDA) break;
    if (jpeg[i + 1] == 0xDB)
      jpeg.erase(jpeg.begin() + static_cast<std::ptrdiff_t>(i), jpeg.begin() + static_cast<std::ptrdiff_t>(i + length));
    else
      i += length;
  }
  write(pictures_ / "bad.jpg", jpeg);
  EXPECT_EQ(dataset().pictures.size(), 5U);
  for (const bool cached : {true, false}) {
    config_.strict = false, config_.cache_latents = cached;
    const BatchSource batches = source();
    EXPECT_EQ(batches.dataset().pictures.size(), 4U);
    ASSERT_FALSE(batches.dataset().warnings.empty());
    EXPECT_NE(batches.dataset().warnings.front().find("bad.jpg is skipped"), std::string::npos);
    config_.strict = true;
    EXPECT_NE(error_of([&] { source(); }).find("bad.jpg"), std::string::npos);
  }
}

TEST_F(CachesTest, CaptionsBeyondThreeChunksAreNamed) {
  std::string endless;
  for (int i = 0; i < 230; ++i) endless += "red ";
  write_file_atomically(pictures_ / "p0.txt", endless);
  const BatchSource batches = source();
  ASSERT_FALSE(batches.dataset().warnings.empty());
  EXPECT_NE(batches.dataset().warnings.back().find("more than 225 tokens"), std::string::npos);
}

}  // namespace lorikeet
