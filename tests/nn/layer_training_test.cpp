// Gradients through layers: through frozen packed weights, merged ones, run-time terms and live weights, against libtorch's automatic
// differentiation of Layer::plain() in float64.
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/torch_autograd.h"
#include "nn/kernels/kernels.h"
#include "nn/layer.h"

namespace lorikeet::layer_training_test {
namespace {

using Tensors = std::vector<Tensor>;

// A layer and the shape of an input for it.
struct Case {
  const char* name;
  LayerGeometry geometry;
  Shape weight, input;
};

std::vector<Case> products() {
  const auto conv = [](int stride, int padding, bool circular = false) {
    return LayerGeometry{.op = LayerOp::conv2d, .stride = stride, .padding = padding, .circular = circular};
  };
  return {
      {"linear", {.op = LayerOp::linear}, {24, 40}, {2, 5, 40}},
      {"linear with odd widths", {.op = LayerOp::linear}, {7, 13}, {3, 13}},
      {"linear of the U-Net", {.op = LayerOp::linear}, {640, 320}, {1, 96, 320}},
      {"conv 3×3", conv(1, 1), {24, 16, 3, 3}, {2, 16, 8, 8}},
      {"conv 3×3 with odd sizes", conv(1, 1), {7, 5, 3, 3}, {1, 5, 7, 5}},
      {"conv 3×3 of the U-Net", conv(1, 1), {64, 320, 3, 3}, {2, 320, 8, 8}},
      {"conv in", conv(1, 1), {64, 4, 3, 3}, {1, 4, 16, 16}},
      {"conv out", conv(1, 1), {4, 64, 3, 3}, {1, 64, 16, 16}},
      {"conv 3×3, stride 2", conv(2, 1), {32, 16, 3, 3}, {2, 16, 8, 8}},
      {"conv 3×3, stride 2, odd sizes", conv(2, 1), {32, 16, 3, 3}, {1, 16, 9, 7}},
      {"conv 3×3, stride 2, a row left over", conv(2, 0), {16, 16, 3, 3}, {1, 16, 8, 10}},
      {"conv 1×1", conv(1, 0), {48, 32, 1, 1}, {2, 32, 6, 5}},
      {"conv 5×5 without padding", conv(1, 0), {8, 16, 5, 5}, {1, 16, 9, 9}},
      {"circular conv", conv(1, 1, true), {24, 16, 3, 3}, {2, 16, 8, 6}},
      {"circular conv, stride 2", conv(2, 1, true), {24, 16, 3, 3}, {1, 16, 8, 8}},
  };
}

std::vector<Case> norms() {
  return {{"group norm", {.op = LayerOp::group_norm, .groups = 4, .eps = 1e-5}, {32}, {2, 32, 6, 5}},
          {"layer norm", {.op = LayerOp::layer_norm, .eps = 1e-5}, {48}, {2, 7, 48}}};
}

std::vector<Case> all_float_cases() {
  std::vector<Case> all = products();
  for (const Case& norm : norms()) all.push_back(norm);
  return all;
}

Tensor random_input(const Case& c) {
  const Tensor x = torch::randn(c.input);
  return x.dim() == 4 ? x.contiguous(torch::MemoryFormat::ChannelsLast) : x;
}

// The weights are what the dtype can hold, so that the formula has the very same ones.
Layer make(const Case& c, Dtype dtype) {
  const double fan_in = static_cast<double>(torch::empty(c.weight)[0].numel());
  const Tensor weight = (torch::randn(c.weight) / std::sqrt(fan_in)).to(dtype).to(torch::kFloat);
  return Layer("unet.test", c.geometry, weight, torch::randn({c.weight[0]}).to(dtype).to(torch::kFloat), {torch::kCPU, dtype});
}

Tensor leaf(const Tensor& x) { return x.detach().clone().set_requires_grad(true); }
Tensor wide(const Tensor& x) { return x.detach().to(torch::kDouble); }

// Largest difference, relative to the largest magnitude of what is expected.
double error_of(const Tensor& got, const Tensor& expected) {
  EXPECT_EQ(got.sizes(), expected.sizes());
  return ((wide(got) - expected).abs().max() / expected.abs().max()).item<double>();
}

// float32: sums of up to some thousand products, each rounded at 2^-24. bfloat16: the sums are in float32, and the result is rounded at
// 2^-9 of its value.
double tolerance(Dtype dtype) { return dtype == torch::kFloat ? 1e-5 : 1.0 / 256; }

const std::vector<Dtype> kDtypes{torch::kFloat, torch::kBFloat16};

// plain() of the float64 copies.
Tensor formula(const Layer& layer, const Tensor& x, const Tensor& weight, const Tensor& bias) {
  Layer exact(layer.path(), layer.geometry(), wide(layer.base_weight()), wide(layer.base_bias()), {torch::kCPU, torch::kDouble});
  return exact.plain(x, weight, bias);
}

TEST(LayerTraining, InputGradientsAreThoseOfTheFormula) {
  torch::manual_seed(3);
  for (const Dtype dtype : kDtypes) {
    for (const Case& c : all_float_cases()) {
      SCOPED_TRACE(testing::Message() << c.name << " " << to_string(dtype));
      const Layer layer = make(c, dtype);
      const Tensor x = leaf(random_input(c).to(dtype)), exact = leaf(wide(x));
      const Tensor y = layer(x);
      const Tensor direction = torch::randn_like(y);
      y.backward(direction);
      formula(layer, exact, wide(layer.base_weight()), wide(layer.base_bias())).backward(wide(direction));
      EXPECT_EQ(x.grad().scalar_type(), dtype);
      // A norm in bfloat16 has two stages between dy and dx; a circular border's gradients are added up after they were rounded.
      const bool two_stages = c.weight.size() == 1 || c.geometry.circular;
      EXPECT_LT(error_of(x.grad(), exact.grad()), (two_stages ? 2 : 1) * tolerance(dtype));
    }
  }
}

TEST(LayerTraining, ValuesWithAndWithoutAGraphAreTheSameBits) {
  torch::manual_seed(3);
  for (const Dtype dtype : kDtypes) {
    for (const Case& c : all_float_cases()) {
      SCOPED_TRACE(testing::Message() << c.name << " " << to_string(dtype));
      const Layer layer = make(c, dtype);
      const Tensor x = random_input(c).to(dtype);
      const Tensor with_graph = layer(leaf(x));
      torch::NoGradGuard no_grad;
      EXPECT_TRUE(torch::equal(with_graph, layer(x)));
    }
  }
}

TEST(LayerTraining, TheResidualHasItsGradientWhetherOrNotTheInputHasOne) {
  torch::manual_seed(4);
  for (const Case& c : products()) {
    for (const bool input_too : {false, true}) {
      SCOPED_TRACE(testing::Message() << c.name << ", input too: " << input_too);
      const Layer layer = make(c, torch::kFloat);
      const Tensor x = random_input(c).set_requires_grad(input_too);
      const Tensor residual = leaf(torch::randn_like(layer(x.detach())));
      const Tensor y = layer(x, residual);
      const Tensor direction = torch::randn_like(y);
      y.backward(direction);
      EXPECT_TRUE(torch::equal(residual.grad(), direction));
      EXPECT_EQ(x.grad().defined(), input_too);
    }
  }
}

TEST(LayerTraining, AFrozenLayerKeepsNoActivationAndGivesItsWeightNoGradient) {
  torch::manual_seed(5);
  for (const Case& c : products()) {
    if (c.geometry.circular) continue;  // its padding keeps shapes only, too, but makes its own copy of x
    SCOPED_TRACE(c.name);
    const Layer layer = make(c, torch::kFloat);
    const Tensor start = leaf(random_input(c));
    Tensor x = start + 1;
    const c10::weak_intrusive_ptr<at::TensorImpl> input(x.getIntrusivePtr());
    const Tensor y = layer(x);
    x = Tensor();
    EXPECT_TRUE(input.expired());
    y.sum().backward();
    EXPECT_TRUE(start.grad().defined());
    EXPECT_FALSE(layer.base_weight().requires_grad());
  }
}

TEST(LayerTraining, AMergedLayerPassesGradientsThroughTheWeightThatForwardHad) {
  torch::manual_seed(6);
  for (const Case& c : products()) {
    SCOPED_TRACE(c.name);
    Layer layer = make(c, torch::kFloat);
    const Tensor merged = layer.base_weight() + torch::randn(c.weight) / 8;
    layer.set_merged(merged, {});
    const Tensor x = leaf(random_input(c)), exact = leaf(wide(x));
    const Tensor y = layer(x);
    layer.clear_merged();  // after forward, before backward
    const Tensor direction = torch::randn_like(y);
    y.backward(direction);
    formula(layer, exact, wide(merged), wide(layer.base_bias())).backward(wide(direction));
    EXPECT_LT(error_of(x.grad(), exact.grad()), tolerance(torch::kFloat));
  }
}

TEST(LayerTraining, RunTimeTermsHaveGradientsBesideThePackedWeight) {
  torch::manual_seed(7);
  for (const bool input_has_gradient : {false, true}) {
    Layer layer = make(products()[0], torch::kFloat);
    const Tensor down = leaf(torch::randn({4, 40})), up = leaf(torch::randn({24, 4}));
    layer.set_run_time_terms({[&](const Layer&, const Tensor& x) { return torch::linear(torch::linear(x, down), up); }});
    const Tensor x = random_input(products()[0]).set_requires_grad(input_has_gradient), residual = leaf(torch::randn({2, 5, 24}));
    const Tensor y = layer(x, residual), direction = torch::randn_like(y);
    y.backward(direction);

    const Tensor exact = leaf(wide(x)), exact_down = leaf(wide(down)), exact_up = leaf(wide(up));
    const Tensor weight = wide(layer.base_weight()) + torch::matmul(exact_up, exact_down);
    formula(layer, exact, weight, wide(layer.base_bias())).backward(wide(direction));
    EXPECT_LT(error_of(down.grad(), exact_down.grad()), tolerance(torch::kFloat));
    EXPECT_LT(error_of(up.grad(), exact_up.grad()), tolerance(torch::kFloat));
    if (input_has_gradient) {
      EXPECT_LT(error_of(x.grad(), exact.grad()), tolerance(torch::kFloat));
    }
  }
}

TEST(LayerTraining, ALiveWeightIsTrained) {
  torch::manual_seed(8);
  for (const Dtype dtype : kDtypes) {
    for (const Case& c : all_float_cases()) {
      SCOPED_TRACE(testing::Message() << c.name << " " << to_string(dtype));
      Layer layer = make(c, dtype);
      // Float32 masters of numbers that bfloat16 has too.
      const Tensor weight = leaf((layer.base_weight() * 1.5).to(dtype).to(torch::kFloat));
      const Tensor bias = leaf((layer.base_bias() * 0.5).to(dtype).to(torch::kFloat));
      layer.set_live([&] { return LiveWeight{weight, bias}; });
      const Tensor x = leaf(random_input(c).to(dtype));
      const Tensor y = layer(x), direction = torch::randn_like(y);
      y.backward(direction);

      const Tensor exact = leaf(wide(x)), exact_weight = leaf(wide(weight)), exact_bias = leaf(wide(bias));
      formula(layer, exact, exact_weight, exact_bias).backward(wide(direction));
      // The gradient of a weight comes rounded to the compute dtype, that of a norm is made of a rounded x̂.
      const double allowed = 2 * tolerance(dtype);
      EXPECT_LT(error_of(weight.grad(), exact_weight.grad()), allowed);
      EXPECT_LT(error_of(bias.grad(), exact_bias.grad()), allowed);
      EXPECT_LT(error_of(x.grad(), exact.grad()), allowed);
      EXPECT_EQ(weight.grad().scalar_type(), torch::kFloat);
    }
  }
}

TEST(LayerTraining, ALiveWeightIsAskedForAtEachForwardAndItsEndIsTheLayerAsItWas) {
  torch::manual_seed(9);
  for (const Case& c : all_float_cases()) {
    SCOPED_TRACE(c.name);
    torch::NoGradGuard no_grad;
    Layer layer = make(c, torch::kFloat);
    const Tensor x = random_input(c), before = layer(x);
    int asked = 0;
    layer.set_live([&] { return ++asked, LiveWeight{layer.base_weight() * asked, layer.base_bias()}; });
    EXPECT_TRUE(layer.is_live());
    for (const int times : {1, 2}) {
      const Tensor expected = layer.plain(x, layer.base_weight() * times, layer.base_bias());
      EXPECT_LT(error_of(layer(x), wide(expected)), tolerance(torch::kFloat));
    }
    EXPECT_EQ(asked, 2);
    layer.set_live({});
    EXPECT_FALSE(layer.is_live());
    EXPECT_TRUE(torch::equal(layer(x), before));
    layer.set_merged(layer.base_weight() * 2, {});
    const Tensor merged = layer(x);
    layer.set_live([&] { return LiveWeight{layer.base_weight(), layer.base_bias()}; });
    layer.set_live({});
    EXPECT_TRUE(torch::equal(layer(x), merged));
  }
}

TEST(LayerTraining, ALiveWeightOfAnotherShapeIsRefused) {
  Layer layer = make(products()[0], torch::kFloat);
  layer.set_live([] { return LiveWeight{torch::randn({24, 41}), {}}; });
  EXPECT_THROW(layer(torch::randn({2, 40})), Error);
}

TEST(LayerTraining, GroupNormAndSiluInOnePassTrainLikeTheTwo) {
  torch::manual_seed(10);
  const Case c = norms()[0];
  Layer layer = make(c, torch::kFloat);
  const Tensor weight = leaf(layer.base_weight()), bias = leaf(layer.base_bias());
  layer.set_live([&] { return LiveWeight{weight, bias}; });
  const Tensor x = leaf(random_input(c)), shift = leaf(torch::randn({2, 32}));
  const Tensor y = layer.forward_silu(x, shift), direction = torch::randn_like(y);
  y.backward(direction);

  const Tensors exact{leaf(wide(x)), leaf(wide(shift)), leaf(wide(weight)), leaf(wide(bias))};
  const Tensor shifted = exact[0] + exact[1].unsqueeze(-1).unsqueeze(-1);
  torch::silu(formula(layer, shifted, exact[2], exact[3])).backward(wide(direction));
  const Tensors got{x, shift, weight, bias};
  for (size_t i = 0; i < got.size(); ++i) EXPECT_LT(error_of(got[i].grad(), exact[i].grad()), tolerance(torch::kFloat)) << i;
}

TEST(LayerTraining, OfALiveEmbeddingTheRowsThatWereReadHaveAGradientAndRepeatedOnesTheSum) {
  torch::manual_seed(11);
  for (const Dtype dtype : kDtypes) {
    const Tensor table = leaf(torch::randn({50, 8}));
    Layer layer("text_encoder.tokens", {.op = LayerOp::embedding}, table.detach(), {}, {torch::kCPU, dtype});
    layer.set_live([&] { return LiveWeight{table, {}}; });
    const Tensor ids = torch::tensor({{3, 7, 3}, {49, 3, 0}}, torch::kLong);
    const Tensor y = layer(ids);
    EXPECT_EQ(y.scalar_type(), dtype);
    // Small whole numbers, whose sums are exact in either dtype.
    const Tensor direction = torch::randint(-4, 5, {2, 3, 8}).to(dtype);
    y.backward(direction);
    const Tensor expected = torch::zeros({50, 8}).index_add(0, ids.flatten(), direction.to(torch::kFloat).flatten(0, 1));
    EXPECT_TRUE(torch::equal(table.grad(), expected));
  }
}

// Float64 is none of oneDNN's dtypes: it takes the form that a build or a machine without oneDNN takes.
TEST(LayerTraining, WithoutOneDnnThePackedFormsAreLibtorchsOperations) {
  torch::manual_seed(12);
  for (const Case& c : products()) {
    if (c.geometry.circular) continue;
    SCOPED_TRACE(c.name);
    const Layer layer = make(c, torch::kFloat);
    const Tensor weight = wide(layer.base_weight()), bias = wide(layer.base_bias()), x = leaf(wide(random_input(c)));
    const Tensor expected = formula(layer, x, weight, bias);
    const Tensor dy = torch::randn_like(expected), residual = torch::randn_like(expected);
    expected.backward(dy);
    torch::NoGradGuard no_grad;
    Tensor y, dx;
    if (c.geometry.op == LayerOp::linear) {
      const auto op = kernels::PackedLinear::make(weight, bias, torch::kDouble);
      y = (*op)(x, residual), dx = op->input_gradient(dy);
    } else {
      const auto op = kernels::PackedConv2d::make(weight, bias, c.geometry.stride, c.geometry.padding, torch::kDouble);
      y = (*op)(x, residual), dx = op->input_gradient(dy, c.input);
    }
    constexpr double kSameOperation = 1e-12;
    EXPECT_LT(error_of(y, expected.detach() + residual), kSameOperation);
    EXPECT_LT(error_of(dx, x.grad()), kSameOperation);
  }
}

TEST(LayerTraining, ASecondDerivativeOfAFrozenLayerIsRefused) {
  const Layer layer = make(products()[0], torch::kFloat);
  const Tensor x = leaf(random_input(products()[0]));
  const Tensor y = layer(x).square().sum();
  EXPECT_THROW(torch::autograd::grad({y}, {x}, {}, true, /*create_graph=*/true), Error);
}

}  // namespace
}  // namespace lorikeet::layer_training_test
