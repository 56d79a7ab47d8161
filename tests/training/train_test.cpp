// Whole training runs on a tiny checkpoint: what comes out, that a killed run goes on exactly, that several processes agree with one.
#include "training/train.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "base/error.h"
#include "lora/apply.h"
#include "model/fresh_weights.h"
#include "prompt/embedding_file.h"
#include "sampling/run_plan.h"
#include "training/optimizer.h"
#include "training/process_group.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;

ModelSpec tiny_spec() {
  ModelSpec spec;
  spec.family = "sd1";
  spec.prediction = "epsilon";
  spec.text_encoders = {ClipConfig{.width = 16, .layers = 2, .heads = 2, .intermediate = 32}};
  spec.unet = UNetConfig{.channels = {16, 32, 32, 32}, .heads = {2, 2, 2, 2}, .context = 16, .groups = 4};
  spec.vae = VaeConfig{.channels = {8, 16, 16, 16}, .groups = 4};
  return spec;
}

fs::path folder_of(pid_t process) { return fs::temp_directory_path() / ("lorikeet-train-test-" + std::to_string(process)); }

// One checkpoint and one folder of pictures for all tests of this process.
struct Scene {
  fs::path folder = folder_of(::getpid());
  fs::path checkpoint = folder / "tiny.safetensors", images = folder / "photos";

  Scene() {
    fs::create_directories(images);
    write_fresh_checkpoint(checkpoint, tiny_spec(), FreshWeights(5));
    for (int i = 0; i < 6; ++i) {
      Picture picture;
      picture.width_px = picture.height_px = 64;
      for (int p = 0; p < 64 * 64; ++p) {
        for (int c = 0; c < 3; ++c) picture.pixels.push_back(static_cast<uint8_t>((p * (c + 1 + i) / 16 + 40 * i) % 256));
      }
      write_picture(images / ("photo" + std::to_string(i) + ".png"), picture);
      std::ofstream(images / ("photo" + std::to_string(i) + ".txt")) << "a fox, number " << i;
    }
  }
  ~Scene() {
    std::error_code ignored;
    fs::remove_all(folder, ignored);
  }
};

Scene& scene() {
  static Scene one;
  return one;
}

TrainConfig config_named(const std::string& name) {
  TrainConfig config;
  config.model = scene().checkpoint.string();
  config.images = scene().images.string();
  config.out = name;
  config.run_dir = (scene().folder / "runs" / name).string();
  config.trigger = "sks";
  config.width = config.height = 64;
  config.buckets = false;
  config.rank = 2;
  config.batch_size = 2;
  config.steps = 6;
  config.backup_every = 2;
  config.learning_rate = 1e-3;
  config.precision = "f32";
  config.save_dtype = SaveDtype::f32;
  return config;
}

// The same for what has no rank.
TrainConfig config_without_adapters(const std::string& name, TrainMethod method) {
  TrainConfig config = config_named(name);
  config.method = method;
  config.rank = TrainConfig{}.rank;
  return config;
}

TrainResult run(const TrainConfig& config, const TrainHooks& hooks = {}) {
  Progress progress;
  return train(config, hooks, progress);
}

std::map<std::string, Tensor> tensors_of(const fs::path& path) {
  std::map<std::string, Tensor> tensors;
  const auto file = TensorFile::open(path);
  for (const auto& [name, entry] : file->tensors()) tensors[name] = entry.view().clone();
  return tensors;
}

void expect_equal_bits(const fs::path& a, const fs::path& b) {
  const auto one = tensors_of(a), other = tensors_of(b);
  ASSERT_EQ(one.size(), other.size());
  ASSERT_FALSE(one.empty());
  for (const auto& [name, tensor] : one) {
    ASSERT_TRUE(other.contains(name)) << name;
    EXPECT_TRUE(torch::equal(tensor, other.at(name))) << name;
  }
}

// Cancels at a step; the run writes a backup and throws.
void run_until(const TrainConfig& config, int64_t step) {
  Progress progress;
  TrainHooks hooks;
  hooks.logged = [&](const LogRow& row, int64_t) {
    if (row.step == step) progress.cancel();
  };
  EXPECT_THROW(train(config, hooks, progress), Error);
}

TrainResult resumed(const TrainConfig& config) {
  Progress progress;
  return resume_training(config.run_dir, {}, progress);
}

// Runs this test program again with LORIKEET_TRAIN_TEST=what and its own environment. -> wait status
int run_child(const std::string& what, const std::map<std::string, std::string>& environment) {
  const pid_t child = fork();
  if (child == 0) {
    ::setenv("LORIKEET_TRAIN_TEST", what.c_str(), 1);
    for (const auto& [name, value] : environment) ::setenv(name.c_str(), value.c_str(), 1);
    ::execl("/proc/self/exe", "training_test", "--gtest_filter=TrainChild.*", static_cast<char*>(nullptr));
    ::_exit(127);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  fs::remove_all(folder_of(child));  // a child that was killed leaves its own
  return status;
}

std::map<std::string, std::string> environment_of(const TrainConfig& config) {
  return {{"LORIKEET_TRAIN_MODEL", config.model}, {"LORIKEET_TRAIN_IMAGES", config.images}, {"LORIKEET_TRAIN_RUN", config.run_dir}};
}

// What a child process of the tests below does; nothing in a plain run.
TEST(TrainChild, DoesWhatItsParentAsks) {
  const char* what = std::getenv("LORIKEET_TRAIN_TEST");
  if (!what) GTEST_SKIP() << "only for child processes";
  TrainConfig config = config_named(fs::path(std::getenv("LORIKEET_TRAIN_RUN")).filename().string());
  config.model = std::getenv("LORIKEET_TRAIN_MODEL");
  config.images = std::getenv("LORIKEET_TRAIN_IMAGES");
  config.run_dir = std::getenv("LORIKEET_TRAIN_RUN");
  TrainHooks hooks;
  if (std::string(what) == "die") {
    hooks.logged = [](const LogRow& row, int64_t) {
      if (row.step == 5) ::kill(::getpid(), SIGKILL);
    };
  } else if (std::string(what) == "half") {
    config.batch_size = 1;
  }
  run(config, hooks);
}

TEST(Train, AFolderOfPicturesBecomesALoraThatFitsEveryLayerAndLowersTheLoss) {
  TrainConfig config = config_named("learns");
  config.steps = 60;
  config.learning_rate = 2e-2;
  config.validate_every = 60;
  std::vector<LogRow> rows;
  TrainHooks hooks;
  hooks.logged = [&](const LogRow& row, int64_t) { rows.push_back(row); };
  TrainConfig untrained = config_named("untrained");
  untrained.steps = 1;
  untrained.learning_rate = 1e-12;
  untrained.validate_every = 1;
  std::vector<LogRow> first;
  TrainHooks first_hooks;
  first_hooks.logged = [&](const LogRow& row, int64_t) { first.push_back(row); };
  run(untrained, first_hooks);
  const TrainResult result = run(config, hooks);
  ASSERT_EQ(rows.size(), 60u);
  EXPECT_LT(*rows.back().train_validation, 0.9 * *first.back().train_validation);  // far beyond what rounding could do

  const auto networks = load_networks(config.model, {}, plan_compute("cpu", "f32"));
  const auto lora = load_lora(*LoraFile::open(result.file), networks->layers, "sd1");
  EXPECT_EQ(lora->report.matched, lora->report.total);
  EXPECT_GT(lora->report.matched, 50);
  EXPECT_TRUE(lora->report.unused.empty());
  const LoraSummary summary = LoraFile::open(result.file)->summary();
  EXPECT_EQ(summary.trigger_phrase, "sks");
  EXPECT_EQ(summary.alias, "learns");
  EXPECT_TRUE(fs::exists(result.folder / "loss.png"));
  EXPECT_TRUE(fs::exists(result.folder / "learns-best.safetensors"));
}

TEST(Train, AFolderWithoutPicturesIsToldBeforeAnythingIsMade) {
  TrainConfig config = config_named("no-pictures");
  config.images = (scene().folder / "empty").string();
  fs::create_directories(config.images);
  Progress progress;
  try {
    train(config, {}, progress);
    FAIL() << "trained on nothing";
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("there is no picture in"), std::string::npos) << error.message();
  }
  EXPECT_FALSE(fs::exists(config.run_dir));
}

TEST(Train, ARunThatIsCancelledAndResumedGivesTheSameBitsAsOneThatIsNot) {
  const TrainResult whole = run(config_named("whole"));
  const TrainConfig config = config_named("parted");
  run_until(config, 3);
  const TrainResult parted = resumed(config);
  EXPECT_EQ(parted.steps, 6);
  expect_equal_bits(whole.file, parted.file);
}

TEST(Train, ABackupOfABuildThatDrewOtherNoiseGoesOnButIsTold) {
  const TrainConfig config = config_named("older");
  run_until(config, 2);
  EXPECT_TRUE(resumed(config).warnings.empty());
  const fs::path backup = fs::path(config.run_dir) / "backups/step-000006.safetensors";
  {
    const auto file = TensorFile::open(backup);
    auto metadata = file->metadata();
    ASSERT_EQ(std::erase_if(metadata, [](const auto& entry) { return entry.first.ends_with("draws"); }), 1u);
    write_safetensors(backup, tensors_of(backup), metadata);
  }
  const TrainResult result = resumed(config);
  ASSERT_EQ(result.warnings.size(), 1u);
  EXPECT_NE(result.warnings[0].find("not to the same bits"), std::string::npos) << result.warnings[0];
}

TEST(Train, ClassPicturesMustBeThereOrSayWhatTheyShow) {
  TrainConfig config = config_named("classless");
  config.class_images = (scene().folder / "no-class").string();
  try {
    run(config);
    FAIL() << "class pictures of nothing";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("--class-prompt"), std::string::npos) << error.what();
  }
  EXPECT_FALSE(fs::exists(config.class_images));
  config.class_images = config.images;  // they have captions
  EXPECT_EQ(run(config).steps, 6);
}

TEST(Train, ARunThatIsKilledGoesOnFromItsLastBackupWithTheSameBits) {
  const TrainResult whole = run(config_named("unkilled"));
  const TrainConfig config = config_named("killed");
  const int status = run_child("die", environment_of(config));
  ASSERT_TRUE(WIFSIGNALED(status)) << status;
  EXPECT_FALSE(fs::exists(fs::path(config.run_dir) / "killed.safetensors"));
  expect_equal_bits(whole.file, resumed(config).file);
  // Steps 5 and 6 stand in the log once: the killed run's row 5 was cut off.
  std::ifstream log(fs::path(config.run_dir) / "log.csv");
  int lines = 0;
  for (std::string line; std::getline(log, line);) ++lines;
  EXPECT_EQ(lines, 1 + 6);
}

class TrainWith : public ::testing::TestWithParam<std::string> {};

TEST_P(TrainWith, EveryOptimizerResumesExactlyWithAveragesAccumulationAndDropout) {
  TrainConfig config = config_named("opt-" + GetParam());
  config.optimizer = GetParam();
  config.learning_rate = find_optimizer(GetParam()).typical_learning_rate;
  config.accumulation = 2;
  config.ema_decay = 0.9;
  config.rank_dropout = 0.3;
  config.shuffle_tags = true;
  config.tag_dropout = 0.2;
  config.flip = true;
  config.train_text_encoder = false;
  config.steps = 4;
  const TrainResult whole = run(config);
  TrainConfig parted = config;
  parted.out += "-parted";
  parted.run_dir += "-parted";
  run_until(parted, 1);
  expect_equal_bits(whole.file, resumed(parted).file);
}

std::vector<std::string> optimizer_names() {
  std::vector<std::string> names;
  for (const OptimizerKind& kind : optimizers()) names.emplace_back(kind.name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Optimizers, TrainWith, ::testing::ValuesIn(optimizer_names()), [](const auto& info) { return info.param; });

TEST(Train, GradientCheckpointingChangesNoBit) {
  const TrainResult plain = run(config_named("kept"));
  TrainConfig config = config_named("recomputed");
  config.gradient_checkpointing = true;
  expect_equal_bits(plain.file, run(config).file);
}

TEST(Train, TwoProcessesWithHalfTheBatchGiveTheWeightsOfOne) {
  TrainConfig config = config_named("together");
  const TrainResult one = run(config);
  config.out = "apart";
  config.run_dir = (scene().folder / "runs" / "apart").string();
  auto environment = environment_of(config);
  environment["LORIKEET_TRAIN_TEST"] = "half";
  for (const auto& [name, value] : environment) ::setenv(name.c_str(), value.c_str(), 1);
  EXPECT_EQ(launch_processes(2, {"/proc/self/exe", "--gtest_filter=TrainChild.*"}), 0);
  for (const auto& [name, value] : environment) ::unsetenv(name.c_str());
  const auto a = tensors_of(one.file), b = tensors_of(fs::path(config.run_dir) / "apart.safetensors");
  ASSERT_EQ(a.size(), b.size());
  double most = 0;
  for (const auto& [name, tensor] : a) most = std::max(most, (tensor - b.at(name)).abs().max().item<double>());
  // Two sums of one row instead of one of two rows: float32 rounding, which AdamW's division carries to the weights: its steps are of size
  // 1e-3, and a gradient that is nearly zero may turn its sign.
  EXPECT_LT(most, 2e-4);
}

TEST(Train, ALearningRateThatExplodesStopsTheRunNamesTheLayerAndKeepsTheBackup) {
  TrainConfig config = config_named("explodes");
  // Each step multiplies the weights by 1 - learning rate · decay = -99: they overflow after some twenty steps.
  config.learning_rate = 100;
  config.weight_decay = 1;
  config.max_grad_norm = 0;
  config.backup_every = 1;
  config.steps = 50;
  std::string message;
  try {
    run(config);
  } catch (const Error& error) {
    message = error.what();
  }
  EXPECT_NE(message.find("no longer a finite number"), std::string::npos) << message;
  EXPECT_NE(message.find("--learning-rate"), std::string::npos) << message;
  EXPECT_TRUE(message.find("unet.") != std::string::npos || message.find("text_encoder") != std::string::npos) << message;
  EXPECT_FALSE(fs::exists(fs::path(config.run_dir) / "explodes.safetensors"));
  for (const auto& entry : fs::directory_iterator(fs::path(config.run_dir) / "backups")) {
    for (const auto& [name, tensor] : tensors_of(entry.path())) {
      if (!tensor.is_floating_point()) continue;
      EXPECT_TRUE(torch::isfinite(tensor).all().item<bool>()) << name;
    }
  }
}

TEST(Train, ASecondRunIntoTheSameFolderIsRefusedWithOtherSettings) {
  TrainConfig config = config_named("taken");
  run_until(config, 2);
  config.rank = 4;
  try {
    run(config);
    FAIL() << "two runs in one folder";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::bad_input);
    EXPECT_NE(std::string(error.what()).find("rank"), std::string::npos) << error.what();
  }
}

TEST(Train, TextualInversionWritesAnEmbeddingThatTheReaderKnows) {
  TrainConfig config = config_without_adapters("word", TrainMethod::textual_inversion);
  config.token = "sks";
  config.vectors = 3;
  config.initial_text = "fox";
  config.embedding_learning_rate = 1e-2;
  const auto embeddings = read_embedding_file(run(config).file);
  ASSERT_EQ(embeddings.size(), 1u);
  EXPECT_EQ(embeddings[0].name, "word");
  EXPECT_EQ(embeddings[0].count(), 3);
}

TEST(Train, FullFineTuningWritesACheckpointThatLoadsAndDiffers) {
  TrainConfig config = config_without_adapters("tuned", TrainMethod::full);
  config.gradient_checkpointing = true;
  const TrainResult result = run(config);
  const auto before = load_networks(config.model, {}, plan_compute("cpu", "f32")), after = load_networks(result.file, {}, plan_compute("cpu", "f32"));
  EXPECT_EQ(before->layers.size(), after->layers.size());
  const auto differs = [&](const std::string& path) {
    return !torch::equal(before->layers.at(path)->base_weight().to(torch::kFloat), after->layers.at(path)->base_weight().to(torch::kFloat));
  };
  EXPECT_TRUE(differs("unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k"));
  EXPECT_TRUE(differs("unet.conv_in"));
  EXPECT_FALSE(differs("vae.decoder.conv_in"));
}

TEST(Train, AnAutoencoderLearnsThePicturesAndKeepsItsLatentsAtTheModelsScale) {
  TrainConfig config = config_without_adapters("autoencoder", TrainMethod::autoencoder);
  config.trigger.clear();
  config.steps = 40;
  config.learning_rate = 5e-3;
  std::vector<double> losses;
  TrainHooks hooks;
  hooks.logged = [&](const LogRow& row, int64_t) { losses.push_back(row.loss); };
  const TrainResult result = run(config, hooks);
  const auto mean = [](std::span<const double> part) { return std::accumulate(part.begin(), part.end(), 0.0) / static_cast<double>(part.size()); };
  EXPECT_LT(mean(std::span(losses).last(5)), 0.8 * mean(std::span(losses).first(5)));

  torch::NoGradGuard no_grad;
  const auto trained = load_networks(result.file, {}, plan_compute("cpu", "f32"));
  std::vector<Tensor> latents;
  for (const auto& entry : fs::directory_iterator(scene().images)) {
    if (entry.path().extension() != ".png") continue;
    const Picture picture = read_picture(entry.path()).picture;
    const Tensor pixels = torch::from_blob(const_cast<uint8_t*>(picture.pixels.data()), {64, 64, 3}, torch::kByte).to(torch::kFloat) / 127.5 - 1;
    latents.push_back(trained->vae->encode(pixels.permute({2, 0, 1}).unsqueeze(0)).mean[0].flatten(1));
  }
  const Tensor all = torch::cat(latents, 1) * trained->spec.latent.scale;
  EXPECT_LT(all.mean(1).abs().max().item<double>(), 0.02);  // the file holds float32, the sums are over some hundred values
  EXPECT_LT((all.std(1) - 1).abs().max().item<double>(), 0.02);
}

}  // namespace
}  // namespace lorikeet
