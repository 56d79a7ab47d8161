#include "sampling/noise.h"

#include <ATen/TensorIndexing.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"

using namespace lorikeet;

namespace {

NoiseSettings settings(std::string_view source, std::vector<uint64_t> seeds) { return {&find_random_source(source), std::move(seeds)}; }

// A stand-in for the noise of a node that only shows which seed it got; see TheBrownianTree.
class SeedShower : public RandomStream {
 public:
  explicit SeedShower(uint64_t seed) : seed_(seed) {}
  Tensor normal(const Shape& shape) override {
    return torch::full(shape, (static_cast<double>((seed_ >> 7) % 2001) - 1000) / 500, torch::kDouble);
  }

 private:
  uint64_t seed_;
};
constexpr RandomSource kSeedShower{"show", "", "",
                                   [](uint64_t seed) -> std::unique_ptr<RandomStream> { return std::make_unique<SeedShower>(seed); }};

}  // namespace

TEST(Random, PhiloxGivesThePublishedVectors) {
  // Known answers of the authors' Random123 (kat_vectors, philox4x32 10).
  EXPECT_EQ(philox_4x32_10({0, 0, 0, 0}, {0, 0}), (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox_4x32_10({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(Random, GpuNoiseIsThatOfA1111sEmulation) {
  // The example in its rng_philox.py: Generator(seed=0).randn((3, 4)).
  Tensor wanted = torch::tensor({-0.92466259f, -0.42534415f, -2.6438457f, 0.14518388f, -0.12086647f, -0.57972564f, -0.62285122f,
                                 -0.32838709f, -1.07454231f, -0.36314407f, -1.67105067f, 2.26550497f})
                      .view({3, 4});
  EXPECT_TRUE(torch::allclose(find_random_source("GPU").stream(0)->normal({3, 4}), wanted, 1e-6, 1e-7));
}

TEST(Random, CpuNoiseIsThatOfTorch) {
  // torch.manual_seed(0); torch.randn(16 or more): the first numbers, as everybody's notebooks show them.
  Tensor wanted = torch::tensor({-1.1258f, -1.1524f, -0.2506f, -0.4339f, 0.8487f, 0.6920f, -0.3160f, -2.1152f});
  Tensor found = find_random_source("cpu").stream(0)->normal({4, 64, 64}).flatten().slice(0, 0, 8);
  EXPECT_TRUE(torch::allclose(found, wanted, 0, 6e-5)) << found;
  torch::manual_seed(77);
  EXPECT_TRUE(torch::equal(find_random_source("cpu").stream(77)->normal({4, 8, 8}), torch::randn({4, 8, 8})));
}

TEST(Random, SeedSequenceIsNumpys) {
  // numpy's test_seed_sequence.py (from the C++ reference of its author).
  std::vector<uint64_t> entropy = {3735928559, 195939070, 229505742, 305419896}, answer = {42};
  EXPECT_EQ(seed_sequence(entropy, {}, 4, 4), (std::vector<uint32_t>{3914649087, 576849849, 3593928901, 2229911004}));
  EXPECT_EQ(seed_sequence(answer, {}, 4, 4), (std::vector<uint32_t>{3444837047, 2669555309, 2046530742, 3581440988}));
}

TEST(Noise, OfABatchIsThatOfEachPictureAlone) {
  for (const RandomSource& source : random_sources()) {
    auto seeds = batch_seeds(41, 3);
    NoiseSettings all = settings(source.name, seeds);
    all.subseeds = {5, 6, 7};
    all.subseed_strength = 0.3;
    PictureNoise batch(all, {4, 8, 6});
    std::vector<double> sigmas = {14.6, 3.0, 0.5, 0};
    batch.prepare_between(sigmas);
    Tensor first = batch.next(), second = batch.next(), between = batch.between(14.6, 3.0);
    ASSERT_EQ(first.sizes(), (Shape{3, 4, 8, 6}));
    for (int64_t i = 0; i < 3; ++i) {
      NoiseSettings one = settings(source.name, {seeds[static_cast<size_t>(i)]});
      one.subseeds = {static_cast<uint64_t>(5 + i)};
      one.subseed_strength = 0.3;
      PictureNoise alone(one, {4, 8, 6});
      alone.prepare_between(sigmas);
      EXPECT_TRUE(torch::equal(alone.next()[0], first[i])) << source.name;
      EXPECT_TRUE(torch::equal(alone.next()[0], second[i])) << source.name;
      EXPECT_TRUE(torch::equal(alone.between(14.6, 3.0)[0], between[i])) << source.name;
    }
    EXPECT_FALSE(torch::equal(first[0], first[1]));
    EXPECT_FALSE(torch::equal(first, second));
  }
}

TEST(Noise, OfASeedStartsWithTheStreamsOwnNumbers) {
  auto stream = find_random_source("cpu").stream(9);
  PictureNoise noise(settings("cpu", {9}), {4, 8, 8});
  EXPECT_TRUE(torch::equal(noise.next()[0], stream->normal({4, 8, 8})));
  EXPECT_TRUE(torch::equal(noise.next()[0], stream->normal({4, 8, 8})));
}

TEST(Noise, VariationGoesFromTheSeedToTheSubseed) {
  auto first = [](double strength) {
    NoiseSettings s = settings("cpu", {1});
    s.subseeds = {2};
    s.subseed_strength = strength;
    return PictureNoise(s, {4, 8, 8}).next();
  };
  Tensor a = PictureNoise(settings("cpu", {1}), {4, 8, 8}).next(), b = PictureNoise(settings("cpu", {2}), {4, 8, 8}).next();
  EXPECT_TRUE(torch::equal(first(0), a));
  EXPECT_TRUE(torch::allclose(first(1), b, 1e-4, 1e-5));
  // Nearly orthogonal noises: the middle of the arc has about the same norm.
  EXPECT_NEAR(first(0.5).norm().item<double>() / a.norm().item<double>(), 1, 0.1);
  NoiseSettings missing = settings("cpu", {1});
  missing.subseed_strength = 0.5;
  EXPECT_THROW(PictureNoise(missing, {4, 8, 8}), Error);
}

TEST(Noise, SlerpKeepsToTheArc) {
  // Columns along dimension 1 (as in A1111): unit vectors at a right angle.
  Tensor low = torch::tensor({1.0f, 0.0f}).view({1, 2, 1}), high = torch::tensor({0.0f, 1.0f}).view({1, 2, 1});
  Tensor third = slerp(1.0 / 3, low, high);
  EXPECT_NEAR(third[0][0][0].item<double>(), std::cos(M_PI / 6), 1e-6);
  EXPECT_NEAR(third[0][1][0].item<double>(), std::sin(M_PI / 6), 1e-6);
  EXPECT_TRUE(torch::allclose(slerp(0.25, low, low * 2), low * 0.25 + low * 2 * 0.75));  // parallel: A1111's weights
}

TEST(Noise, ResizedSeedsKeepTheMiddle) {
  NoiseSettings s = settings("cpu", {3});
  s.seed_resize_width_px = 64, s.seed_resize_height_px = 32;  // 8 x 4 latents
  auto stream = [&] { return find_random_source("cpu").stream(3); };
  Tensor small = stream()->normal({4, 4, 8}), large = stream()->normal({4, 8, 6});
  Tensor found = PictureNoise(s, {4, 8, 6}).next()[0];
  using torch::indexing::Slice;
  // Taller than the old one: rows 2 … 5 are its rows; narrower: its columns 1 … 6.
  EXPECT_TRUE(torch::equal(found.index({Slice(), Slice(2, 6), Slice()}), small.index({Slice(), Slice(), Slice(1, 7)})));
  EXPECT_TRUE(torch::equal(found.index({Slice(), Slice(0, 2), Slice()}), large.index({Slice(), Slice(0, 2), Slice()})));
}

TEST(Noise, EnsdChangesAllButTheFirst) {
  NoiseSettings s = settings("cpu", {3});
  s.eta_noise_seed_delta = 31337;
  PictureNoise noise(s, {4, 8, 8});
  EXPECT_TRUE(torch::equal(noise.next()[0], find_random_source("cpu").stream(3)->normal({4, 8, 8})));
  EXPECT_TRUE(torch::equal(noise.next()[0], find_random_source("cpu").stream(3 + 31337)->normal({4, 8, 8})));
}

// Numbers of torchsde's own brownian_interval.py, run with this stand-in for the normal numbers of a seed.
TEST(TheBrownianTree, IsTorchsdes) {
  std::vector<double> sigmas = {14.614643096923828, 9.102933883666992,   5.478399276733398,
                                3.168609380722046,  0.08191107958555222, 0.02916753850877285};
  struct Case {
    uint64_t seed;
    std::vector<double> increments;
    double fine, wide;
  };
  const Case cases[] = {{0,
                         {3.247578043428404, 0.1868704303746016, 0.7087704530920755, -0.15431574859137834, -0.36840249084018395},
                         0.08059254904706523,
                         4.339110309980608},
                        {1234,
                         {3.2702148861891853, -1.0857694322264195, -1.3873587287465747, -1.8781936784424438, 0.20271543622560925},
                         0.12813878684136945,
                         -1.5944760325132876},
                        {4294967301,
                         {4.732644367659246, -3.4774973437463945, 3.0496900449781754, -1.3651126716247686, 0.6731381030929068},
                         -0.318039423100784,
                         3.079070831515493},
                        {9223372036854775819u,
                         {-1.4332723456019156, -2.8400360827766837, -2.4488116271668496, -0.8557127799540835, 0.26808777663331285},
                         -0.5442276956398038,
                         -6.273315562163279}};
  for (const Case& c : cases) {
    BrownianTree tree(0.0291675366461277, 14.614643096923828, {1}, c.seed, kSeedShower);
    for (size_t i = 0; i < c.increments.size(); ++i)
      EXPECT_NEAR(tree.increment(sigmas[i + 1], sigmas[i]).item<double>(), c.increments[i], 1e-9);
    EXPECT_NEAR(tree.increment(1.0, 1.0625).item<double>(), c.fine, 1e-9);
    EXPECT_NEAR(tree.increment(0.5, 14.0).item<double>(), c.wide, 1e-9);
  }
}

TEST(TheBrownianTree, AddsUpAndHasTheVarianceOfItsStep) {
  BrownianTree tree(0.1, 10, {100000}, 3, find_random_source("cpu"));
  Tensor a = tree.increment(0.5, 2), b = tree.increment(2, 7.25), whole = tree.increment(0.5, 7.25);
  EXPECT_TRUE(torch::allclose(a + b, whole, 1e-4, 1e-5));
  // 100000 draws: the variance is right to about 0.5 % (one standard deviation), the correlation to 0.003.
  EXPECT_NEAR(a.var().item<double>() / 1.5, 1, 0.02);
  EXPECT_NEAR(b.var().item<double>() / 5.25, 1, 0.02);
  EXPECT_NEAR((a * b).mean().item<double>() / std::sqrt(1.5 * 5.25), 0, 0.015);
  EXPECT_EQ(tree.increment(3, 3).abs().max().item<float>(), 0);
}

TEST(Noise, BetweenTwoSigmasHasUnitVariance) {
  PictureNoise noise(settings("nv", {1, 2}), {4, 64, 64});
  std::vector<double> sigmas = {14.6146, 4, 0.0292, 0};
  noise.prepare_between(sigmas);
  Tensor one = noise.between(14.6146, 4), two = noise.between(4, 0.0292);
  EXPECT_NEAR(one.std().item<double>(), 1, 0.02);
  EXPECT_NEAR(two.std().item<double>(), 1, 0.02);
  EXPECT_TRUE(torch::equal(one, noise.between(14.6146, 4)));  // a path, not a stream
}
