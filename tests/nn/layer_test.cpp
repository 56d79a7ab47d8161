#include "nn/layer.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "nn/functional.h"
#include "nn/weights.h"

namespace lorikeet {
namespace {

Layer linear(int64_t in, int64_t out, Compute compute = {}) {
  torch::manual_seed(1);
  return Layer("unet.test", {.op = LayerOp::linear}, torch::randn({out, in}), torch::randn({out}), compute);
}

Layer conv(Compute compute = {}) {
  torch::manual_seed(2);
  return Layer("unet.test", {.op = LayerOp::conv2d, .stride = 1, .padding = 1}, torch::randn({24, 16, 3, 3}), torch::randn({24}), compute);
}

Tensor image() { return torch::randn({2, 16, 8, 8}).contiguous(torch::MemoryFormat::ChannelsLast); }

// float32 sums of some hundred products in another order
constexpr double kClose = 1e-4;

TEST(Layer, ForwardIsThePlainOperationWithItsResidual) {
  torch::NoGradGuard no_grad;
  const Layer a = linear(40, 24), b = conv();
  const Tensor x = torch::randn({2, 5, 40}), residual = torch::randn({2, 5, 24});
  EXPECT_TRUE(torch::allclose(a(x, residual), a.plain(x, a.base_weight(), a.base_bias()) + residual, kClose, kClose));
  const Tensor y = image();
  EXPECT_TRUE(torch::allclose(b(y), b.plain(y, b.base_weight(), b.base_bias()), kClose, kClose));
}

TEST(Layer, MergingReplacesTheWeightAndClearingGivesTheBaseBackBitForBit) {
  torch::NoGradGuard no_grad;
  Layer layer = linear(40, 24);
  const Tensor x = torch::randn({3, 40}), before = layer(x);
  layer.set_merged(layer.base_weight() * 2, {});
  EXPECT_TRUE(torch::allclose(layer(x), layer.plain(x, layer.base_weight() * 2, layer.base_bias()), kClose, kClose));
  layer.clear_merged();
  EXPECT_TRUE(torch::equal(layer(x), before));
}

TEST(Layer, RunTimeTermsAreAdded) {
  torch::NoGradGuard no_grad;
  Layer layer = linear(40, 24);
  const Tensor x = torch::randn({3, 40}), before = layer(x);
  layer.set_run_time_terms({[](const Layer&, const Tensor& in) { return in.slice(-1, 0, 24) * 3; }});
  EXPECT_TRUE(torch::equal(layer(x), before + x.slice(-1, 0, 24) * 3));
}

TEST(Layer, GradientsFlowToTheInput) {
  const Layer layer = conv();
  Tensor x = image().requires_grad_(true);
  layer(x).sum().backward();
  ASSERT_TRUE(x.grad().defined());
  const Tensor expected = torch::conv_transpose2d(torch::ones({2, 24, 8, 8}), layer.base_weight(), {}, 1, 1);
  EXPECT_TRUE(torch::allclose(x.grad(), expected, kClose, kClose));
}

TEST(Layer, ACircularConvolutionMovesWithItsInput) {
  torch::NoGradGuard no_grad;
  Layer layer = conv();
  const Tensor x = image(), plain = layer(x);
  layer.set_circular(true);
  const Tensor rolled = layer(x.roll({3, 5}, {2, 3}).contiguous(torch::MemoryFormat::ChannelsLast));
  EXPECT_TRUE(torch::allclose(rolled, layer(x).roll({3, 5}, {2, 3}), kClose, kClose));
  EXPECT_FALSE(torch::allclose(layer(x), plain, kClose, kClose));
  layer.set_circular(false);
  EXPECT_TRUE(torch::equal(layer(x), plain));
}

TEST(Layer, BfloatStaysNearFloat) {
  torch::NoGradGuard no_grad;
  const Layer exact = conv(), half = conv({torch::kCPU, torch::kBFloat16});
  const Tensor x = image();
  const Tensor error = (half(x.to(torch::kBFloat16)).to(torch::kFloat) - exact(x)).abs().max() / exact(x).abs().max();
  EXPECT_LT(error.item<double>(), 1.0 / 64);  // 8 bits of mantissa in inputs, weights and result
}

TEST(Functional, AttentionOfOneKeyIsItsValue) {
  torch::NoGradGuard no_grad;
  const Tensor q = torch::randn({2, 7, 16}), k = torch::randn({2, 1, 16}), v = torch::randn({2, 1, 16});
  EXPECT_TRUE(torch::allclose(attention(q, k, v, 4), v.expand({2, 7, 16}), kClose, kClose));
}

class OneWeight : public WeightSource {
 public:
  Tensor find(const std::string& name) const override { return name == "unet.conv.weight" ? torch::zeros({4, 4, 1, 1}) : Tensor{}; }
  std::string describe(const std::string& name) const override { return name + " (test.safetensors)"; }
};

TEST(Weights, ErrorsNameTheFileTheParameterAndBothShapes) {
  OneWeight source;
  LayerMap layers;
  const Weights weights(source, layers, Compute{});
  EXPECT_EQ((weights / "unet" / "conv").take("weight", {4, 4}).dim(), 2);  // a 1×1 convolution serves as a linear
  try {
    (weights / "unet" / "conv").take("weight", {8, 4});
    FAIL() << "did not throw";
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("unet.conv.weight (test.safetensors) has the shape [4, 4, 1, 1], wanted is [8, 4]"), std::string::npos) << error.what();
  }
  EXPECT_THROW((weights / "unet" / "other").take("weight", {1}), Error);
}

}  // namespace
}  // namespace lorikeet
