// Every kind of adapter on every kind of layer, through the networks as training has them: fresh, learning, written, taken off.
#include "training/trainable.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "lora/apply.h"
#include "training/adapter_trainable.h"
#include "training/random.h"
#include "training/targets.h"
#include "training/tiny_networks.h"

namespace lorikeet::trainable_test {
namespace {

using testing::answer;
using testing::disturb;
using testing::error_of;
using testing::parameters;
using testing::ScratchFolder;
using testing::tiny_networks;

// max |a - b| / max |b|
double relative_error(const Tensor& a, const Tensor& b) { return ((a - b).abs().max() / b.abs().max()).item<double>(); }

// Layers with a live weight run through libtorch's operations, the others through our own; float32 sums in another order.
constexpr double kOtherOrder = 1e-4;

struct Case {
  std::string kind, targets = "all";
  LoraFormat format = LoraFormat::kohya;
};

// All kinds, on linear layers and convolutions of all sizes; embeddings and norms where a kind takes them.
std::vector<Case> cases() {
  return {{"lora"},
          {"locon"},
          {"loha"},
          {"lokr"},
          {"dora"},
          {"ia3"},
          {"full"},
          {"lora", "all", LoraFormat::peft},
          {"dora", "all", LoraFormat::peft},
          {"lora", "regex:token_embedding|attn2"},
          {"loha", "regex:token_embedding|attn2"},
          {"lokr", "regex:token_embedding|attn2"},
          {"full", "regex:."}};
}

TrainConfig config_of(const Case& one) {
  TrainConfig config;
  config.kind = one.kind;
  config.targets = one.targets;
  config.format = one.format;
  config.rank = 2;
  config.alpha = 3;
  config.save_dtype = SaveDtype::f32;
  return config;
}

class EveryKindTrained : public ::testing::Test {
 protected:
  template <class Check>
  void for_each(const Check& check) {
    for (const Case& one : cases()) {
      SCOPED_TRACE(one.kind + " on " + one.targets + (one.format == LoraFormat::peft ? ", PEFT" : ""));
      const TrainConfig config = config_of(one);
      check(config, *make_trainable(*networks_, config));
    }
  }

  ScratchFolder folder_;
  std::shared_ptr<Networks> networks_ = tiny_networks(folder_, "sd1");
};

TEST_F(EveryKindTrained, ChangesNothingWhileItIsFresh) {
  torch::NoGradGuard no_grad;
  const Tensor before = answer(*networks_);
  for_each([&](const TrainConfig&, Trainable& trainable) {
    trainable.attach();
    EXPECT_LE(relative_error(answer(*networks_), before), kOtherOrder);
  });
}

TEST_F(EveryKindTrained, LeavesTheNetworksAsTheyWereBitForBit) {
  torch::NoGradGuard no_grad;
  const Tensor before = answer(*networks_);
  for_each([&](const TrainConfig&, Trainable& trainable) {
    disturb(trainable);
    trainable.attach();
    EXPECT_GT(relative_error(answer(*networks_), before), 1e-3);
    trainable.detach();
    EXPECT_TRUE(torch::equal(answer(*networks_), before));
  });
}

TEST_F(EveryKindTrained, GetsGradientsAtEveryLeaf) {
  for_each([&](const TrainConfig&, Trainable& trainable) {
    disturb(trainable);
    trainable.attach();
    answer(*networks_).square().mean().backward();
    for (const NamedTensor& named : parameters(trainable)) {
      ASSERT_TRUE(named.tensor.grad().defined()) << named.name;
      EXPECT_GT(named.tensor.grad().abs().max().item<float>(), 0) << named.name;
    }
  });
}

TEST_F(EveryKindTrained, LearnsInAFewSteps) {
  torch::NoGradGuard no_grad;
  const Tensor wanted = 0.5 * answer(*networks_);
  for_each([&](TrainConfig config, Trainable&) {
    config.learning_rate = 5e-4;
    const auto trainable = make_trainable(*networks_, config);
    trainable->attach();
    const auto optimizer = find_optimizer("adamw").make(trainable->groups(), {});
    double first = 0, last = 0;
    for (int step = 0; step < 6; ++step) {
      torch::AutoGradMode gradients(true);
      for (NamedTensor& named : parameters(*trainable)) named.tensor.mutable_grad() = Tensor();
      const Tensor loss = (answer(*networks_) - wanted).square().mean();
      loss.backward();
      optimizer->step(1);
      last = loss.item<double>();
      if (step == 0) first = last;
    }
    EXPECT_LT(last, 0.97 * first);
  });
}

// The weight that a layer had in training: base + change, in float32.
Tensor trained_weight(const Layer& layer, const std::map<std::string, std::shared_ptr<const Adapter>>& adapters) {
  return adapters.at(layer.path())->merge(layer.base_weight().to(torch::kFloat), 1);
}

// From the trained leaves themselves, by the names that groups() gives them.
std::map<std::string, std::shared_ptr<const Adapter>> trained_adapters(const Networks& networks, const AdapterTrainable& trainable) {
  std::map<std::string, std::shared_ptr<const Adapter>> adapters;
  for (const auto& [path, tensors] : trainable.contents().modules) {
    std::vector<NamedTensor> plain;
    for (const NamedTensor& named : tensors) plain.push_back({named.name, named.tensor.detach().clone()});
    TensorGroup group(path, std::move(plain));
    adapters[path] = load_adapter(group, *networks.layers.at(path));
  }
  return adapters;
}

TEST_F(EveryKindTrained, IsReadBackAsItWasTrained) {
  torch::NoGradGuard no_grad;
  for_each([&](const TrainConfig& config, Trainable& trainable) {
    disturb(trainable);
    const auto path = folder_ / "trained.safetensors";
    trainable.save(path, {{"ss_output_name", "trained"}});
    const auto loaded = load_lora(*LoraFile::open(path), networks_->layers, networks_->spec.family);
    EXPECT_TRUE(loaded->report.unmatched.empty() && loaded->report.unused.empty());
    const auto trained = trained_adapters(*networks_, dynamic_cast<AdapterTrainable&>(trainable));
    ASSERT_EQ(loaded->adapters.size(), trained.size());
    for (const auto& [name, adapter] : loaded->adapters) {
      const Layer& layer = *networks_->layers.at(name);
      const Tensor wanted = trained_weight(layer, trained);
      const Tensor merged = adapter->merge(layer.base_weight().to(torch::kFloat), 1);
      if (config.format == LoraFormat::peft) {
        // The scale is in a factor, and its product is rounded elsewhere.
        EXPECT_LE(relative_error(merged, wanted), 1e-6) << name;
        EXPECT_EQ(adapter->alpha(), static_cast<double>(adapter->rank())) << name;
      } else {
        EXPECT_TRUE(torch::equal(merged, wanted)) << name;
      }
      // Merging adds in place, in another order.
      EXPECT_LE(relative_error(merged_layer(layer, {{adapter, 1}}).weight, wanted), 1e-6) << name;
    }
  });
}

TEST_F(EveryKindTrained, AnswersMergedAsItDidInTraining) {
  torch::NoGradGuard no_grad;
  for_each([&](const TrainConfig& config, Trainable& trainable) {
    disturb(trainable, 0.02);
    trainable.attach();
    const Tensor in_training = answer(*networks_);
    trainable.detach();
    const auto path = folder_ / "merged.safetensors";
    for (const auto& [dtype, tolerance] :
         {std::pair(SaveDtype::f32, kOtherOrder), {SaveDtype::f16, 5e-3}}) {  // f16: 11 bits in each factor
      TrainConfig stored = config;
      stored.save_dtype = dtype;
      const auto again = make_trainable(*networks_, stored);
      disturb(*again, 0.02);
      again->save(path, {});
      LoraApplier applier(networks_->layers);
      applier.merge({{load_lora(*LoraFile::open(path), networks_->layers, networks_->spec.family)}});
      EXPECT_LE(relative_error(answer(*networks_), in_training), tolerance);
      applier.clear();
    }
  });
}

TEST_F(EveryKindTrained, ActsAtAMultiplierAsItsFileDoes) {
  torch::NoGradGuard no_grad;
  const Tensor base = answer(*networks_);
  for_each([&](const TrainConfig& config, Trainable& trainable) {
    disturb(trainable, 0.02);
    const auto path = folder_ / "multiplied.safetensors";
    trainable.save(path, {});
    const auto lora = load_lora(*LoraFile::open(path), networks_->layers, networks_->spec.family);
    for (const double multiplier : {-1.0, 0.5}) {
      trainable.attach();
      trainable.set_multiplier(multiplier);
      const Tensor in_training = answer(*networks_);
      trainable.set_multiplier(0);
      EXPECT_LE(relative_error(answer(*networks_), base), kOtherOrder);
      trainable.begin_forward({});
      EXPECT_GT(relative_error(answer(*networks_), in_training), 1e-3);
      trainable.detach();
      LoraApplier applier(networks_->layers);
      applier.merge({{.lora = lora, .te = multiplier, .unet = multiplier}});
      EXPECT_LE(relative_error(answer(*networks_), in_training), kOtherOrder) << multiplier;
      applier.clear();
    }
  });
  EXPECT_NE(error_of([&] {
              TrainConfig word;
              word.method = TrainMethod::textual_inversion;
              word.token = "sks";
              make_trainable(*networks_, word)->set_multiplier(1);
            }),
            "");
}

TEST_F(EveryKindTrained, BeginsTheSameForTheSameSeed) {
  torch::NoGradGuard no_grad;
  for_each([&](TrainConfig config, Trainable& trainable) {
    torch::manual_seed(77);  // torch's own generator has no say
    const auto again = make_trainable(*networks_, config);
    config.seed = 1;
    const auto other = make_trainable(*networks_, config);
    const auto first = parameters(trainable), second = parameters(*again), third = parameters(*other);
    int differing = 0;
    for (size_t i = 0; i < first.size(); ++i) {
      EXPECT_TRUE(torch::equal(first[i].tensor, second[i].tensor)) << first[i].name;
      differing += !torch::equal(first[i].tensor, third[i].tensor);
    }
    // What is not drawn (zeros, ones, norms of the base) is the same for all seeds.
    if (config.kind != "ia3" && config.kind != "full") {
      EXPECT_GT(differing, 0);
    }
  });
}

TEST_F(EveryKindTrained, DropsTheSameWhenTheForwardPassIsRunAgain) {
  for_each([&](TrainConfig config, Trainable&) {
    const bool neurons = config.kind == "lora" || config.kind == "locon";
    config.dropout = neurons ? 0.3 : 0;
    config.rank_dropout = config.module_dropout = 0.2;
    const auto trainable = make_trainable(*networks_, config);
    disturb(*trainable);
    trainable->attach();
    std::array<std::vector<Tensor>, 2> gradients;  // undefined where the module is dropped
    for (const bool recompute : {false, true}) {
      networks_->unet->recompute = recompute;
      trainable->begin_forward({42});
      for (NamedTensor& named : parameters(*trainable)) named.tensor.mutable_grad() = Tensor();
      answer(*networks_).square().mean().backward();
      for (const NamedTensor& named : parameters(*trainable)) gradients[recompute].push_back(named.tensor.grad());
    }
    networks_->unet->recompute = false;
    int dropped = 0;
    for (size_t i = 0; i < gradients[0].size(); ++i) {
      dropped += !gradients[0][i].defined();
      ASSERT_EQ(gradients[0][i].defined(), gradients[1][i].defined()) << i;
      if (gradients[0][i].defined()) {
        EXPECT_TRUE(torch::allclose(gradients[0][i], gradients[1][i], 1e-4, 1e-6)) << i;
      }
    }
    EXPECT_GT(dropped, 0);
    torch::NoGradGuard no_grad;
    const auto at = [&](const ForwardInfo& info) {
      trainable->begin_forward(info);
      return answer(*networks_);
    };
    EXPECT_TRUE(torch::equal(at({42}), at({42})));
    EXPECT_FALSE(torch::equal(at({42}), at({43})));
    EXPECT_FALSE(torch::equal(at({42}), at({42, false})));
    EXPECT_TRUE(torch::equal(at({42, false}), at({43, false})));
  });
}

// The U-Net computes in bfloat16; what is trained stays in float32, and its gradients point where they would.
TEST(HalfPrecision, KeepsFloat32LeavesWithNearlyTheSameGradients) {
  const ScratchFolder folder;
  const auto exact = tiny_networks(folder, "sd1");
  const auto half = load_networks(folder / "sd1.safetensors", {}, plan_compute("cpu", "bf16"));
  for (const char* kind : {"lora", "lokr", "dora"}) {
    const auto gradient = [&](const Networks& networks) {
      const auto trainable = make_trainable(networks, config_of({kind}));
      disturb(*trainable);
      trainable->attach();
      answer(networks).to(torch::kFloat).square().mean().backward();
      std::vector<Tensor> all;
      for (const NamedTensor& named : parameters(*trainable)) {
        EXPECT_EQ(named.tensor.grad().scalar_type(), torch::kFloat) << named.name;
        all.push_back(named.tensor.grad().flatten());
      }
      return torch::cat(all);
    };
    const Tensor a = gradient(*exact), b = gradient(*half);
    // bfloat16 has 8 bits: some hundredths of noise over the depth of the network.
    EXPECT_GT((torch::dot(a, b) / (a.norm() * b.norm())).item<double>(), 0.98) << kind;
  }
}

TEST(Dropout, LeavesTheMeanAsItIs) {
  const auto now = std::make_shared<ForwardInfo>();
  const Dropout dropout({0.3, 0.2, 0}, "unet.layer", now);
  Tensor sum = torch::zeros({2, 3, 8}), rows = torch::zeros({16, 4});
  constexpr int kPasses = 2000;
  for (int pass = 0; pass < kPasses; ++pass) {
    now->random = static_cast<uint64_t>(pass);
    sum += dropout.on_inner(torch::ones({2, 3, 8}), false);
    rows += dropout.on_change(torch::ones({16, 4}));
  }
  // The deviation of one value is √(1 / (0.7 · 0.8) − 1) = 0.89, of the mean 0.02; five of them.
  EXPECT_LE((sum / kPasses - 1).abs().max().item<float>(), 0.1);
  EXPECT_LE((rows / kPasses - 1).abs().max().item<float>(), 0.1);
}

TEST(Dropout, DropsWholeRanksAndWholeModules) {
  const auto now = std::make_shared<ForwardInfo>();
  const Tensor ranks = Dropout({0, 0.5, 0}, "unet.layer", now).on_inner(torch::ones({2, 6, 5, 5}), true);
  for (int64_t row = 0; row < 2; ++row)
    for (int64_t rank = 0; rank < 6; ++rank) EXPECT_EQ(ranks[row][rank].min().item<float>(), ranks[row][rank].max().item<float>());
  EXPECT_EQ(ranks.min().item<float>(), 0);
  EXPECT_EQ(ranks.max().item<float>(), 2);
  int dropped = 0;
  for (uint64_t pass = 0; pass < 400; ++pass) {
    now->random = pass;
    dropped += Dropout({0, 0, 0.25}, "unet.layer", now).drops_module();
  }
  EXPECT_NEAR(dropped, 100, 45);  // five deviations of √(400 · 0.25 · 0.75)
}

TEST(Groups, PutLoraPlusFactorsAndMagnitudesApart) {
  const ScratchFolder folder;
  const auto networks = tiny_networks(folder, "sd1");
  TrainConfig config;
  config.learning_rate = 1e-4;
  config.text_learning_rate = 5e-5;
  config.lora_plus_ratio = 16;
  for (const char* kind : {"lora", "loha", "lokr", "dora"}) {
    config.kind = kind;
    std::map<std::string, ParameterGroup> groups;
    for (const ParameterGroup& group : make_trainable(*networks, config)->groups()) groups[group.name] = group;
    EXPECT_DOUBLE_EQ(groups.at("unet").learning_rate, 1e-4) << kind;
    EXPECT_DOUBLE_EQ(groups.at("text_encoder").learning_rate, 5e-5) << kind;
    EXPECT_DOUBLE_EQ(groups.at("unet_up").learning_rate, 16e-4) << kind;
    EXPECT_DOUBLE_EQ(groups.at("text_encoder_up").learning_rate, 16 * 5e-5) << kind;
    for (const NamedTensor& named : groups.at("unet_up").parameters) EXPECT_EQ(named.tensor.abs().max().item<float>(), 0) << named.name;
    for (const NamedTensor& named : groups.at("unet").parameters) EXPECT_GT(named.tensor.abs().max().item<float>(), 0) << named.name;
    EXPECT_EQ(groups.contains("unet_magnitude"), std::string(kind) == "dora");
  }
  EXPECT_EQ(make_trainable(*networks, config)->groups().front().name.substr(0, 4), "unet");
}

TEST(RankStabilised, ScalesByTheRootAndStoresAnAlphaThatReadsRight) {
  const ScratchFolder folder;
  const auto networks = tiny_networks(folder, "sd1");
  TrainConfig config;
  config.rank = 8;
  config.alpha = 4;
  config.rank_stabilised = true;
  config.targets = "regex:mid_block.*attn2.to_q";
  const AdapterTrainable trainable(*networks, config);
  const LoraContents contents = trainable.contents();
  for (const NamedTensor& named : contents.modules.begin()->second)
    if (named.name == "alpha") {
      EXPECT_FLOAT_EQ(named.tensor.item<float>(), 4 * std::sqrt(8.0F));
    }
}

TEST(Starts, AreDrawnAsAsked) {
  const ScratchFolder folder;
  const auto networks = tiny_networks(folder, "sd1");
  TrainConfig config;
  config.targets = "regex:mid_block.*attn2.to_q";
  config.rank = 8;
  const auto down = [&](AdapterInit init) {
    config.init = init;
    return parameters(*make_trainable(*networks, config))[0].tensor.detach();  // [8, 32]
  };
  EXPECT_LE(down(AdapterInit::kaiming).abs().max().item<double>(), 1 / std::sqrt(32.0));
  EXPECT_NEAR(down(AdapterInit::normal).std().item<double>(), 1 / 8.0, 0.03);  // of 256 numbers: five deviations of 1/8 / √512
  const Tensor rows = down(AdapterInit::orthogonal);
  EXPECT_LE((torch::matmul(rows, rows.t()) - torch::eye(8) / 3).abs().max().item<double>(), 1e-6);
}

TEST(Settings, ThatDoNotGoTogetherAreRefused) {
  const ScratchFolder folder;
  const auto networks = tiny_networks(folder, "sd1");
  const auto error = [&](const std::string& kind, auto change) {
    TrainConfig config;
    config.kind = kind;
    change(config);
    return error_of([&] { make_trainable(*networks, config); });
  };
  using C = TrainConfig&;
  EXPECT_NE(error("lohra", [](C) {}).find("is no kind of adapter"), std::string::npos);
  EXPECT_NE(error("loha", [](C c) { c.dropout = 0.1; }).find("dropout does nothing"), std::string::npos);
  EXPECT_NE(error("lokr", [](C c) { c.init = AdapterInit::normal; }).find("init does nothing"), std::string::npos);
  EXPECT_NE(error("lora", [](C c) { c.lokr_factor = 8; }).find("lokr_factor does nothing"), std::string::npos);
  EXPECT_NE(error("ia3", [](C c) { c.lora_plus_ratio = 4; }).find("lora_plus_ratio does nothing"), std::string::npos);
  EXPECT_NE(error("full", [](C c) { c.rank_stabilised = true; }).find("rank_stabilised does nothing"), std::string::npos);
  EXPECT_NE(error("loha", [](C c) { c.format = LoraFormat::peft; }).find("PEFT's format does not hold"), std::string::npos);
  EXPECT_NE(error("lora", [](C c) { c.rank_dropout = 1; }).find("rank_dropout is 1"), std::string::npos);
  EXPECT_NE(error("lora", [](C c) { c.format = LoraFormat::peft, c.targets = "regex:token_embedding"; }).find("no word for"),
            std::string::npos);
  EXPECT_EQ(error("lora", [](C) {}), "");
}

TEST(Describe, SaysHowMuchIsTrained) {
  const ScratchFolder folder;
  const auto networks = tiny_networks(folder, "sd1");
  TrainConfig config;
  config.targets = "regex:mid_block.*attn2.to_q";
  config.rank = 8;
  EXPECT_EQ(make_trainable(*networks, config)->describe(), "1 layer (1 of the U-Net), lora of rank 8, 512 parameters");
  EXPECT_EQ(count_text(1594368), "1.6 M");
  EXPECT_EQ(count_text(859520964), "860 M");
  EXPECT_EQ(count_text(9950), "10 k");
}

}  // namespace
}  // namespace lorikeet::trainable_test
