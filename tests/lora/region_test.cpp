// LoRAs that work in a part of the picture, layer by layer, against the definition: at each place the layer has the weight that the LoRAs
// of that place give it.
#include "lora/region.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "lora/apply.h"
#include "lora/models.h"

namespace lorikeet::region_test {
namespace {

using testing::golden;
using testing::relative_error;

constexpr int64_t kHeight = 8, kWidth = 8;  // of the latent

const LayerMap& sd1() {
  static const LayerMap layers = testing::tiny_model("sd1");
  return layers;
}

std::shared_ptr<const LoadedLora> loaded(const std::string& name) {
  return load_lora(*LoraFile::open(golden("lora/" + name + ".safetensors")), sd1(), "sd1");
}

// 1 in these columns of the latent.
Region columns(int64_t from, int64_t to) {
  Tensor mask = torch::zeros({kHeight, kWidth});
  mask.slice(1, from, to).fill_(1);
  return std::make_shared<const RegionMask>(mask);
}

LoraUse in(std::shared_ptr<const LoadedLora> lora, Region region, double multiplier = 1) {
  return {std::move(lora), 0, multiplier, {}, {}, std::move(region)};
}

// Whether the layer's input is the picture: places of the latent's size.
bool sees_places(const Layer& layer) {
  return layer.path().starts_with("unet.") && !is_placeless(layer.path()) && !reads_text(layer.path());
}

Tensor input_for(const Layer& layer, int64_t batch = 1) {
  const Tensor& weight = layer.base_weight();
  switch (layer.geometry().op) {
    case LayerOp::conv2d: return torch::randn({batch, weight.size(1), kHeight, kWidth});
    case LayerOp::group_norm: return torch::randn({batch, weight.size(0), kHeight, kWidth});
    case LayerOp::layer_norm: return torch::randn({batch, kHeight * kWidth, weight.size(0)});
    default: return torch::randn({batch, kHeight * kWidth, weight.size(1)});
  }
}

// The columns [from, to) of the latent in a layer's output, of whatever size it is.
Tensor part(const Tensor& y, int64_t from, int64_t to) {
  if (y.dim() == 3) return y.view({y.size(0), kHeight, kWidth, y.size(2)}).slice(2, from, to);
  const int64_t shrink = kWidth / y.size(3);
  return y.slice(3, from / shrink, to / shrink);
}

// What the layer gives with these LoRAs everywhere, by the definition.
Tensor whole(const Layer& layer, const std::vector<LoraUse>& uses, const Tensor& x) {
  LoraTerms terms;
  for (const LoraUse& use : uses)
    if (const auto found = use.lora->adapters.find(layer.path()); found != use.lora->adapters.end())
      terms.push_back({found->second, use.unet});
  const MergedLayer merged = merged_layer(layer, terms);
  const Tensor bias = merged.bias.defined() || !layer.base_bias().defined() ? merged.bias : layer.base_bias().to(torch::kFloat);
  return layer.plain(x, merged.weight, bias);
}

constexpr const char* kFiles[] = {"b1_locon_sd1", "a2_kohya_rank8_fp32_sd1", "f8_ia3_sd1",      "f1_loha_sd1",
                                  "f9_norm_sd1",  "g2_dora_per_output_sd1",  "f7_full_diff_sd1"};

TEST(Region, OutsideOfItALayerGivesExactlyTheBaseAndInsideWhatTheLoraGives) {
  torch::manual_seed(1);
  LoraApplier applier(sd1());
  for (const char* file : kFiles) {
    const auto lora = loaded(file);
    const LoraUse use = in(lora, columns(0, 4), 0.8);
    int changed = 0;
    for (const auto& [path, adapter] : lora->adapters) {
      const Layer& layer = *sd1().at(path);
      if (!sees_places(layer)) continue;
      const Tensor x = input_for(layer), base = layer.forward(x);
      applier.attach(std::vector<LoraSet>{{use}}, path);
      const Tensor y = layer.forward(x);
      EXPECT_TRUE(torch::equal(part(y, 4, 8), part(base, 4, 8))) << file << " " << path;
      // float32 sums in another order, over widths of up to 128 · 9
      EXPECT_LE(relative_error(part(y, 0, 4), part(whole(layer, {use}, x), 0, 4)), 2e-5) << file << " " << path;
      applier.clear();
      EXPECT_TRUE(torch::equal(layer.forward(x), base));
      ++changed;
    }
    EXPECT_GT(changed, 3) << file;
  }
}

TEST(Region, OfTheWholePictureGivesTheNumbersOfNoRegion) {
  torch::manual_seed(2);
  LoraApplier applier(sd1());
  for (const char* file : kFiles) {
    const auto lora = loaded(file);
    for (const auto& [path, adapter] : lora->adapters) {
      const Layer& layer = *sd1().at(path);
      if (!sees_places(layer)) continue;
      const Tensor x = input_for(layer);
      applier.attach(std::vector<LoraSet>{{in(lora, nullptr, 0.7)}}, path);
      const Tensor plain = layer.forward(x);
      applier.attach(std::vector<LoraSet>{{in(lora, columns(0, 8), 0.7)}}, path);
      EXPECT_TRUE(torch::equal(layer.forward(x), plain)) << file << " " << path;
      applier.clear();
    }
  }
}

TEST(Region, TwoLorasWorkInTheirOwnParts) {
  torch::manual_seed(3);
  LoraApplier applier(sd1());
  for (const auto& [first, second] :
       {std::pair("a1_kohya_linear_sd1", "a2_kohya_rank8_fp32_sd1"), std::pair("f8_ia3_sd1", "a2_kohya_rank8_fp32_sd1"),
        std::pair("g2_dora_per_output_sd1", "f7_full_diff_sd1")}) {
    const LoraUse left = in(loaded(first), columns(0, 4), 0.9), right = in(loaded(second), columns(2, 6), -0.6);
    int both = 0;
    for (const auto& [path, adapter] : left.lora->adapters) {
      const Layer& layer = *sd1().at(path);
      if (!sees_places(layer) || layer.geometry().stride > 1 || !right.lora->adapters.contains(path)) continue;
      const Tensor x = input_for(layer);
      applier.attach(std::vector<LoraSet>{{left, right}}, path);
      const Tensor y = layer.forward(x);
      EXPECT_LE(relative_error(part(y, 0, 2), part(whole(layer, {left}, x), 0, 2)), 2e-5) << path;
      EXPECT_LE(relative_error(part(y, 2, 4), part(whole(layer, {left, right}, x), 2, 4)), 2e-5) << path;
      EXPECT_LE(relative_error(part(y, 4, 6), part(whole(layer, {right}, x), 4, 6)), 2e-5) << path;
      applier.clear();
      EXPECT_TRUE(torch::equal(part(y, 6, 8), part(layer.forward(x), 6, 8))) << path;
      ++both;
    }
    EXPECT_GT(both, 3) << first;
  }
}

TEST(Region, EachRowOfABatchHasItsOwn) {
  torch::manual_seed(4);
  const auto plain = loaded("a2_kohya_rank8_fp32_sd1"), dora = loaded("g2_dora_per_output_sd1");
  const std::vector<LoraSet> sets{
      {in(plain, columns(0, 4))}, {}, {in(plain, columns(4, 8), 0.5)}, {in(dora, columns(0, 2))}, {in(plain, nullptr)}};
  const auto count = static_cast<int64_t>(sets.size());
  LoraApplier applier(sd1());
  int compared = 0;
  for (const auto& [path, adapter] : plain->adapters) {
    const Layer& layer = *sd1().at(path);
    if (!sees_places(layer)) continue;
    const Tensor x = input_for(layer, 2 * count);
    applier.attach(sets, path);
    const Tensor together = layer.forward(x);
    for (int64_t i = 0; i < count; ++i) {
      const Tensor rows = x.narrow(0, 2 * i, 2);
      applier.attach(std::span(sets).subspan(static_cast<size_t>(i), 1), path);
      EXPECT_LE(relative_error(together.narrow(0, 2 * i, 2), layer.forward(rows)), 1e-6) << path << " row " << i;
    }
    applier.clear();
    ++compared;
  }
  EXPECT_GT(compared, 20);
}

// Keys and values of the text: what they are for the places of each part.
TEST(Region, OnTheTextGivesAVariantForEachPartOfThePicture) {
  torch::manual_seed(5);
  const auto lora = loaded("a2_kohya_rank8_fp32_sd1");
  const LoraUse left = in(lora, columns(0, 4), 0.9), all = in(lora, nullptr, 0.5);
  LoraApplier applier(sd1());
  int seen = 0;
  for (const auto& [path, adapter] : lora->adapters) {
    if (!reads_text(path)) continue;
    const Layer& layer = *sd1().at(path);
    const Tensor text = torch::randn({1, 77, layer.base_weight().size(1)}), asking = torch::randn({1, kHeight * kWidth, 4});
    applier.attach(std::vector<LoraSet>{{left, all}}, path);
    ASSERT_TRUE(layer.variants());
    ASSERT_EQ(layer.variants()->terms.size(), 2U);
    EXPECT_THROW(layer.forward(text), Error);
    Tensor shares = torch::zeros({1, kHeight * kWidth, 1});
    for (size_t v = 0; v < 2; ++v) {
      const Tensor share = layer.variants()->share(v, asking);
      const bool inside = share[0][0].item<double>() == 1;  // the first place is on the left
      const std::vector<LoraUse> uses = inside ? std::vector<LoraUse>{left, all} : std::vector<LoraUse>{all};
      EXPECT_LE(relative_error(layer.forward_variant(v, text), whole(layer, uses, text)), 2e-5) << path;
      EXPECT_TRUE(torch::equal(part(share, inside ? 0 : 4, inside ? 4 : 8), torch::ones({1, kHeight, 4, 1})));
      shares += share;
    }
    EXPECT_TRUE(torch::equal(shares, torch::ones_like(shares)));
    applier.attach(std::vector<LoraSet>{{all}}, path);
    EXPECT_FALSE(layer.variants());
    applier.clear();
    ++seen;
  }
  EXPECT_GT(seen, 3);
}

TEST(Region, LayersOfNoPlaceAndTextEncodersKnowNoRegions) {
  const auto lora = loaded("b1_locon_sd1");
  std::map<std::string, std::shared_ptr<const Adapter>> adapters = lora->adapters;
  int placeless = 0;
  for (const auto& [path, layer] : sd1())
    if (is_placeless(path)) {
      TensorGroup group("module", {{"diff", torch::ones(layer->base_weight().sizes())}});
      adapters[path] = load_adapter(group, *layer);
      ++placeless;
    }
  ASSERT_GT(placeless, 3);
  auto changed = std::make_shared<LoadedLora>(*lora);
  changed->adapters = adapters;
  EXPECT_EQ(placeless_layers(*changed), placeless);
  LoraApplier applier(sd1());
  LoraUse use = in(changed, columns(0, 4));
  use.te = 1;
  applier.attach(std::vector<LoraSet>{{use}});
  for (const auto& [path, layer] : sd1()) {
    if (is_placeless(path)) {
      EXPECT_TRUE(layer->run_time_terms().empty()) << path;
    }
    if (path.starts_with("text_encoder.") && adapters.contains(path)) {
      EXPECT_FALSE(layer->run_time_terms().empty()) << path;
    }
  }
  EXPECT_THROW(applier.merge({use}), Error);
  applier.clear();
  for (const auto& [path, layer] : sd1()) EXPECT_TRUE(layer->run_time_terms().empty() && !layer->variants()) << path;
}

TEST(RegionMask, FollowsTheLayersSizeByTheMeansOfAreas) {
  Tensor mask = torch::zeros({6, 10});
  mask.slice(1, 0, 3).fill_(1);
  const RegionMask region(mask);
  const Tensor half = region.over(torch::zeros({2, 7, 3, 5}));  // conv2d, one size down
  EXPECT_EQ(half.sizes(), (Shape{1, 1, 3, 5}));
  EXPECT_TRUE(torch::equal(half[0][0][0], torch::tensor({1.0f, 0.5f, 0.0f, 0.0f, 0.0f})));
  EXPECT_TRUE(torch::equal(region.over(torch::zeros({2, 15, 7})).view({3, 5}), half[0][0]));
  EXPECT_EQ(region.over(torch::zeros({1, 60, 7})).sizes(), (Shape{1, 60, 1}));
  EXPECT_EQ(region.over(torch::zeros({1, 6, 7}, torch::kBFloat16)).scalar_type(), torch::kBFloat16);  // 2 × 3: odd sizes are rounded up
  EXPECT_THROW(region.over(torch::zeros({1, 77, 7})), Error);
  EXPECT_TRUE(RegionMask(torch::ones({2, 2})).is_everywhere());
  EXPECT_TRUE(RegionMask(torch::zeros({2, 2})).is_nowhere());
}

TEST(Divide, SharesOfThePartsSumToOneAndEmptyPartsAreLeftOut) {
  const Region left = columns(0, 4), right = columns(4, 8), middle = columns(2, 6);
  const auto sum = [](const std::vector<RegionPart>& parts) {
    Tensor all = torch::zeros({kHeight, kWidth});
    for (const RegionPart& part : parts) all += part.share->mask();
    return all;
  };
  EXPECT_EQ(divide(std::vector<Region>{left, right}).size(), 2U);  // nothing is outside of both, nothing in both
  const auto four = divide(std::vector<Region>{left, right, middle});
  EXPECT_EQ(four.size(), 4U);
  EXPECT_TRUE(torch::equal(sum(four), torch::ones({kHeight, kWidth})));
  const Region soft = std::make_shared<const RegionMask>(torch::full({kHeight, kWidth}, 0.25f));
  const auto blended = divide(std::vector<Region>{soft});
  ASSERT_EQ(blended.size(), 2U);
  EXPECT_TRUE(torch::equal(sum(blended), torch::ones({kHeight, kWidth})));
  EXPECT_THROW(divide(std::vector<Region>(8, soft)), Error);  // 256 parts
}

}  // namespace
}  // namespace lorikeet::region_test
