// Concept sliders: the objective against its formula, and whole runs.
#include "training/slider_objective.h"

#include <gtest/gtest.h>

#include <set>

#include "lora/apply.h"
#include "training/random.h"
#include "training/text_source.h"
#include "training/tiny_networks.h"
#include "training/train.h"

namespace lorikeet::slider_test {
namespace {

namespace fs = std::filesystem;
using testing::answer;
using testing::disturb;
using testing::error_of;
using testing::parameters;
using testing::ScratchFolder;
using testing::tiny_networks;

TrainConfig slider_config() {
  TrainConfig config;
  config.method = TrainMethod::slider;
  config.slider_target = config.slider_neutral = "a boat";
  config.slider_positive = "a red boat", config.slider_negative = "a blue boat";
  config.train_text_encoder = false;
  config.width = config.height = 64;
  config.rank = 2;
  config.denoising_steps = 3;
  config.steps = 6;
  config.precision = "f32";
  config.save_dtype = SaveDtype::f32;
  return config;
}

struct Slider {
  Slider(Networks& networks, const TrainConfig& config) : trainable(make_trainable(networks, config)) {
    trainable->attach();
    objective = make_slider_objective(networks, *trainable, config);
  }
  std::unique_ptr<Trainable> trainable;
  std::unique_ptr<Objective> objective;
};

std::vector<Draw> draws_of(uint64_t batch, size_t rows = 1) {
  std::vector<Draw> draws;
  for (size_t i = 0; i < rows; ++i) draws.push_back({.picture = i, .number = batch * rows + i, .batch = batch});
  return draws;
}

double cosine(const Tensor& a, const Tensor& b) { return (torch::dot(a.flatten(), b.flatten()) / (a.norm() * b.norm())).item<double>(); }

class SliderTest : public ::testing::Test {
 protected:
  ScratchFolder folder_;
};

// At the last timestep the point is the noise itself, and a fresh LoRA answers as the base does: the loss is the square of what is added.
TEST_F(SliderTest, AsksForTheBaseAndTheMeanDifferenceOfItsEnds) {
  torch::NoGradGuard no_grad;
  for (const char* family : {"sd1", "sd2", "sdxl"}) {
    const auto networks = tiny_networks(folder_, family);
    TrainConfig config = slider_config();
    config.prediction = "v";  // one that every family takes
    config.timestep_least = config.timestep_most = 999;
    config.slider_strength = 3;
    config.slider_preserve = {"at night", "in snow"};
    config.seed = 12;
    const Slider slider(*networks, config);
    const Tensor noise = normal_tensor({4, 8, 8}, random_bits(random_bits(12, "slider", 0), "noise", 0)).unsqueeze(0);
    const auto predicted = [&](const std::string& prompt) {
      const EncodedTexts text = encode_texts(*networks, std::span(&prompt, 1), {}, {});
      const float side = 64;
      const Tensor ids = networks->spec.pooled ? torch::tensor({{side, side, 0.0F, 0.0F, side, side}}) : Tensor();
      return networks->unet->forward({noise, torch::tensor({999.0F}), text.context, text.pooled, ids});
    };
    Tensor sum = torch::zeros_like(noise);
    for (const std::string p : {"at night", "in snow"}) sum += predicted("a red boat, " + p) - predicted("a blue boat, " + p);
    const double wanted = (sum * (3.0 / 2)).square().mean().item<double>();
    ASSERT_GT(wanted, 0);
    // Differences of answers that are nearly alike: what float32 leaves of them.
    EXPECT_NEAR(slider.objective->loss(draws_of(0)).item<double>() / wanted, 1, 1e-3) << family;
    EXPECT_NE(slider.objective->loss(draws_of(2)).item<double>(), slider.objective->loss(draws_of(0)).item<double>()) << family;
  }
}

TEST_F(SliderTest, GradientsReachEveryTensorOfEveryKind) {
  const auto networks = tiny_networks(folder_, "sd1");
  for (const Choice& kind : kind_choices()) {
    TrainConfig config = slider_config();
    config.kind = kind.name;
    config.targets = "all";
    const Slider slider(*networks, config);
    disturb(*slider.trainable);
    for (const uint64_t batch : {0, 1}) {
      for (NamedTensor& named : parameters(*slider.trainable)) named.tensor.mutable_grad() = Tensor();
      slider.objective->loss(draws_of(batch)).backward();
      for (const NamedTensor& named : parameters(*slider.trainable)) {
        ASSERT_TRUE(named.tensor.grad().defined()) << kind.name << " " << named.name;
        EXPECT_GT(named.tensor.grad().abs().max().item<float>(), 0) << kind.name << " " << named.name;
      }
    }
  }
}

TEST_F(SliderTest, BothTextEncodersOfSdxlSpeakAndNeitherIsTrained) {
  const auto networks = tiny_networks(folder_, "sdxl");
  const Slider slider(*networks, slider_config());
  disturb(*slider.trainable);
  slider.objective->loss(draws_of(0)).backward();
  for (const NamedTensor& named : parameters(*slider.trainable)) {
    EXPECT_EQ(named.name.substr(0, 5), "unet.");
    ASSERT_TRUE(named.tensor.grad().defined()) << named.name;
  }
}

TEST_F(SliderTest, LearnsAndItsMultipliersMoveTheAnswerInOppositeDirections) {
  const auto networks = tiny_networks(folder_, "sd1");
  TrainConfig config = slider_config();
  config.learning_rate = 5e-3;
  const Slider slider(*networks, config);
  const std::span rows = std::span(slider.objective->dataset().pictures).first(2);
  const double before = slider.objective->fixed_loss(rows);
  EXPECT_DOUBLE_EQ(slider.objective->fixed_loss(rows), before);
  const auto optimizer = find_optimizer("adamw").make(slider.trainable->groups(), {});
  for (uint64_t batch = 0; batch < 40; ++batch) {
    for (NamedTensor& named : parameters(*slider.trainable)) named.tensor.mutable_grad() = Tensor();
    slider.objective->loss(draws_of(batch)).backward();
    optimizer->step(1);
  }
  EXPECT_LT(slider.objective->fixed_loss(rows), 0.7 * before);

  torch::NoGradGuard no_grad;
  const auto at = [&](double multiplier, const std::string& text) {
    slider.trainable->set_multiplier(multiplier);
    return answer(*networks, nullptr, text);
  };
  const Tensor base = at(0, "a boat"), direction = at(0, "a red boat") - at(0, "a blue boat");
  const Tensor up = at(1, "a boat") - base, down = at(-1, "a boat") - base;
  EXPECT_GT(cosine(up, direction), 0.3);
  EXPECT_LT(cosine(down, direction), -0.3);
  EXPECT_LT(cosine(up, down), -0.5);
  EXPECT_GT((at(2, "a boat") - base).norm().item<double>(), 1.3 * up.norm().item<double>());
}

TEST_F(SliderTest, ARowIsTheSameInWhateverBatchItStands) {
  torch::NoGradGuard no_grad;
  const auto networks = tiny_networks(folder_, "sd1");
  const Slider slider(*networks, slider_config());
  disturb(*slider.trainable);
  const std::vector<Draw> both = draws_of(3, 2);
  double sum = 0;
  for (const Draw& draw : both) sum += slider.objective->loss(std::span(&draw, 1)).item<double>();
  EXPECT_NEAR(slider.objective->loss(both).item<double>(), sum / 2, 1e-4 * sum);
}

TEST_F(SliderTest, GradientCheckpointingGivesTheSameGradients) {
  const auto networks = tiny_networks(folder_, "sd1");
  const Slider slider(*networks, slider_config());
  disturb(*slider.trainable);
  std::vector<std::vector<Tensor>> gradients;
  for (const bool recompute : {false, true}) {
    networks->unet->recompute = recompute;
    for (NamedTensor& named : parameters(*slider.trainable)) named.tensor.mutable_grad() = Tensor();
    slider.objective->loss(draws_of(1)).backward();  // multiplier -1, also when the forward pass is computed again
    auto& all = gradients.emplace_back();
    for (const NamedTensor& named : parameters(*slider.trainable)) all.push_back(named.tensor.grad().clone());
  }
  for (size_t i = 0; i < gradients[0].size(); ++i) EXPECT_TRUE(torch::equal(gradients[0][i], gradients[1][i])) << i;
}

TEST_F(SliderTest, SidesThatTheModelCannotHaveAreRefused) {
  const auto networks = tiny_networks(folder_, "sd1");
  TrainConfig config = slider_config();
  config.width = 72;
  const std::string error = error_of([&] { Slider(*networks, config); });
  EXPECT_NE(error.find("width 72"), std::string::npos) << error;
  EXPECT_NE(error.find("multiples of 64"), std::string::npos) << error;
}

TEST_F(SliderTest, NamesTheLayerWhereItBreaks) {
  const auto networks = tiny_networks(folder_, "sd1");
  const Slider slider(*networks, slider_config());
  EXPECT_EQ(slider.objective->first_broken_layer(draws_of(0)), "");
  torch::NoGradGuard no_grad;
  for (NamedTensor& named : parameters(*slider.trainable)) named.tensor.fill_(1e30);
  EXPECT_NE(slider.objective->first_broken_layer(draws_of(0)).find("unet."), std::string::npos);
}

// --- whole runs ---

std::map<std::string, Tensor> tensors_of(const fs::path& path) {
  std::map<std::string, Tensor> tensors;
  const auto file = TensorFile::open(path);
  for (const auto& [name, entry] : file->tensors()) tensors[name] = entry.view().clone();
  return tensors;
}

class SliderRun : public SliderTest {
 protected:
  TrainConfig config_named(const std::string& name) {
    if (!fs::exists(folder_ / "sd1.safetensors")) tiny_networks(folder_, "sd1");
    TrainConfig config = slider_config();
    config.model = (folder_ / "sd1.safetensors").string();
    config.out = name;
    config.run_dir = (folder_ / name).string();
    config.backup_every = 2;
    config.batch_size = 2;
    config.learning_rate = 2e-3;
    return config;
  }
};

TEST_F(SliderRun, AFileComesOutThatFitsTheModelAndSaysWhatItMoves) {
  TrainConfig config = config_named("age");
  config.validate_every = 3;
  config.validation_pictures = 1;
  config.sample_every = 6;
  std::vector<LogRow> rows;
  std::vector<std::string> sampled;
  TrainHooks hooks;
  hooks.logged = [&](const LogRow& row, int64_t) { rows.push_back(row); };
  hooks.generate = [&](const SampleRequest& wanted) {
    torch::NoGradGuard no_grad;
    sampled.push_back(wanted.prompt + " " + std::to_string(answer(*wanted.networks).sum().item<double>()));
    return std::vector<Picture>{{8, 8, 3, std::vector<uint8_t>(8 * 8 * 3, 1)}};
  };
  Progress progress;
  const TrainResult result = train(config, hooks, progress);
  ASSERT_EQ(rows.size(), 6u);
  EXPECT_TRUE(rows[2].train_validation && rows[5].train_validation);
  EXPECT_FALSE(rows[5].validation);
  ASSERT_EQ(sampled.size(), 3u);  // multipliers -1, 0, 1: three different answers
  EXPECT_EQ(sampled[0].substr(0, 7), "a boat ");
  EXPECT_EQ(std::set<std::string>(sampled.begin(), sampled.end()).size(), 3u);
  EXPECT_TRUE(fs::exists(result.folder / "samples/step-000006.png"));
  EXPECT_TRUE(fs::exists(result.folder / "loss.png"));
  EXPECT_TRUE(result.best_step.has_value());

  const auto networks = load_networks(config.model, {}, plan_compute("cpu", "f32"));
  const auto file = LoraFile::open(result.file);
  const auto lora = load_lora(*file, networks->layers, "sd1");
  EXPECT_EQ(lora->report.matched, lora->report.total);
  EXPECT_TRUE(lora->report.unused.empty());
  const LoraSummary summary = file->summary();
  EXPECT_NE(file->metadata().at("lorikeet.slider").find("\"negative\":\"a blue boat\""), std::string::npos);
  EXPECT_FALSE(summary.text_encoder);
  EXPECT_TRUE(summary.tags.empty());
}

TEST_F(SliderRun, ARunThatIsCancelledAndResumedGivesTheSameBitsAsOneThatIsNot) {
  for (const char* kind : {"lora", "lokr"}) {
    TrainConfig config = config_named(std::string("whole-") + kind);
    config.kind = kind;
    config.rank_dropout = 0.2;
    Progress progress;
    const TrainResult whole = train(config, {}, progress);
    config.out = std::string("parted-") + kind;
    config.run_dir = (folder_ / config.out).string();
    Progress cancelled;
    TrainHooks hooks;
    hooks.logged = [&](const LogRow& row, int64_t) {
      if (row.step == 3) cancelled.cancel();
    };
    EXPECT_NE(error_of([&] { train(config, hooks, cancelled); }), "");
    const auto one = tensors_of(whole.file), other = tensors_of(resume_training(config.run_dir, {}, progress).file);
    ASSERT_EQ(one.size(), other.size());
    ASSERT_FALSE(one.empty());
    for (const auto& [name, tensor] : one) EXPECT_TRUE(torch::equal(tensor, other.at(name))) << name;
  }
}

TEST_F(SliderRun, StopsAtTheFirstValueThatIsNotANumber) {
  TrainConfig config = config_named("explodes");
  config.learning_rate = 100;
  config.weight_decay = 1;
  config.max_grad_norm = 0;
  config.steps = 50;
  Progress progress;
  const std::string error = error_of([&] { train(config, {}, progress); });
  EXPECT_NE(error.find("no longer a finite number"), std::string::npos) << error;
  EXPECT_NE(error.find("unet."), std::string::npos) << error;
  EXPECT_FALSE(fs::exists(fs::path(config.run_dir) / "explodes.safetensors"));
}

}  // namespace
}  // namespace lorikeet::slider_test
