// Gradients through whole networks: low-rank factors beside every product of tiny U-Nets and text encoders, against the same networks in
// float64, which are libtorch's operations and automatic differentiation throughout, and against finite differences of their loss.
#include <gtest/gtest.h>

#include "model/tiny.h"

namespace lorikeet {
namespace {

using namespace testing;

class TinySource : public WeightSource {
 public:
  explicit TinySource(const Tensors& weights) : weights_(weights) {}
  Tensor find(const std::string& name) const override {
    const auto found = weights_.find(name);
    return found == weights_.end() ? Tensor() : found->second;
  }
  std::string describe(const std::string& name) const override { return name; }

 private:
  const Tensors& weights_;
};

// down: [r, in], up: [out, r]; for convolutions [r, in, kh, kw], [out, r, 1, 1].
struct Factors {
  Tensor down, up;
};

Tensor leaf(const Tensor& x, Dtype dtype) { return x.detach().to(dtype, false, /*copy=*/true).set_requires_grad(true); }

// The networks of a tiny model in one dtype, a low-rank term on each of their linears and convolutions.
struct Net {
  LayerMap layers;
  std::unique_ptr<UNet> unet;
  std::vector<std::unique_ptr<ClipTextModel>> text;
  std::map<std::string, Factors> factors;

  Net(const TinyModel& model, Dtype dtype) {
    const TinySource source(model.weights);
    const Weights weights(source, layers, {torch::kCPU, dtype});
    unet = std::make_unique<UNet>(model.spec.unet, weights / "unet");
    for (const auto& config : model.spec.text_encoders) text.push_back(std::make_unique<ClipTextModel>(config, weights / config.component));
    // The same numbers in every dtype; float32 masters, as in training.
    torch::manual_seed(21);
    const Dtype master = dtype == torch::kDouble ? torch::kDouble : torch::kFloat;
    for (const auto& [path, layer] : layers) {
      const Tensor& weight = layer->base_weight();
      if (weight.dim() < 2 || layer->geometry().op == LayerOp::embedding) continue;
      Shape down = weight.sizes().vec(), up(weight.dim(), 1);
      down[0] = 3, up[0] = weight.size(0), up[1] = 3;
      const double fan_in = static_cast<double>(weight[0].numel());
      Factors& f = factors[path] = {leaf(torch::randn(down) / std::sqrt(fan_in), master), leaf(torch::randn(up) / 4, master)};
      layer->set_run_time_terms({[&f, dtype](const Layer& layer, const Tensor& x) {
        const Tensor inner = layer.plain(x, f.down.to(dtype), {});
        return inner.dim() == 4 && layer.geometry().op == LayerOp::conv2d ? torch::conv2d(inner, f.up.to(dtype))
                                                                          : torch::linear(inner, f.up.to(dtype));
      }});
    }
  }
  Net(const Net&) = delete;

  // Of all factors whose layer's path starts so; missing ones fail the test. Forgets them.
  Tensors take_gradients(const std::string& start) {
    Tensors all;
    for (auto& [path, f] : factors) {
      if (!path.starts_with(start)) continue;
      for (const auto& [name, factor] : {std::pair{".down", &f.down}, std::pair{".up", &f.up}}) {
        EXPECT_TRUE(factor->grad().defined()) << path << name;
        if (factor->grad().defined()) all[path + name] = factor->grad().clone();
        factor->mutable_grad() = Tensor();
      }
    }
    return all;
  }
};

UNetInput unet_input(const ModelSpec& spec) {
  torch::manual_seed(22);
  UNetInput input{torch::randn({2, 4, 16, 16}), torch::tensor({17.0f, 803.0f}), torch::randn({2, 5, spec.unet.context}), {}, {}};
  if (spec.unet.added_width) {
    input.pooled = torch::randn({2, 24});
    input.time_ids = torch::tensor({{512.0f, 512.0f, 0.0f, 0.0f, 512.0f, 512.0f}, {640.0f, 480.0f, 8.0f, 0.0f, 512.0f, 512.0f}});
  }
  return input;
}

// A scalar that depends on every number of the answer.
Tensor unet_loss(const Net& net, const UNetInput& input) {
  torch::manual_seed(23);
  const Tensor out = net.unet->forward(input).to(torch::kDouble);
  return (out * torch::randn(out.sizes(), torch::kDouble)).mean();
}

Tensor text_ids() { return torch::tensor({{1, 70, 700, 7000, 49407, 0}, {1, 90, 90, 9, 9000, 49407}}, torch::kLong); }

// Of both outputs. row: put in the place of the embedding of one token, as a textual inversion is.
Tensor text_loss(const ClipTextModel& text, const Tensor& row, int skip) {
  torch::manual_seed(24);
  Tensor embedded = text.embed(text_ids());
  const Tensor place = torch::zeros({2, 6, 1}, torch::kBool);
  place[0][2] = true, place[1][1] = true;
  embedded = torch::where(place, row.to(embedded.scalar_type()), embedded);
  const ClipOutput out = text.forward(embedded, torch::tensor({4, 5}, torch::kLong), skip);
  const auto sum = [](const Tensor& x) { return (x.to(torch::kDouble) * torch::randn(x.sizes(), torch::kDouble)).mean(); };
  return sum(out.hidden) + sum(out.pooled);
}

double error_of(const Tensor& got, const Tensor& expected) {
  return ((got.to(torch::kDouble) - expected).norm() / expected.norm()).item<double>();
}

void expect_near(const Tensors& got, const Tensors& expected, double allowed) {
  ASSERT_EQ(got.size(), expected.size());
  ASSERT_FALSE(got.empty());
  for (const auto& [name, gradient] : expected) EXPECT_LT(error_of(got.at(name), gradient), allowed) << name;
}

Tensor joined(const Tensors& gradients) {
  std::vector<Tensor> all;
  for (const auto& [name, gradient] : gradients) all.push_back(gradient.flatten());
  return torch::cat(all);
}

// float32 through some hundred stages; norms over few numbers (a group at 2×2 pixels) enlarge what came in rounded.
constexpr double kFloatTolerance = 1e-4;
// bfloat16 rounds by up to 2^-9 at each of some hundred stages, at random: all gradients together are off by about 20 times that. One
// factor may lose more, where what reaches it nearly cancels (attention's queries and keys).
constexpr double kBfloatTolerance = 0.25, kBfloatTogether = 0.08;

TEST(NetworkGradients, OfTheUNetReachEveryFactorInFloatAndBfloat) {
  for (const char* family : {"sd1", "sdxl"}) {
    SCOPED_TRACE(family);
    const TinyModel model = tiny_model(family);
    const UNetInput input = unet_input(model.spec);
    Net exact(model, torch::kDouble), real(model, torch::kFloat), half(model, torch::kBFloat16);
    for (Net* net : {&exact, &real, &half}) unet_loss(*net, input).backward();
    const Tensors expected = exact.take_gradients("unet.");
    expect_near(real.take_gradients("unet."), expected, kFloatTolerance);
    const Tensors rounded = half.take_gradients("unet.");
    expect_near(rounded, expected, kBfloatTolerance);
    EXPECT_LT(error_of(joined(rounded), joined(expected)), kBfloatTogether);
  }
}

TEST(NetworkGradients, OfTheUNetReachTheTextAndTheLatent) {
  const TinyModel model = tiny_model("sd1");
  Net exact(model, torch::kDouble), real(model, torch::kFloat);
  std::vector<Tensor> gradients;
  for (Net* net : {&exact, &real}) {
    UNetInput input = unet_input(model.spec);
    for (Tensor* part : {&input.x, &input.context}) *part = leaf(*part, torch::kFloat);
    unet_loss(*net, input).backward();
    gradients.push_back(input.x.grad()), gradients.push_back(input.context.grad());
  }
  EXPECT_LT(error_of(gradients[2], gradients[0].to(torch::kDouble)), kFloatTolerance);
  EXPECT_LT(error_of(gradients[3], gradients[1].to(torch::kDouble)), kFloatTolerance);
}

TEST(NetworkGradients, OfTheTextEncoderReachEveryFactorAndATrainedRow) {
  const TinyModel model = tiny_model("sdxl");
  Net exact(model, torch::kDouble), real(model, torch::kFloat), half(model, torch::kBFloat16);
  for (size_t i = 0; i < model.spec.text_encoders.size(); ++i) {
    const auto& config = model.spec.text_encoders[i];
    SCOPED_TRACE(config.component);
    torch::manual_seed(25);
    const Tensor row = torch::randn({config.width}) * 0.02;
    std::vector<std::pair<Tensor, Tensors>> results;
    for (Net* net : {&exact, &real, &half}) {
      const Tensor trained = leaf(row, net == &exact ? torch::kDouble : torch::kFloat);
      text_loss(*net->text[i], trained, 1).backward();
      results.emplace_back(trained.grad(), net->take_gradients(config.component + "."));
    }
    expect_near(results[1].second, results[0].second, kFloatTolerance);
    expect_near(results[2].second, results[0].second, kBfloatTolerance);
    EXPECT_LT(error_of(results[1].first, results[0].first), kFloatTolerance);
    EXPECT_LT(error_of(results[2].first, results[0].first), kBfloatTolerance);
  }
}

TEST(NetworkGradients, AreTheSlopeOfTheLoss) {
  const TinyModel model = tiny_model("sd1");
  const UNetInput input = unet_input(model.spec);
  Net exact(model, torch::kDouble), real(model, torch::kFloat);
  unet_loss(real, input).backward();
  const Tensors gradients = real.take_gradients("unet.");
  torch::NoGradGuard no_grad;
  for (const char* path :
       {"unet.conv_in", "unet.down_blocks.0.attentions.1.transformer_blocks.0.attn2.to_k", "unet.mid_block.resnets.0.conv1",
        "unet.up_blocks.1.attentions.0.transformer_blocks.0.ff.net.0.proj", "unet.up_blocks.3.resnets.2.conv_shortcut"}) {
    SCOPED_TRACE(path);
    const Tensor factor = exact.factors.at(path).down, gradient = gradients.at(path + std::string(".down")).to(torch::kDouble);
    // Along the gradient the slope is its length.
    const Tensor direction = gradient / gradient.norm(), start = factor.clone();
    constexpr double kStep = 1e-4;  // the error of central differences is about its square
    const auto loss_at = [&](double step) {
      factor.copy_(start + step * direction);
      return unet_loss(exact, input).item<double>();
    };
    const double slope = (loss_at(kStep) - loss_at(-kStep)) / (2 * kStep);
    factor.copy_(start);
    EXPECT_NEAR(slope / gradient.norm().item<double>(), 1, kFloatTolerance);
  }
}

TEST(NetworkGradients, AreTheSameBitsWithRecomputation) {
  for (const char* family : {"sd1", "sdxl"}) {
    for (const Dtype dtype : {torch::kFloat, torch::kBFloat16}) {
      SCOPED_TRACE(::testing::Message() << family << " " << to_string(dtype));
      const TinyModel model = tiny_model(family);
      Net net(model, dtype);
      std::vector<Tensors> gradients;
      std::vector<Tensor> losses;
      for (const bool recompute : {false, true}) {
        net.unet->recompute = recompute;
        UNetInput input = unet_input(model.spec);
        input.context = leaf(input.context, torch::kFloat);
        losses.push_back(unet_loss(net, input));
        losses.back().backward();
        gradients.push_back(net.take_gradients("unet."));
        gradients.back()["context"] = input.context.grad();
        for (size_t i = 0; i < net.text.size(); ++i) {
          net.text[i]->recompute = recompute;
          const Tensor row = leaf(torch::ones({model.spec.text_encoders[i].width}), torch::kFloat);
          text_loss(*net.text[i], row, 1).backward();
          gradients.back()["row" + std::to_string(i)] = row.grad();
        }
        gradients.back().merge(net.take_gradients("text_encoder"));
      }
      EXPECT_TRUE(torch::equal(losses[0], losses[1]));
      ASSERT_EQ(gradients[0].size(), gradients[1].size());
      for (const auto& [name, gradient] : gradients[0]) EXPECT_TRUE(torch::equal(gradient, gradients[1].at(name))) << name;
    }
  }
}

}  // namespace
}  // namespace lorikeet
