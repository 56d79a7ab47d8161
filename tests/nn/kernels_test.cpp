// Every kernel on every instruction set that this machine runs, against the plain formula in float64.
#include "nn/kernels/kernels.h"

#include <signal.h>

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "nn/kernels/isa.h"

namespace lorikeet::kernels {
namespace {

// Largest difference, relative to the largest magnitude of what is expected.
double error_of(const Tensor& got, const Tensor& expected) {
  EXPECT_EQ(got.sizes(), expected.sizes());
  const Tensor wide = got.to(torch::kDouble);
  EXPECT_TRUE(wide.isfinite().all().item<bool>());
  const double size = expected.abs().max().item<double>();
  return (wide - expected).abs().max().item<double>() / (size > 0 ? size : 1);
}

// float32: a few roundings of 2^-24 and sums of up to some thousand terms. bfloat16: the result's own rounding is 2^-9 of a
// value, so 2^-9 of the largest at most; a product whose inputs are rounded on the way (softmax weights) doubles that.
double tolerance(Dtype dtype) { return dtype == torch::kFloat ? 4e-6 : 1.0 / 256; }

Tensor random(Shape shape, Dtype dtype) { return torch::randn(shape).to(dtype); }
Tensor wide(const Tensor& x) { return x.to(torch::kDouble); }
Tensor picture(Shape shape, Dtype dtype) { return random(shape, dtype).contiguous(at::MemoryFormat::ChannelsLast); }

struct Case {
  Isa isa;
  Dtype dtype;
};

class Kernels : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (GetParam().isa > machine_isa()) GTEST_SKIP() << "this machine has no " << to_string(GetParam().isa);
    set_isa_limit(GetParam().isa);
    torch::manual_seed(5);
  }
  void TearDown() override { set_isa_limit(Isa::amx); }
  Dtype dtype() const { return GetParam().dtype; }
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const Isa isa : kAllIsas) {
    for (const Dtype dtype : {torch::kFloat, torch::kBFloat16}) all.push_back({isa, dtype});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(EachInstructionSet, Kernels, testing::ValuesIn(cases()), [](const auto& info) {
  return std::string(to_string(info.param.isa)) + (info.param.dtype == torch::kFloat ? "_float32" : "_bfloat16");
});

Tensor attention_formula(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads, double scale, bool causal) {
  const auto split = [heads](const Tensor& x) { return wide(x).unflatten(-1, {heads, x.size(-1) / heads}).transpose(1, 2); };
  Tensor scores = torch::matmul(split(q), split(k).transpose(-2, -1)) * scale;
  if (causal) {
    const Tensor hidden = torch::ones({q.size(1), k.size(1)}, torch::kBool).triu(1);
    scores = scores.masked_fill(hidden, -std::numeric_limits<double>::infinity());
  }
  return torch::matmul(scores.softmax(-1), split(v)).transpose(1, 2).flatten(2);
}

struct AttentionCase {
  int64_t batch, queries, keys, heads, width;
};

TEST_P(Kernels, attention_is_softmax_of_qk_times_v) {
  const AttentionCase sizes[] = {{1, 1, 1, 1, 8},      {2, 64, 77, 8, 40},   {1, 257, 130, 2, 40},  {2, 77, 77, 3, 64},
                                 {1, 300, 515, 2, 80}, {1, 65, 200, 1, 160}, {1, 130, 300, 1, 512}, {1, 33, 97, 2, 16},
                                 {1, 31, 33, 2, 72},   {3, 17, 2, 2, 24}};
  for (const auto& s : sizes) {
    SCOPED_TRACE(testing::Message() << "T " << s.queries << " S " << s.keys << " heads " << s.heads << " d " << s.width);
    const Tensor q = random({s.batch, s.queries, s.heads * s.width}, dtype()), k = random({s.batch, s.keys, s.heads * s.width}, dtype());
    const Tensor v = random({s.batch, s.keys, s.heads * s.width}, dtype());
    const double scale = 1 / std::sqrt(static_cast<double>(s.width));
    EXPECT_LT(error_of(attention(q, k, v, s.heads, scale, false), attention_formula(q, k, v, s.heads, scale, false)), tolerance(dtype()));
  }
}

TEST_P(Kernels, attention_hides_the_future_when_causal) {
  for (const int64_t tokens : {1, 77, 200}) {
    const Tensor q = random({2, tokens, 128}, dtype()), k = random({2, tokens, 128}, dtype()), v = random({2, tokens, 128}, dtype());
    EXPECT_LT(error_of(attention(q, k, v, 2, 0.125, true), attention_formula(q, k, v, 2, 0.125, true)), tolerance(dtype()));
  }
}

// One key far above all others, in a late block, so that the running maximum has to jump by more than float32 can hold as a factor.
TEST_P(Kernels, attention_survives_scores_of_hundreds) {
  Tensor q = random({1, 70, 40}, torch::kFloat) * 20, k = random({1, 700, 40}, torch::kFloat) * 3;
  k.select(1, 650).copy_(q.select(1, 5) * 2);
  q = q.to(dtype()), k = k.to(dtype());
  const Tensor v = random({1, 700, 40}, dtype());
  // Scores of some thousands: their own float32 rounding, 2^-24 · 4000, is the error of the exponent.
  const double allowed = dtype() == torch::kFloat ? 2e-3 : 1.0 / 128;
  EXPECT_LT(error_of(attention(q, k, v, 1, 0.158, false), attention_formula(q, k, v, 1, 0.158, false)), allowed);
}

TEST_P(Kernels, attention_reads_slices_of_one_fused_projection) {
  const Tensor qkv = random({2, 90, 3 * 80}, dtype());
  const Tensor q = qkv.narrow(2, 0, 80), k = qkv.narrow(2, 80, 80), v = qkv.narrow(2, 160, 80);
  EXPECT_TRUE(torch::equal(attention(q, k, v, 2, 0.2, false), attention(q.contiguous(), k.contiguous(), v.contiguous(), 2, 0.2, false)));
}

TEST_P(Kernels, a_picture_of_a_batch_is_bit_for_bit_the_picture_alone_and_threads_do_not_matter) {
  const Tensor q = random({3, 130, 80}, dtype()), k = random({3, 77, 80}, dtype()), v = random({3, 77, 80}, dtype());
  const Tensor x = picture({3, 64, 40, 31}, dtype()), weight = torch::rand(64), bias = torch::rand(64);
  const Tensor together = attention(q, k, v, 2, 0.2, false), normed = group_norm(x, 8, weight, bias, 1e-5, true);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  for (int64_t b = 0; b < 3; ++b) {
    const auto one = [b](const Tensor& t) { return t.narrow(0, b, 1); };
    EXPECT_TRUE(torch::equal(one(together), attention(one(q), one(k), one(v), 2, 0.2, false)));
    EXPECT_TRUE(torch::equal(one(normed), group_norm(one(x), 8, weight, bias, 1e-5, true)));
  }
  at::set_num_threads(threads);
}

Tensor group_norm_formula(const Tensor& x, int64_t groups, const Tensor& weight, const Tensor& bias, bool silu, const Tensor& shift) {
  const Tensor shifted = shift.defined() ? wide(x) + wide(shift).unsqueeze(-1).unsqueeze(-1) : wide(x);
  const Tensor y = at::group_norm(shifted.contiguous(), groups, wide(weight), wide(bias), 1e-5);
  return silu ? at::silu(y) : y;
}

TEST_P(Kernels, conversions_are_those_of_libtorch_bit_for_bit) {
  if (dtype() == torch::kBFloat16) GTEST_SKIP() << "the same for both";
  // every float16 there is, subnormal, infinite and NaN ones too; then floats that round both ways, with an odd number at the end
  const Tensor halves = torch::arange(0, 65536, torch::kInt).to(torch::kShort).view(torch::kHalf);
  const Tensor floats = torch::cat({torch::randn({4099}), torch::tensor({1.00390625f, 1.01171875f, 3.4e38f, -0.0f, INFINITY, NAN})});
  for (const auto& [from, to] : {std::pair{halves, torch::kFloat}, {halves, torch::kBFloat16}, {floats, torch::kBFloat16},
                                 {floats.to(torch::kBFloat16), torch::kFloat}, {floats, torch::kHalf}}) {
    const Tensor expected = from.to(to), got = converted(from, to);
    EXPECT_EQ(got.scalar_type(), to);
    EXPECT_TRUE(torch::equal(got.nan_to_num(7, 8, 9), expected.nan_to_num(7, 8, 9)));
    EXPECT_TRUE(torch::equal(got.isnan(), expected.isnan()));
  }
}

TEST_P(Kernels, group_norm_and_silu_with_and_without_a_shift) {
  struct {
    int64_t batch, channels, groups, height, width;
  } sizes[] = {{1, 4, 2, 1, 1}, {2, 320, 32, 9, 7}, {1, 96, 32, 33, 65}, {3, 20, 5, 16, 16}, {1, 1280, 32, 8, 8}};
  for (const auto& s : sizes) {
    for (const bool silu : {false, true}) {
      for (const bool shifted : {false, true}) {
        if (s.height * s.width == 1 && s.channels / s.groups == 1) continue;
        const Tensor x = picture({s.batch, s.channels, s.height, s.width}, dtype());
        const Tensor weight = torch::randn({s.channels}), bias = torch::randn({s.channels});
        const Tensor shift = shifted ? random({s.batch, s.channels}, dtype()) : Tensor();
        const Tensor got = group_norm(x, s.groups, weight, bias, 1e-5, silu, shift);
        EXPECT_TRUE(got.is_contiguous(at::MemoryFormat::ChannelsLast));
        EXPECT_LT(error_of(got, group_norm_formula(x, s.groups, weight, bias, silu, shift)), tolerance(dtype()));
      }
    }
  }
}

// A mean of 1000 deviations: E[x²] - E[x]² in float32 would have lost everything.
TEST_P(Kernels, norms_are_safe_for_a_large_mean) {
  if (dtype() == torch::kBFloat16) GTEST_SKIP() << "bfloat16 itself cannot hold such values";
  const Tensor x = (picture({2, 32, 50, 40}, dtype()) + 1000), weight = torch::ones({32}), bias = torch::zeros({32});
  // x itself is rounded to 1000 · 2^-24 = 6e-5 of a deviation; the kernel may add as much again by rounding x · scale.
  EXPECT_LT(error_of(group_norm(x, 4, weight, bias, 1e-5, false), group_norm_formula(x, 4, weight, bias, false, {})), 5e-5);
  const Tensor rows = random({50, 320}, dtype()) + 1000, ones = torch::ones({320}), zeros = torch::zeros({320});
  EXPECT_LT(error_of(layer_norm(rows, ones, zeros, 1e-5), at::layer_norm(wide(rows), {320}, wide(ones), wide(zeros), 1e-5)), 5e-5);
}

TEST_P(Kernels, layer_norm_over_any_width) {
  for (const int64_t width : {1, 5, 16, 77, 320, 768, 1283}) {
    const Tensor x = random({3, 7, width}, dtype()), weight = torch::randn({width}), bias = torch::randn({width});
    EXPECT_LT(error_of(layer_norm(x, weight, bias, 1e-5), at::layer_norm(wide(x), {width}, wide(weight), wide(bias), 1e-5)),
              tolerance(dtype()));
  }
}

TEST_P(Kernels, geglu_is_the_first_half_times_gelu_of_the_second) {
  for (const int64_t width : {1, 15, 16, 33, 1280}) {
    const Tensor x = random({2, 9, 2 * width}, dtype()) * 2;
    EXPECT_LT(error_of(geglu(x), wide(x).narrow(-1, 0, width) * at::gelu(wide(x).narrow(-1, width, width))), tolerance(dtype()));
  }
}

TEST_P(Kernels, activations_over_their_whole_range) {
  const Tensor x = torch::linspace(-30, 30, 20011).to(dtype());
  const double value = dtype() == torch::kFloat ? 1e-6 : 0;  // absolute; in bfloat16 half a unit of the last place besides
  const auto near = [&](const Tensor& got, const Tensor& expected) {
    const Tensor allowed =
        value + expected.abs() * (dtype() == torch::kFloat ? 1e-6 : 1.0 / 256) + (dtype() == torch::kFloat ? 0 : 1e-5);
    return ((wide(got) - expected).abs() <= allowed).all().item<bool>();
  };
  EXPECT_TRUE(near(kernels::silu(x), at::silu(wide(x))));
  EXPECT_TRUE(near(kernels::gelu(x), at::gelu(wide(x))));
  EXPECT_TRUE(near(kernels::quick_gelu(x), wide(x) * at::sigmoid(wide(x) * 1.702)));
}

TEST_P(Kernels, not_a_number_stays_visible) {
  const Tensor x = torch::full({40}, std::numeric_limits<float>::quiet_NaN()).to(dtype());
  EXPECT_TRUE(kernels::silu(x).isnan().all().item<bool>());
  EXPECT_TRUE(kernels::gelu(x).isnan().all().item<bool>());
  EXPECT_TRUE(layer_norm(x, torch::ones({40}), torch::ones({40}), 1e-5).isnan().all().item<bool>());
  const Tensor rows = x.view({1, 5, 8});
  EXPECT_TRUE(attention(rows, rows, rows, 1, 1, false).isnan().all().item<bool>());
}

TEST_P(Kernels, upsampling_and_concatenation_only_move) {
  const Tensor x = picture({2, 5, 3, 7}, dtype()), y = picture({2, 9, 3, 7}, dtype());
  EXPECT_TRUE(torch::equal(upsample_nearest2x(x), x.repeat_interleave(2, 2).repeat_interleave(2, 3)));
  EXPECT_TRUE(torch::equal(concat_channels(x, y), at::cat({x, y}, 1)));
  EXPECT_TRUE(concat_channels(x, y).is_contiguous(at::MemoryFormat::ChannelsLast));
}

class Packed : public testing::TestWithParam<Dtype> {
 protected:
  void SetUp() override { torch::manual_seed(6); }
};
INSTANTIATE_TEST_SUITE_P(EachType, Packed, testing::Values(torch::kFloat, torch::kBFloat16),
                         [](const auto& info) { return std::string(info.param == torch::kFloat ? "float32" : "bfloat16"); });

// The same packed weight serves every number of rows, also those that oneDNN would have packed it differently for.
TEST_P(Packed, linear_with_and_without_bias_and_residual) {
  const Dtype dtype = GetParam();
  for (const auto& [in, out] : {std::pair<int64_t, int64_t>{320, 320}, {40, 7}, {768, 320}, {3, 130}, {1280, 96}}) {
    for (const bool biased : {false, true}) {
      const Tensor weight = random({out, in}, torch::kFloat) / std::sqrt(static_cast<double>(in)),
                   bias = biased ? torch::randn({out}) : Tensor();
      const auto linear = PackedLinear::make(weight, bias, dtype);
      for (const int64_t rows : {1, 2, 77, 1000}) {
        SCOPED_TRACE(std::to_string(in) + " -> " + std::to_string(out) + (biased ? " with bias, " : ", ") + std::to_string(rows) + " rows");
        const Tensor x = random({2, rows, in}, dtype), residual = random({2, rows, out}, dtype);
        const Tensor expected = at::linear(wide(x), wide(weight.to(dtype)), biased ? wide(bias) : Tensor());
        EXPECT_LT(error_of((*linear)(x), expected), tolerance(dtype));
        EXPECT_LT(error_of((*linear)(x, residual), expected + wide(residual)), tolerance(dtype));
      }
    }
  }
}

TEST_P(Packed, convolutions_of_every_kind_that_the_models_have) {
  const Dtype dtype = GetParam();
  struct {
    int64_t in, out;
    int kernel, stride, padding;
  } kinds[] = {{4, 32, 3, 1, 1}, {32, 48, 3, 1, 1}, {64, 64, 3, 2, 1}, {64, 32, 1, 1, 0}, {33, 3, 3, 1, 1}, {128, 128, 3, 2, 0}};
  for (const auto& kind : kinds) {
    const Tensor weight = random({kind.out, kind.in, kind.kernel, kind.kernel}, torch::kFloat) /
                          std::sqrt(static_cast<double>(kind.in * kind.kernel * kind.kernel));
    const Tensor bias = torch::randn({kind.out});
    const auto conv = PackedConv2d::make(weight, bias, kind.stride, kind.padding, dtype);
    for (const auto& [batch, height, width] : {std::tuple<int64_t, int64_t, int64_t>{1, 4, 4}, {2, 16, 16}, {3, 9, 13}, {1, 64, 40}}) {
      SCOPED_TRACE(std::to_string(kind.in) + " -> " + std::to_string(kind.out) + ", kernel " + std::to_string(kind.kernel) + ", of " +
                   std::to_string(height) + "x" + std::to_string(width));
      const Tensor x = picture({batch, kind.in, height, width}, dtype);
      const Tensor expected = at::conv2d(wide(x), wide(weight.to(dtype)), wide(bias), kind.stride, kind.padding);
      const Tensor residual = picture(expected.sizes().vec(), dtype);
      const Tensor got = (*conv)(x);
      EXPECT_TRUE(got.is_contiguous(at::MemoryFormat::ChannelsLast));
      EXPECT_LT(error_of(got, expected), tolerance(dtype));
      EXPECT_LT(error_of((*conv)(x, residual), expected + wide(residual)), tolerance(dtype));
    }
  }
}

// 16×256 takes another oneDNN kernel than 64×64 on CPUs with AMX, for which the weight is packed anew, and back again.
TEST_P(Packed, convolutions_change_between_sizes_of_picture) {
  const Dtype dtype = GetParam();
  const Tensor weight = random({128, 128, 3, 3}, torch::kFloat) / 34, bias = torch::randn({128});
  const auto conv = PackedConv2d::make(weight, bias, 1, 1, dtype);
  for (const auto& [height, width] : {std::pair<int64_t, int64_t>{16, 256}, {8, 8}, {16, 256}, {5, 512}, {64, 8}}) {
    const Tensor x = picture({1, 128, height, width}, dtype);
    // float32 as the reference: float64 convolutions of this size take seconds; its own error is about 1e-6.
    const Tensor expected = wide(at::conv2d(x.to(torch::kFloat), weight.to(dtype).to(torch::kFloat), bias, 1, 1));
    EXPECT_LT(error_of((*conv)(x), expected), tolerance(dtype));
  }
}

// Else a file that grows past "ulimit -f" would end the program where it stands instead of being an error of write().
TEST(Process, outlives_the_limit_of_a_files_size) {
  prepare_process();
  struct sigaction now {};
  ASSERT_EQ(::sigaction(SIGXFSZ, nullptr, &now), 0);
  EXPECT_EQ(now.sa_handler, SIG_IGN);
}

}  // namespace
}  // namespace lorikeet::kernels
