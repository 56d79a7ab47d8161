// New words (textual inversion, pivotal tuning) and whole checkpoints: how they begin, what has gradients, what the files hold.
#include <gtest/gtest.h>

#include "io/tensor_file.h"
#include "lora/apply.h"
#include "model/fresh_weights.h"
#include "prompt/embedding_file.h"
#include "prompt/tokenizer.h"
#include "training/full_trainable.h"
#include "training/random.h"
#include "training/tiny_networks.h"

namespace lorikeet {
namespace {

using testing::answer;
using testing::disturb;
using testing::error_of;
using testing::parameters;
using testing::ScratchFolder;
using testing::tiny_networks;

constexpr const char* kFamilies[] = {"sd1", "sd2", "sdxl"};

TrainConfig config_for(TrainMethod method) {
  TrainConfig config;
  config.method = method;
  config.token = "sks";
  config.vectors = 3;
  config.initial_text = "red boat";
  config.save_dtype = SaveDtype::f32;
  return config;
}

TEST(TextualInversion, BeginsAsItsInitialText) {
  const ScratchFolder folder;
  torch::NoGradGuard no_grad;
  for (const char* family : kFamilies) {
    const auto networks = tiny_networks(folder, family);
    TrainConfig config = config_for(TrainMethod::textual_inversion);
    const std::vector<int64_t> red = tokenize("red"), boat = tokenize("boat");
    const Tensor rows = networks->text_encoders.back()->embed(torch::tensor({red[0], boat[0], red[0]}).unsqueeze(0))[0];
    EXPECT_TRUE(torch::equal(make_trainable(*networks, config)->embedding()->vectors.back(), rows)) << family;
    // The word stands for exactly what it was made of.
    const auto trainable = make_trainable(*networks, config);
    EXPECT_TRUE(torch::equal(answer(*networks, trainable.get(), "a sks"), answer(*networks, nullptr, "a red boat red"))) << family;
    config.vectors = 1;
    const Tensor mean = make_trainable(*networks, config)->embedding()->vectors.back();
    EXPECT_TRUE(torch::allclose(mean, rows.slice(0, 0, 2).mean(0, true))) << family;
  }
}

TEST(TextualInversion, TrainsItsVectorsAloneAndLearns) {
  const ScratchFolder folder;
  for (const char* family : kFamilies) {
    const auto networks = tiny_networks(folder, family);
    const auto trainable = make_trainable(*networks, config_for(TrainMethod::textual_inversion));
    EXPECT_TRUE(trainable->trains_text());
    Tensor wanted;
    {
      torch::NoGradGuard no_grad;
      wanted = answer(*networks, nullptr, "a green car at night");
    }
    const auto optimizer = find_optimizer("adamw").make(trainable->groups(), {});
    double first = 0, last = 0;
    for (int step = 0; step < 8; ++step) {
      for (NamedTensor& named : parameters(*trainable)) named.tensor.mutable_grad() = Tensor();
      const Tensor loss = (answer(*networks, trainable.get(), "a sks") - wanted).square().mean();
      loss.backward();
      for (const NamedTensor& named : parameters(*trainable)) EXPECT_GT(named.tensor.grad().abs().max().item<float>(), 0) << named.name;
      optimizer->step(1);
      last = loss.item<double>();
      if (step == 0) first = last;
    }
    EXPECT_LT(last, first) << family;
    EXPECT_EQ(parameters(*trainable).size(), networks->text_encoders.size());
  }
}

TEST(TextualInversion, IsReadBackByTheNameOfItsFile) {
  const ScratchFolder folder;
  torch::NoGradGuard no_grad;
  for (const char* family : kFamilies) {
    const auto networks = tiny_networks(folder, family);
    const auto trainable = make_trainable(*networks, config_for(TrainMethod::textual_inversion));
    disturb(*trainable);
    trainable->save(folder / "sks.safetensors", {{"modelspec.title", "sks"}});
    const auto read = read_embedding_file(folder / "sks.safetensors");
    ASSERT_EQ(read.size(), 1U);
    EXPECT_EQ(read[0].name, "sks");
    ASSERT_EQ(read[0].vectors.size(), networks->text_encoders.size());
    for (const Tensor& vectors : trainable->embedding()->vectors)
      EXPECT_TRUE(torch::equal(read[0].vectors_for(vectors.size(1)), vectors)) << family;
    const auto file = TensorFile::open(folder / "sks.safetensors");
    for (const char* name : networks->text_encoders.size() == 1 ? std::vector{"emb_params"} : std::vector{"clip_l", "clip_g"})
      EXPECT_TRUE(file->contains(name)) << family;
  }
}

TEST(TextualInversion, NeedsAWordAndATextThatMeansSomething) {
  const ScratchFolder folder;
  const auto networks = tiny_networks(folder, "sd1");
  const auto error = [&](auto change) {
    TrainConfig config = config_for(TrainMethod::textual_inversion);
    change(config);
    return error_of([&] { make_trainable(*networks, config); });
  };
  using C = TrainConfig&;
  EXPECT_NE(error([](C c) { c.token = ""; }).find("no name"), std::string::npos);
  EXPECT_EQ(error([](C c) { c.token = "", c.trigger = "sks"; }), "");
  EXPECT_NE(error([](C c) { c.initial_text = " "; }).find("makes no token"), std::string::npos);
  EXPECT_NE(error([](C c) { c.vectors = 76; }).find("76 vectors"), std::string::npos);
}

TEST(PivotalTuning, BundlesTheWordInTheLora) {
  const ScratchFolder folder;
  torch::NoGradGuard no_grad;
  for (const char* family : kFamilies) {
    const auto networks = tiny_networks(folder, family);
    TrainConfig config = config_for(TrainMethod::pivotal);
    const auto trainable = make_trainable(*networks, config);
    disturb(*trainable);
    trainable->save(folder / "pivotal.safetensors", {});
    const auto loaded = load_lora(*LoraFile::open(folder / "pivotal.safetensors"), networks->layers, networks->spec.family);
    EXPECT_TRUE(loaded->report.unmatched.empty() && loaded->report.unused.empty()) << family;
    ASSERT_TRUE(loaded->embeddings.contains("sks")) << family;
    EXPECT_EQ(loaded->embeddings.at("sks").size(), networks->text_encoders.size());
    for (const auto& [name, tensor] : loaded->embeddings.at("sks"))
      EXPECT_TRUE(torch::equal(tensor, trainable->embedding()->vectors_for(tensor.size(1)))) << family << " " << name;
    EXPECT_EQ(trainable->groups().back().name, "embedding");
    config.format = LoraFormat::peft;
    EXPECT_NE(error_of([&] { make_trainable(*networks, config); }).find("cannot bundle"), std::string::npos);
  }
}

// --- whole checkpoints ---

// All parameters that the networks read, as the layers have them.
void expect_weights(const Networks& found, const std::map<std::string, Tensor>& wanted) {
  for (const auto& [path, layer] : found.layers) {
    EXPECT_TRUE(torch::equal(layer->base_weight(), wanted.at(path + ".weight").reshape(layer->base_weight().sizes()))) << path;
    if (layer->base_bias().defined()) {
      EXPECT_TRUE(torch::equal(layer->base_bias(), wanted.at(path + ".bias"))) << path;
    }
  }
}

std::map<std::string, Tensor> base_weights(const Networks& networks) {
  std::map<std::string, Tensor> weights;
  for (const auto& [path, layer] : networks.layers) {
    weights[path + ".weight"] = layer->base_weight();
    if (layer->base_bias().defined()) weights[path + ".bias"] = layer->base_bias();
  }
  return weights;
}

TEST(FullTuning, WritesACheckpointThatLoadsWithTheTrainedWeights) {
  const ScratchFolder folder;
  torch::NoGradGuard no_grad;
  for (const auto& [family, inpainting] : {std::pair("sd1", false), {"sd1", true}, {"sd2", false}, {"sdxl", false}}) {
    for (const bool text : {false, true}) {
      SCOPED_TRACE(std::string(family) + (inpainting ? " inpainting" : "") + (text ? " with its text encoders" : ""));
      const auto networks = tiny_networks(folder, family, inpainting);
      TrainConfig config = config_for(TrainMethod::full);
      config.train_text_encoder = text;
      const auto trainable = make_trainable(*networks, config);
      disturb(*trainable);
      trainable->attach();
      const Tensor trained = answer(*networks);
      trainable->save(folder / "full.safetensors", {{"modelspec.title", "full"}});
      auto wanted = base_weights(*networks);
      for (const NamedTensor& named : parameters(*trainable)) wanted.at(named.name) = named.tensor.detach();
      const auto again = load_networks(folder / "full.safetensors", {}, plan_compute("cpu", "f32"));
      EXPECT_EQ(again->spec.family, networks->spec.family);
      EXPECT_EQ(again->spec.prediction, networks->spec.prediction);
      expect_weights(*again, wanted);
      const Tensor answered = answer(*again);
      // A live weight runs through libtorch's operations, a loaded one through our own: float32 sums in another order.
      EXPECT_LE(((answered - trained).abs().max() / trained.abs().max()).item<double>(), 1e-4);
    }
  }
}

TEST(FullTuning, ReachesEveryWeightAndComesOffBitForBit) {
  const ScratchFolder folder;
  const auto networks = tiny_networks(folder, "sd1");
  Tensor before;
  {
    torch::NoGradGuard no_grad;
    before = answer(*networks);
  }
  const auto trainable = make_trainable(*networks, config_for(TrainMethod::full));
  trainable->attach();
  answer(*networks).square().mean().backward();
  for (const NamedTensor& named : parameters(*trainable)) ASSERT_TRUE(named.tensor.grad().defined()) << named.name;
  EXPECT_EQ(trainable->groups().size(), 2U);
  disturb(*trainable);
  trainable->detach();
  torch::NoGradGuard no_grad;
  EXPECT_TRUE(torch::equal(answer(*networks), before));
}

// What the base holds beside the weights stays, the averaged copy does not; only what is trained takes the new dtype.
TEST(FullTuning, CopiesTheUntouchedPartsAndLeavesOutTheAverages) {
  const ScratchFolder folder;
  torch::NoGradGuard no_grad;
  const auto model = testing::tiny_model("sd1");
  auto file = testing::file_of(model);
  file["model_ema.decay"] = torch::tensor(0.99F);
  file["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch::arange(77).unsqueeze(0);
  testing::write_single_file(folder / "base.safetensors", model, file);
  const auto networks = load_networks(folder / "base.safetensors", {}, plan_compute("cpu", "f32"));
  TrainConfig config = config_for(TrainMethod::full);
  config.train_text_encoder = false;
  config.save_dtype = SaveDtype::f16;
  const auto trainable = make_trainable(*networks, config);
  trainable->save(folder / "full.safetensors", {});
  const auto saved = TensorFile::open(folder / "full.safetensors");
  EXPECT_EQ(saved->tensors().size(), file.size() - 1);
  EXPECT_FALSE(saved->contains("model_ema.decay"));
  for (const auto& [key, entry] : saved->tensors()) {
    const bool trained = key.starts_with("model.diffusion_model.");
    EXPECT_EQ(entry.view().scalar_type(), trained ? torch::kHalf : file.at(key).scalar_type()) << key;
    EXPECT_TRUE(torch::equal(entry.view(), file.at(key).to(entry.view().scalar_type()))) << key;
  }
}

TEST(FullTuning, NamesTheWeightThatIsNotFinite) {
  const ScratchFolder folder;
  torch::NoGradGuard no_grad;
  const auto networks = tiny_networks(folder, "sd1");
  const auto trainable = make_trainable(*networks, config_for(TrainMethod::full));
  for (NamedTensor& named : parameters(*trainable))
    if (named.name == "unet.conv_in.weight") named.tensor.view(-1)[7] = std::numeric_limits<float>::infinity();
  const std::string error = error_of([&] { trainable->save(folder / "full.safetensors", {}); });
  EXPECT_NE(error.find("input_blocks.0.0.weight holds NaN or infinity"), std::string::npos) << error;
  EXPECT_FALSE(std::filesystem::exists(folder / "full.safetensors"));
}

}  // namespace
}  // namespace lorikeet
