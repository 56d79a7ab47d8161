// A transformer block under LoRAs that work in parts of the picture, against the definition in plain torch operations: every place is
// computed with the weights that the LoRAs of that place give; for keys and values of the text "place" is the one that asks.
#include <gtest/gtest.h>

#include <cmath>

#include "lora/apply.h"
#include "model/unet_blocks.h"

namespace lorikeet {
namespace {

constexpr int64_t kSide = 4, kPlaces = kSide * kSide, kWidth = 16, kText = 12, kHeads = 2;
const std::string kPath = "unet.mid_block.attentions.0.transformer_blocks.0";

class RandomWeights : public WeightSource {
 public:
  Tensor find(const std::string&) const override { return {}; }
  Tensor find_shaped(const std::string& name, const Shape& shape) const override {
    auto& tensor = tensors_[name];
    if (!tensor.defined()) tensor = torch::randn(shape) * 0.3;
    return tensor;
  }
  std::string describe(const std::string& name) const override { return name; }

 private:
  mutable std::map<std::string, Tensor> tensors_;
};

struct Lora {
  std::shared_ptr<const LoadedLora> file;
  std::map<std::string, Tensor> difference;  // by layer path
};

// Rank 2 on every linear layer.
Lora make_lora(const LayerMap& layers) {
  auto file = std::make_shared<LoadedLora>();
  Lora lora;
  for (const auto& [path, layer] : layers) {
    if (layer->geometry().op != LayerOp::linear) continue;
    const Tensor up = torch::randn({layer->base_weight().size(0), 2}) * 0.3, down = torch::randn({2, layer->base_weight().size(1)}) * 0.3;
    TensorGroup group(path, {{"lora_up.weight", up}, {"lora_down.weight", down}});
    file->adapters[path] = load_adapter(group, *layer);
    lora.difference[path] = torch::matmul(up, down);
  }
  lora.file = std::move(file);
  return lora;
}

// The places whose LoRAs are the same, and those LoRAs.
struct Part {
  Tensor places;  // [T] bool
  std::vector<const Lora*> loras;
};

struct Definition {
  const LayerMap& layers;
  std::vector<Part> parts;

  const Layer& at(const std::string& name) const { return *layers.at(kPath + "." + name); }
  Tensor with(const std::string& name, const Tensor& x, const Part& part) const {
    Tensor weight = at(name).base_weight();
    for (const Lora* lora : part.loras) weight = weight + lora->difference.at(kPath + "." + name);
    return torch::linear(x, weight, at(name).base_bias());
  }
  template <class Compute>
  Tensor by_place(Compute compute) const {
    Tensor result;
    for (const Part& part : parts) {
      const Tensor y = compute(part);
      result = result.defined() ? torch::where(part.places.view({1, -1, 1}), y, result) : y;
    }
    return result;
  }
  Tensor linear(const std::string& name, const Tensor& x) const {
    return by_place([&](const Part& part) { return with(name, x, part); });
  }
  Tensor norm(const std::string& name, const Tensor& x) const {
    return torch::layer_norm(x, {kWidth}, at(name).base_weight(), at(name).base_bias(), 1e-5);
  }
  static Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v) {
    const auto heads = [](const Tensor& x) { return x.view({x.size(0), x.size(1), kHeads, -1}).transpose(1, 2); };
    const Tensor scores = torch::matmul(heads(q), heads(k).transpose(-1, -2)) / std::sqrt(static_cast<double>(kWidth / kHeads));
    return torch::matmul(torch::softmax(scores, -1), heads(v)).transpose(1, 2).reshape(q.sizes());
  }
  Tensor block(const Tensor& x, const Tensor& text) const {
    const Tensor n = norm("norm1", x);
    const Tensor h1 = x + linear("attn1.to_out.0", attention(linear("attn1.to_q", n), linear("attn1.to_k", n), linear("attn1.to_v", n)));
    const Tensor q = linear("attn2.to_q", norm("norm2", h1));
    const Tensor seen =
        by_place([&](const Part& part) { return attention(q, with("attn2.to_k", text, part), with("attn2.to_v", text, part)); });
    const Tensor h2 = h1 + linear("attn2.to_out.0", seen);
    const auto halves = linear("ff.net.0.proj", norm("norm3", h2)).chunk(2, -1);
    return h2 + linear("ff.net.2", halves[0] * torch::gelu(halves[1]));
  }
};

Tensor columns(int64_t from, int64_t to) {
  Tensor mask = torch::zeros({kSide, kSide});
  mask.slice(1, from, to).fill_(1);
  return mask;
}

class RegionalAttention : public ::testing::Test {
 protected:
  RegionalAttention() {
    torch::manual_seed(11);
    block_.emplace(Weights(source_, layers_, Compute{}, kPath), kWidth, kText, kHeads);
    x_ = torch::randn({2, kPlaces, kWidth});
    text_ = torch::randn({2, 77, kText});
    a_ = make_lora(layers_);
    b_ = make_lora(layers_);
  }
  Tensor made(const LoraSet& set) {
    LoraApplier applier(layers_);
    applier.attach(std::vector<LoraSet>{set});
    const Tensor y = (*block_)(x_, text_);
    applier.clear();
    return y;
  }
  static LoraUse use(const Lora& lora, const Tensor& mask) {
    return {lora.file, 0, 1, {}, {}, mask.defined() ? std::make_shared<const RegionMask>(mask) : nullptr};
  }
  static Part part(int64_t from, int64_t to, std::vector<const Lora*> loras) {
    return {columns(from, to).to(torch::kBool).flatten(), std::move(loras)};
  }

  RandomWeights source_;
  LayerMap layers_;
  std::optional<TransformerBlock> block_;
  Tensor x_, text_;
  Lora a_, b_;
};

double relative_error(const Tensor& a, const Tensor& b) { return ((a - b).abs().max() / b.abs().max()).item<double>(); }

TEST_F(RegionalAttention, OneRegionIsTheDefinition) {
  const Definition wanted{layers_, {part(0, 4, {}), part(0, 2, {&a_})}};
  EXPECT_LE(relative_error(made({use(a_, columns(0, 2))}), wanted.block(x_, text_)), 1e-5);
}

TEST_F(RegionalAttention, TwoThatOverlapAndOneEverywhereAreTheDefinition) {
  const Lora everywhere = make_lora(layers_);
  const Definition wanted{layers_, {part(0, 1, {&everywhere, &a_}), part(1, 3, {&everywhere, &a_, &b_}), part(3, 4, {&everywhere, &b_})}};
  const Tensor y = made({use(everywhere, {}), use(a_, columns(0, 3)), use(b_, columns(1, 4))});
  EXPECT_LE(relative_error(y, wanted.block(x_, text_)), 1e-5);
}

TEST_F(RegionalAttention, TheWholePictureGivesTheNumbersOfNoRegion) {
  EXPECT_TRUE(torch::equal(made({use(a_, columns(0, 4))}), made({use(a_, {})})));
}

TEST_F(RegionalAttention, OnlyTheTextsLayersLeaveTheOtherPlacesExactlyAsTheyWere) {
  auto file = std::make_shared<LoadedLora>(*a_.file);
  std::erase_if(file->adapters, [](const auto& entry) { return !reads_text(entry.first); });
  ASSERT_EQ(file->adapters.size(), 2U);
  const Lora text_only{file, {}};
  const Tensor base = made({}), y = made({use(text_only, columns(0, 2))});
  const auto side = [](const Tensor& t, int64_t from, int64_t to) { return t.view({2, kSide, kSide, kWidth}).slice(2, from, to); };
  EXPECT_TRUE(torch::equal(side(y, 2, 4), side(base, 2, 4)));
  EXPECT_TRUE(torch::equal(side(y, 0, 2), side(made({use(text_only, {})}), 0, 2)));
  EXPECT_GT(relative_error(side(y, 0, 2), side(base, 0, 2)), 1e-2);
}

TEST_F(RegionalAttention, RowsOfABatchHaveTheirOwnRegions) {
  const LoraSet left{use(a_, columns(0, 2))}, right{use(b_, columns(2, 4)), use(a_, columns(1, 3))};
  LoraApplier applier(layers_);
  applier.attach(std::vector<LoraSet>{left, right});
  const Tensor together = (*block_)(x_, text_);
  applier.clear();
  EXPECT_LE(relative_error(together.narrow(0, 0, 1), made(left).narrow(0, 0, 1)), 1e-6);
  EXPECT_LE(relative_error(together.narrow(0, 1, 1), made(right).narrow(0, 1, 1)), 1e-6);
}

}  // namespace
}  // namespace lorikeet
