// The kernels' gradients, through the functions that the networks call, on every instruction set that this machine runs: against libtorch's
// automatic differentiation of the plain formula in float64.
#include "nn/gradients.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/torch_autograd.h"
#include "nn/functional.h"
#include "nn/kernels/isa.h"
#include "nn/kernels/kernels.h"

namespace lorikeet::gradients_test {
namespace {

using kernels::Isa;
using Tensors = std::vector<Tensor>;
using Formula = std::function<Tensor(const Tensors&)>;

// Largest difference, relative to the largest magnitude of what is expected.
double error_of(const Tensor& got, const Tensor& expected) {
  EXPECT_EQ(got.sizes(), expected.sizes());
  const Tensor wide = got.to(torch::kDouble);
  EXPECT_TRUE(wide.isfinite().all().item<bool>());
  const double size = expected.abs().max().item<double>();
  return (wide - expected).abs().max().item<double>() / (size > 0 ? size : 1);
}

struct Case {
  Isa isa;
  Dtype dtype;
};

class Gradients : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (GetParam().isa > kernels::machine_isa()) GTEST_SKIP() << "this machine has no " << to_string(GetParam().isa);
    kernels::set_isa_limit(GetParam().isa);
    torch::manual_seed(7);
  }
  void TearDown() override { kernels::set_isa_limit(Isa::amx); }

  Dtype dtype() const { return GetParam().dtype; }
  bool is_float() const { return dtype() == torch::kFloat; }
  Tensor random(Shape shape) const { return torch::randn(shape).to(dtype()); }
  Tensor picture(Shape shape) const { return random(shape).contiguous(at::MemoryFormat::ChannelsLast); }

  // float32: sums of up to some thousand terms that partly cancel, each rounded at 2^-24, through two stages. bfloat16: the result's own
  // rounding is 2^-9 of a value, and what is rounded on the way (the forward's result) enters once more.
  double tolerance() const { return is_float() ? 1e-5 : 1.0 / 128; }
  // In bfloat16 D = Σ dO ∘ O is made of the rounded O, and so is not exactly Σ P ∘ dP; and dS is rounded before it is summed.
  double attention_tolerance() const { return is_float() ? 1e-5 : 1.0 / 64; }

  // The gradient of Σ y · direction with respect to each input, by what the networks call and by the formula in float64, within `allowed`.
  void compare(const Tensors& inputs, const Formula& ours, const Formula& formula, double allowed) const {
    const Tensor y = ours(inputs);
    const Tensor direction = torch::randn_like(y);
    const auto wants = [](const Tensors& all) {
      Tensors wanted;
      for (const auto& x : all) {
        if (x.requires_grad()) wanted.push_back(x);
      }
      return wanted;
    };
    const Tensors got = torch::autograd::grad({y}, wants(inputs), {direction});
    Tensors wide;
    for (const auto& x : inputs) wide.push_back(x.detach().to(torch::kDouble).requires_grad_(x.requires_grad()));
    const Tensor expected_y = formula(wide);
    EXPECT_LT(error_of(y.detach(), expected_y.detach()), allowed);
    const Tensors expected = torch::autograd::grad({expected_y}, wants(wide), {direction.to(torch::kDouble)});
    ASSERT_EQ(got.size(), expected.size());
    for (size_t i = 0; i < got.size(); ++i) {
      SCOPED_TRACE(testing::Message() << "gradient " << i);
      EXPECT_LT(error_of(got[i], expected[i]), allowed);
    }
  }
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const Isa isa : kernels::kAllIsas) {
    for (const Dtype dtype : {torch::kFloat, torch::kBFloat16}) all.push_back({isa, dtype});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(EachInstructionSet, Gradients, testing::ValuesIn(cases()), [](const auto& info) {
  return std::string(to_string(info.param.isa)) + (info.param.dtype == torch::kFloat ? "_float32" : "_bfloat16");
});

Tensor leaf(const Tensor& x) { return x.detach().requires_grad_(true); }

Tensor attention_formula(const Tensors& qkv, int64_t heads, double scale, bool causal) {
  const auto split = [heads](const Tensor& x) { return x.unflatten(-1, {heads, x.size(-1) / heads}).transpose(1, 2); };
  Tensor scores = torch::matmul(split(qkv[0]), split(qkv[1]).transpose(-2, -1)) * scale;
  if (causal) {
    const Tensor hidden = torch::ones({scores.size(-2), scores.size(-1)}, torch::kBool).triu(1);
    scores = scores.masked_fill(hidden, -std::numeric_limits<double>::infinity());
  }
  return torch::matmul(scores.softmax(-1), split(qkv[2])).transpose(1, 2).flatten(2);
}

Tensor attention_formula(const Tensors& qkv, int64_t heads, bool causal) {
  return attention_formula(qkv, heads, 1 / std::sqrt(static_cast<double>(qkv[0].size(2) / heads)), causal);
}

struct AttentionCase {
  int64_t batch, queries, keys, heads, width;
};

// Every width of the models, odd ones, one query, one key, blocks that end within a vector and within a pair, and enough of both to be cut
// into several pieces.
TEST_P(Gradients, attention) {
  const AttentionCase sizes[] = {{1, 1, 1, 1, 8},       {2, 64, 77, 8, 40},   {1, 257, 130, 2, 40}, {2, 77, 77, 3, 64},
                                 {1, 300, 515, 2, 80},  {1, 65, 200, 1, 160}, {1, 49, 90, 1, 512},  {1, 33, 97, 2, 16},
                                 {1, 31, 33, 2, 7},     {3, 17, 2, 2, 24},    {1, 48, 64, 1, 33},   {1, 1100, 77, 1, 40},
                                 {1, 1031, 1090, 1, 40}};
  for (const auto& s : sizes) {
    SCOPED_TRACE(testing::Message() << "T " << s.queries << " S " << s.keys << " heads " << s.heads << " d " << s.width);
    const Tensor q = leaf(random({s.batch, s.queries, s.heads * s.width})), k = leaf(random({s.batch, s.keys, s.heads * s.width}));
    const Tensor v = leaf(random({s.batch, s.keys, s.heads * s.width}));
    compare(
        {q, k, v}, [&](const Tensors& x) { return attention(x[0], x[1], x[2], s.heads); },
        [&](const Tensors& x) { return attention_formula(x, s.heads, false); }, attention_tolerance());
  }
}

TEST_P(Gradients, attention_that_hides_the_future) {
  for (const int64_t tokens : {1, 2, 77, 200, 1040}) {
    SCOPED_TRACE(tokens);
    const Tensor q = leaf(random({2, tokens, 128})), k = leaf(random({2, tokens, 128})), v = leaf(random({2, tokens, 128}));
    compare(
        {q, k, v}, [&](const Tensors& x) { return attention(x[0], x[1], x[2], 2, true); },
        [&](const Tensors& x) { return attention_formula(x, 2, true); }, attention_tolerance());
  }
}

TEST_P(Gradients, attention_reads_slices_of_one_fused_projection) {
  const Tensor qkv = leaf(random({2, 90, 3 * 80}));
  compare(
      {qkv}, [](const Tensors& x) { return attention(x[0].narrow(2, 0, 80), x[0].narrow(2, 80, 80), x[0].narrow(2, 160, 80), 2); },
      [](const Tensors& x) {
        return attention_formula({x[0].narrow(2, 0, 80), x[0].narrow(2, 80, 80), x[0].narrow(2, 160, 80)}, 2, false);
      },
      attention_tolerance());
}

// Nobody asks for the gradients of a text encoding that is not trained, or of the first layer's input.
TEST_P(Gradients, attention_with_only_some_inputs_trained) {
  const Tensor q = random({1, 70, 80}), k = random({1, 90, 80}), v = random({1, 90, 80});
  for (const Tensors& inputs : {Tensors{leaf(q), k, v}, Tensors{q, leaf(k), leaf(v)}, Tensors{q, k, leaf(v)}}) {
    compare(
        inputs, [](const Tensors& x) { return attention(x[0], x[1], x[2], 2); },
        [](const Tensors& x) { return attention_formula(x, 2, false); }, attention_tolerance());
  }
}

// Scores of hundreds: exp(score) alone would overflow, and the weights computed again from lse must be those of the forward.
TEST_P(Gradients, attention_survives_large_scores) {
  const Tensor q = leaf(random({1, 70, 40}) * 20), k = leaf(random({1, 300, 40}) * 3), v = leaf(random({1, 300, 40}));
  // float32: the scores' own rounding, 2^-24 · 1000, in the exponent and again in lse; such a weight's gradient is a difference of
  // products with q and k of these sizes. bfloat16: D = Σ dO ∘ O is not exactly Σ P ∘ dP, as O was rounded to 2^-9.
  compare(
      {q, k, v}, [](const Tensors& x) { return attention(x[0], x[1], x[2], 1); },
      [](const Tensors& x) { return attention_formula(x, 1, false); }, is_float() ? 5e-4 : 1.0 / 32);
}

TEST_P(Gradients, attention_with_a_negative_scale) {
  const Tensor q = leaf(random({1, 40, 32})), k = leaf(random({1, 50, 32})), v = leaf(random({1, 50, 32}));
  compare(
      {q, k, v}, [](const Tensors& x) { return attention_with_gradients(x[0], x[1], x[2], 2, -0.3, false); },
      [](const Tensors& x) { return attention_formula(x, 2, -0.3, false); }, attention_tolerance());
}

TEST_P(Gradients, the_number_of_threads_does_not_matter) {
  const Tensor q = leaf(random({1, 1100, 80})), k = leaf(random({1, 1100, 80})), v = leaf(random({1, 1100, 80}));
  const Tensor x = leaf(picture({2, 64, 40, 31})), weight = leaf(torch::rand(64)), bias = leaf(torch::rand(64)),
               shift = leaf(random({2, 64}));
  const Tensor rows = leaf(random({700, 320})), row_weight = leaf(torch::rand(320)), row_bias = leaf(torch::rand(320));
  const Tensor direction_q = q.detach().flip(1), direction_x = x.detach().flip(0);
  const auto all = [&] {
    Tensors result = torch::autograd::grad({attention(q, k, v, 2)}, {q, k, v}, {direction_q});
    for (const auto& t :
         torch::autograd::grad({group_norm_with_gradients(x, 8, weight, bias, 1e-5, true, shift)}, {x, weight, bias, shift}, {direction_x}))
      result.push_back(t);
    for (const auto& t : torch::autograd::grad({layer_norm_with_gradients(rows, row_weight, row_bias, 1e-5)}, {rows, row_weight, row_bias},
                                               {rows.detach().flip(0)}))
      result.push_back(t);
    return result;
  };
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const Tensors alone = all();
  for (const int n : {2, 3}) {
    at::set_num_threads(n);
    const Tensors together = all();
    for (size_t i = 0; i < alone.size(); ++i)
      EXPECT_TRUE(torch::equal(alone[i], together[i])) << "gradient " << i << ", " << n << " threads";
  }
  at::set_num_threads(threads);
}

Tensor group_norm_formula(const Tensors& in, int64_t groups, bool silu) {  // in: x, weight, bias, shift or nothing
  const Tensor shifted = in.size() > 3 ? in[0] + in[3].unsqueeze(-1).unsqueeze(-1) : in[0];
  const Tensor y = torch::group_norm(shifted.contiguous(), groups, in[1], in[2], 1e-5);
  return silu ? torch::silu(y) : y;
}

TEST_P(Gradients, group_norm_and_silu_with_and_without_a_shift) {
  struct {
    int64_t batch, channels, groups, height, width;
  } sizes[] = {{1, 12, 2, 1, 1}, {2, 320, 32, 9, 7}, {1, 96, 32, 33, 65}, {3, 20, 5, 16, 16}, {1, 1280, 32, 8, 8}, {2, 33, 3, 5, 6}};
  for (const auto& s : sizes) {
    for (const bool silu : {false, true}) {
      for (const bool shifted : {false, true}) {
        SCOPED_TRACE(testing::Message() << s.channels << " channels, " << s.groups << " groups, silu " << silu << ", shifted " << shifted);
        Tensors in{leaf(picture({s.batch, s.channels, s.height, s.width})), leaf(torch::randn({s.channels})),
                   leaf(torch::randn({s.channels}))};
        if (shifted) in.push_back(leaf(random({s.batch, s.channels})));
        compare(
            in,
            [&](const Tensors& x) {
              const Tensor y = group_norm_with_gradients(x[0], s.groups, x[1], x[2], 1e-5, silu, shifted ? x[3] : Tensor());
              EXPECT_TRUE(y.is_contiguous(at::MemoryFormat::ChannelsLast));
              return y;
            },
            [&](const Tensors& x) { return group_norm_formula(x, s.groups, silu); }, tolerance());
      }
    }
  }
}

TEST_P(Gradients, group_norm_with_frozen_weights_or_only_weights_trained) {
  const Tensor x = picture({2, 32, 7, 9}), weight = torch::randn(32).to(dtype()), bias = torch::randn(32).to(dtype()),
               shift = random({2, 32});
  for (const Tensors& in : {Tensors{leaf(x), weight, bias, shift}, Tensors{x, leaf(weight), bias, shift},
                            Tensors{x, weight, leaf(bias), shift}, Tensors{x, weight, bias, leaf(shift)}}) {
    compare(
        in, [](const Tensors& x) { return group_norm_with_gradients(x[0], 4, x[1], x[2], 1e-5, true, x[3]); },
        [](const Tensors& x) { return group_norm_formula(x, 4, true); }, tolerance());
  }
}

TEST_P(Gradients, norms_are_safe_for_a_large_mean) {
  if (!is_float()) GTEST_SKIP() << "bfloat16 itself cannot hold such values";
  // x is rounded to 1000 · 2^-24 = 6e-5 of a deviation; the kernel may add as much again by rounding x · scale.
  const Tensor x = leaf(picture({2, 32, 50, 40}) + 1000), weight = leaf(torch::ones({32})), bias = leaf(torch::zeros({32}));
  compare(
      {x, weight, bias}, [](const Tensors& x) { return group_norm_with_gradients(x[0], 4, x[1], x[2], 1e-5, true, {}); },
      [](const Tensors& x) { return group_norm_formula(x, 4, true); }, 1e-4);
  const Tensor rows = leaf(random({50, 320}) + 1000), ones = leaf(torch::ones({320})), zeros = leaf(torch::zeros({320}));
  compare(
      {rows, ones, zeros}, [](const Tensors& x) { return layer_norm_with_gradients(x[0], x[1], x[2], 1e-5); },
      [](const Tensors& x) { return torch::layer_norm(x[0], {320}, x[1], x[2], 1e-5); }, 1e-4);
}

TEST_P(Gradients, layer_norm_over_any_width) {
  for (const int64_t width : {5, 16, 77, 320, 768, 1283}) {
    SCOPED_TRACE(width);
    const Tensor x = random({3, 70, width}), weight = torch::randn({width}), bias = torch::randn({width});
    for (const Tensors& in : {Tensors{leaf(x), leaf(weight), leaf(bias)}, Tensors{leaf(x), weight, bias}, Tensors{x, weight, leaf(bias)}}) {
      compare(
          in, [](const Tensors& x) { return layer_norm_with_gradients(x[0], x[1], x[2], 1e-5); },
          [&](const Tensors& x) { return torch::layer_norm(x[0], {width}, x[1], x[2], 1e-5); }, tolerance());
    }
  }
}

TEST_P(Gradients, geglu_of_any_width) {
  for (const int64_t width : {1, 15, 16, 33, 1280}) {
    SCOPED_TRACE(width);
    compare(
        {leaf(random({2, 9, 2 * width}) * 2)}, [](const Tensors& x) { return geglu(x[0]); },
        [](const Tensors& x) {
          const auto halves = x[0].chunk(2, -1);
          return halves[0] * torch::gelu(halves[1]);
        },
        tolerance());
  }
}

TEST_P(Gradients, activations_over_their_whole_range) {
  const Tensor x = leaf(torch::linspace(-30, 30, 20011).to(dtype()));
  compare(
      {x}, [](const Tensors& x) { return lorikeet::silu(x[0]); }, [](const Tensors& x) { return torch::silu(x[0]); }, tolerance());
  compare(
      {x}, [](const Tensors& x) { return lorikeet::gelu(x[0]); }, [](const Tensors& x) { return torch::gelu(x[0]); }, tolerance());
  compare(
      {x}, [](const Tensors& x) { return quick_gelu(x[0]); }, [](const Tensors& x) { return x[0] * torch::sigmoid(1.702 * x[0]); },
      tolerance());
}

// The gradient may come in another layout than the tensor's own, or spread out of one number.
TEST_P(Gradients, a_gradient_may_lie_in_any_order) {
  const Tensor x = leaf(picture({2, 6, 5, 4}));
  const Tensor weight = torch::ones(6), bias = torch::zeros(6), contiguous = random({2, 6, 5, 4});
  const Formula ours[] = {[](const Tensors& x) { return lorikeet::silu(x[0]); },
                          [&](const Tensors& x) { return group_norm_with_gradients(x[0], 2, weight, bias, 1e-5, true, {}); }};
  for (const auto& function : ours) {
    const Tensor y = function({x});
    const auto by = [&](const Tensor& direction) { return torch::autograd::grad({y}, {x}, {direction}, /*retain_graph=*/true)[0]; };
    EXPECT_TRUE(torch::equal(by(contiguous), by(contiguous.contiguous(at::MemoryFormat::ChannelsLast))));
    EXPECT_TRUE(torch::equal(by(torch::ones(1).to(dtype()).expand({2, 6, 5, 4})), by(torch::ones_like(contiguous))));
  }
  const Tensor q = leaf(random({1, 20, 16}));
  const Tensor y = attention(q, q, q, 2), direction = random({1, 16, 20}).transpose(1, 2);
  EXPECT_TRUE(torch::equal(torch::autograd::grad({y}, {q}, {direction}, true)[0],
                           torch::autograd::grad({y}, {q}, {direction.contiguous()}, true)[0]));
}

TEST_P(Gradients, upsampling_adds_four_and_concatenation_parts_again) {
  compare(
      {leaf(picture({2, 5, 3, 7}))}, [](const Tensors& x) { return upsample_nearest(x[0], 6, 14); },
      [](const Tensors& x) { return x[0].repeat_interleave(2, 2).repeat_interleave(2, 3); }, tolerance());
  const Tensor a = picture({2, 5, 3, 7}), b = picture({2, 9, 3, 7});
  for (const Tensors& in : {Tensors{leaf(a), leaf(b)}, Tensors{a, leaf(b)}, Tensors{leaf(a), b}}) {
    compare(
        in, [](const Tensors& x) { return concat_channels(x[0], x[1]); },
        [](const Tensors& x) {
          return torch::cat({x[0], x[1]}, 1);
        },
        1e-12);
  }
}

TEST_P(Gradients, the_forward_is_bit_for_bit_that_of_inference) {
  const Tensor q = random({1, 90, 80}), x = picture({1, 32, 9, 7}), weight = torch::rand(32), bias = torch::rand(32);
  EXPECT_TRUE(torch::equal(attention(leaf(q), leaf(q), leaf(q), 2), attention(q, q, q, 2)));
  EXPECT_TRUE(torch::equal(group_norm_with_gradients(leaf(x), 4, weight, bias, 1e-5, true, {}),
                           kernels::group_norm(x, 4, weight, bias, 1e-5, true)));
  EXPECT_TRUE(torch::equal(geglu(leaf(q)), geglu(q)));
}

TEST(GradientsOfKernels, CannotBeDifferentiatedAgainAndSaySo) {
  const Tensor x = leaf(torch::randn({2, 8}));
  const Tensor y = lorikeet::gelu(x);
  EXPECT_THROW(torch::autograd::grad({y.sum()}, {x}, {}, /*retain_graph=*/true, /*create_graph=*/true), Error);
  EXPECT_NO_THROW(torch::autograd::grad({y.sum()}, {x}));
}

TEST(GradientsOfKernels, NobodyRecordsWhatNobodyTrains) {
  const Tensor q = torch::randn({1, 8, 16});
  EXPECT_FALSE(attention(q, q, q, 2).requires_grad());
  torch::NoGradGuard no_grad;
  EXPECT_FALSE(attention(leaf(q), q, q, 2).requires_grad());
}

// float64 has no kernels: the norms take libtorch's formula, whose gradient is checked by libtorch.
TEST(GradientsOfKernels, OtherTypesTakeTheFormula) {
  const Tensor x = leaf(torch::randn({2, 6, 3, 3}, torch::kDouble)), weight = torch::ones(6), bias = torch::zeros(6);
  const Tensor shift = torch::ones({2, 6});
  const Tensor expected = torch::silu(torch::group_norm(x + 1, 2, weight.to(torch::kDouble), bias.to(torch::kDouble), 1e-5));
  EXPECT_TRUE(torch::allclose(group_norm_with_gradients(x, 2, weight, bias, 1e-5, true, shift), expected));
  EXPECT_TRUE(torch::allclose(layer_norm_with_gradients(x, torch::ones(3), torch::zeros(3), 1e-5), torch::layer_norm(x, {3})));
}

}  // namespace
}  // namespace lorikeet::gradients_test
