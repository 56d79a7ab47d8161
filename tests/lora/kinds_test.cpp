// Contracts that every kind of adapter keeps, on every kind of layer that it takes; and what the golden files do not reach.
#include <gtest/gtest.h>

#include "base/error.h"
#include "lora/apply.h"
#include "lora/models.h"

namespace lorikeet {
namespace {

using testing::layer_for;
using testing::relative_error;

// One layer of each form: linear, 1×1 and 3×3 convolution, with stride, embedding, norm.
std::vector<std::shared_ptr<Layer>> layers() {
  torch::manual_seed(1);
  return {layer_for("unet.linear", torch::randn({12, 8}), torch::randn({12})),
          layer_for("unet.conv1", torch::randn({12, 8, 1, 1}), torch::randn({12})),
          layer_for("unet.conv3", torch::randn({12, 8, 3, 3}), torch::randn({12})),
          layer_for("unet.downsamplers.conv", torch::randn({12, 8, 3, 3}), torch::randn({12})),
          layer_for("text_encoder.embeddings.token_embedding", torch::randn({20, 8}), Tensor()),
          layer_for("text_encoder.norm", torch::randn({8}), torch::randn({8}))};
}

Tensor input_for(const Layer& layer) {
  switch (layer.geometry().op) {
    case LayerOp::conv2d: return torch::randn({4, 8, 6, 6});
    case LayerOp::embedding: return torch::randint(20, {4, 5}, torch::kLong);
    default: return torch::randn({4, 5, 8});
  }
}

// Those of an adapter's tensors that are trained.
std::vector<Tensor> trained(const Adapter& adapter) {
  std::vector<Tensor> all;
  for (const auto& [name, tensor] : adapter.tensors())
    if (name != "alpha" && name != "on_input") all.push_back(tensor);
  return all;
}

void disturb(const Adapter& adapter) {
  torch::NoGradGuard no_grad;
  for (Tensor& tensor : trained(adapter)) tensor.add_(0.3 * torch::randn_like(tensor));
}

// Every kind with every layer that it can be made for.
template <class Check>
void for_each_fresh(const Check& check) {
  int made = 0;
  for (const AdapterKind& kind : adapter_kinds()) {
    if (!kind.create) continue;
    for (const auto& layer : layers()) {
      AdapterOptions options;
      options.rank = 3;
      options.alpha = 1.5;
      const auto adapter = kind.create(*layer, options);
      if (!adapter) continue;
      SCOPED_TRACE(std::string(kind.name) + " on " + layer->path());
      check(kind, *layer, *adapter);
      ++made;
    }
  }
  EXPECT_GT(made, 20);
}

TEST(EveryKind, fresh_changes_nothing) {
  for_each_fresh([](const AdapterKind& kind, const Layer& layer, const Adapter& adapter) {
    EXPECT_EQ(adapter.kind(), kind.name);
    EXPECT_TRUE(torch::equal(adapter.merge(layer.base_weight(), 1), layer.base_weight()));
    if (!layer.base_bias().defined()) return;
    EXPECT_TRUE(torch::equal(adapter.merge_bias(layer.base_bias(), 1), layer.base_bias()));
  });
}

TEST(EveryKind, multiplier_0_changes_nothing_and_others_do) {
  for_each_fresh([](const AdapterKind&, const Layer& layer, const Adapter& adapter) {
    disturb(adapter);
    EXPECT_TRUE(torch::equal(adapter.merge(layer.base_weight(), 0), layer.base_weight()));
    EXPECT_GT(relative_error(adapter.merge(layer.base_weight(), 0.5), layer.base_weight()), 1e-3);
  });
}

TEST(EveryKind, merging_in_place_is_merging) {
  for_each_fresh([](const AdapterKind&, const Layer& layer, const Adapter& adapter) {
    disturb(adapter);
    Tensor weight = layer.base_weight().clone();
    adapter.merge_into(weight, -0.7);
    EXPECT_LE(relative_error(weight, adapter.merge(layer.base_weight(), -0.7)), 1e-6);  // the order of float32 sums
  });
}

TEST(EveryKind, additive_ones_scale_with_the_multiplier) {
  for_each_fresh([](const AdapterKind&, const Layer& layer, const Adapter& adapter) {
    if (!adapter.additive()) return;
    disturb(adapter);
    const Tensor& weight = layer.base_weight();
    const Tensor delta = adapter.merge(torch::zeros_like(weight), 1);
    EXPECT_LE(relative_error(adapter.merge(weight, -1.7), weight - 1.7 * delta), 1e-6);
  });
}

TEST(EveryKind, residual_is_what_the_changed_weight_adds) {
  int checked = 0;
  for_each_fresh([&](const AdapterKind&, const Layer& layer, const Adapter& adapter) {
    const Tensor x = input_for(layer);
    disturb(adapter);
    EXPECT_EQ(adapter.has_residual(), adapter.residual(layer, x).has_value());
    if (!adapter.has_residual()) return;
    const Tensor delta = adapter.merge(torch::zeros_like(layer.base_weight()), 1);
    const Tensor rows = torch::tensor({1.0F, -0.5F, 0.0F, 2.0F});
    Shape shape(static_cast<size_t>(layer.plain(x, delta, {}).dim()), 1);
    shape[0] = 4;
    const Tensor wanted = layer.plain(x, delta, {});
    EXPECT_LE(relative_error(*adapter.residual(layer, x), wanted), 1e-5);  // float32 sums in another order
    EXPECT_LE(relative_error(*adapter.residual(layer, x, rows), wanted * rows.view(shape)), 1e-5);
    ++checked;
  });
  EXPECT_GE(checked, 5);
}

TEST(EveryKind, saved_and_loaded_is_the_same) {
  for_each_fresh([](const AdapterKind& kind, const Layer& layer, const Adapter& adapter) {
    disturb(adapter);
    TensorGroup group("module", adapter.tensors());
    const auto again = load_adapter(group, layer);
    ASSERT_NE(again, nullptr);
    EXPECT_EQ(again->kind(), kind.name);
    EXPECT_TRUE(group.shapes().empty());
    EXPECT_TRUE(torch::equal(again->merge(layer.base_weight(), 0.8), adapter.merge(layer.base_weight(), 0.8)));
    EXPECT_EQ(again->rank(), adapter.rank());
  });
}

TEST(EveryKind, gradients_reach_every_tensor) {
  for_each_fresh([](const AdapterKind&, const Layer& layer, const Adapter& adapter) {
    disturb(adapter);
    for (Tensor& tensor : trained(adapter)) tensor.requires_grad_();
    Tensor loss = adapter.merge(layer.base_weight(), 1).square().sum();
    if (layer.base_bias().defined()) loss = loss + adapter.merge_bias(layer.base_bias(), 1).square().sum();
    loss.backward();
    for (const Tensor& tensor : trained(adapter)) {
      ASSERT_TRUE(tensor.grad().defined());
      EXPECT_GT(tensor.grad().abs().max().item<float>(), 0);
    }
  });
}

TEST(EveryKind, a_wrong_shape_is_an_error) {
  const auto other = layer_for("unet.other", torch::randn({14, 10}), torch::randn({14}));
  for_each_fresh([&](const AdapterKind&, const Layer&, const Adapter& adapter) {
    TensorGroup group("module", adapter.tensors());
    EXPECT_THROW(load_adapter(group, *other), Error);
  });
}

std::unique_ptr<Adapter> load(const Layer& layer, std::vector<NamedTensor> tensors) {
  TensorGroup group("module", std::move(tensors));
  auto adapter = load_adapter(group, layer);
  EXPECT_TRUE(group.shapes().empty());
  return adapter;
}

TEST(Lora, the_4_channel_conv_in_fits_the_9_channel_one_with_zeros) {
  const auto layer = layer_for("unet.conv_in", torch::randn({6, 9, 3, 3}), torch::randn({6}));
  const Tensor up = torch::randn({6, 2, 1, 1}), down = torch::randn({2, 4, 3, 3}), diff = torch::randn({6, 4, 3, 3});
  const auto lora = load(*layer, {{"lora_up.weight", up}, {"lora_down.weight", down}});
  const Tensor delta = lora->merge(torch::zeros({6, 9, 3, 3}), 1);
  EXPECT_LE(relative_error(delta.narrow(1, 0, 4), torch::matmul(up.flatten(1), down.flatten(1)).view({6, 4, 3, 3})), 1e-6);
  EXPECT_EQ(delta.narrow(1, 4, 5).abs().max().item<float>(), 0);
  const Tensor x = torch::randn({1, 9, 5, 5});
  EXPECT_LE(relative_error(*lora->residual(*layer, x), layer->plain(x, delta, {})), 1e-5);
  const auto full = load(*layer, {{"diff", diff}});
  EXPECT_TRUE(torch::equal(full->merge(torch::zeros({6, 9, 3, 3}), 1).narrow(1, 0, 4), diff));
}

TEST(Lora, cut_to_fewer_ranks_keeps_its_scale) {
  const auto layer = layer_for("unet.linear", torch::zeros({6, 5}), Tensor());
  const Tensor up = torch::randn({6, 4}), down = torch::randn({4, 5});
  const auto lora = load(*layer, {{"lora_up.weight", up}, {"lora_down.weight", down}, {"alpha", torch::tensor(2.0F)}});
  const auto cut = lora->truncated(2);
  EXPECT_EQ(cut->rank(), 2);
  const Tensor wanted = 0.5 * torch::matmul(up.narrow(1, 0, 2), down.narrow(0, 0, 2));
  EXPECT_LE(relative_error(cut->merge(torch::zeros({6, 5}), 1), wanted), 1e-6);
  EXPECT_EQ(lora->truncated(4), nullptr);
  EXPECT_EQ(lora->truncated(0), nullptr);
}

TEST(Lora, of_an_embedding_in_pefts_layout_is_transposed) {
  const auto layer = layer_for("text_encoder.embeddings.token_embedding", torch::randn({20, 8}), Tensor());
  const Tensor a = torch::randn({2, 20}), b = torch::randn({8, 2});
  const auto lora = load(*layer, {{"lora_embedding_A", a}, {"lora_embedding_B", b}});
  EXPECT_LE(relative_error(lora->merge(torch::zeros({20, 8}), 1), torch::matmul(b, a).t()), 1e-6);
}

TEST(Lora, takes_a_whole_difference_of_the_bias_beside_it) {
  const auto layer = layer_for("unet.linear", torch::zeros({6, 5}), torch::ones({6}));
  const auto lora =
      load(*layer, {{"lora_up.weight", torch::randn({6, 2})}, {"lora_down.weight", torch::randn({2, 5})}, {"diff_b", torch::ones({6})}});
  EXPECT_EQ(lora->kind(), "lora");
  EXPECT_TRUE(torch::equal(lora->merge_bias(layer->base_bias(), 2), torch::full({6}, 3.0F)));
  EXPECT_FALSE(lora->has_residual());
}

// The Kronecker product written out, w2 from its Tucker core (LyCORIS, rebuild of lokr_t2).
TEST(Lokr, of_a_convolution_with_a_tucker_core) {
  const auto layer = layer_for("unet.conv3", torch::zeros({6, 4, 3, 3}), Tensor());
  const Tensor w1 = torch::randn({2, 2}), core = torch::randn({4, 4, 3, 3}), a = torch::randn({4, 3}), b = torch::randn({4, 2});
  const auto lokr = load(*layer, {{"lokr_w1", w1}, {"lokr_w2_a", a}, {"lokr_w2_b", b}, {"lokr_t2", core}, {"alpha", torch::tensor(2.0F)}});
  Tensor w2 = torch::zeros({3, 2, 3, 3});
  for (int64_t i = 0; i < 4; ++i)
    for (int64_t j = 0; j < 4; ++j) w2 += core[i][j] * a[i].view({3, 1, 1, 1}) * b[j].view({1, 2, 1, 1});
  Tensor wanted = torch::zeros({6, 4, 3, 3});
  for (int64_t i = 0; i < 2; ++i)
    for (int64_t j = 0; j < 2; ++j) wanted.narrow(0, 3 * i, 3).narrow(1, 2 * j, 2).copy_(0.5 * w1[i][j] * w2);
  EXPECT_LE(relative_error(lokr->merge(torch::zeros({6, 4, 3, 3}), 1), wanted), 1e-6);
}

TEST(Lokr, with_two_whole_factors_ignores_alpha) {
  const auto layer = layer_for("unet.linear", torch::zeros({6, 4}), Tensor());
  const Tensor w1 = torch::randn({2, 2}), w2 = torch::randn({3, 2});
  const auto lokr = load(*layer, {{"lokr_w1", w1}, {"lokr_w2", w2}, {"alpha", torch::tensor(7.0F)}});
  EXPECT_TRUE(torch::equal(lokr->merge(torch::zeros({6, 4}), 1), torch::kron(w1, w2)));
}

// DoRA's axis: [1, in] over input columns, [out, 1] over output rows, also where the weight is square.
TEST(Dora, takes_the_axis_from_the_shape) {
  const auto layer = layer_for("unet.linear", torch::randn({6, 6}), Tensor());
  const Tensor up = torch::randn({6, 2}), down = torch::randn({2, 6}), changed = layer->base_weight() + torch::matmul(up, down);
  const std::vector<NamedTensor> factors{{"lora_up.weight", up}, {"lora_down.weight", down}};
  const auto with = [&](const char* name, const Tensor& magnitude) {
    auto tensors = factors;
    tensors.push_back({name, magnitude});
    return load(*layer, tensors)->merge(layer->base_weight(), 1);
  };
  const Tensor per_input = with("dora_scale", torch::full({1, 6}, 2.0F)), per_output = with("dora_scale", torch::full({6, 1}, 2.0F));
  EXPECT_LE(relative_error(per_input, 2 * changed / changed.norm(2, {0}, true)), 1e-6);
  EXPECT_LE(relative_error(per_output, 2 * changed / changed.norm(2, {1}, true)), 1e-6);
  EXPECT_TRUE(torch::equal(with("lora_magnitude_vector", torch::full({6}, 2.0F)), per_output));
}

// LyCORIS' newer GLoRA, told from the older by its shapes: W' = W + s (W a1 a2 + b1 b2).
TEST(Glora, reads_the_newer_layout_with_its_scale) {
  const auto layer = layer_for("unet.linear", torch::randn({6, 5}), Tensor());
  const Tensor a1 = torch::randn({5, 2}), a2 = torch::randn({2, 5}), b1 = torch::randn({6, 2}), b2 = torch::randn({2, 5});
  const auto glora =
      load(*layer, {{"a1.weight", a1}, {"a2.weight", a2}, {"b1.weight", b1}, {"b2.weight", b2}, {"alpha", torch::tensor(1.0F)}});
  const Tensor& weight = layer->base_weight();
  const Tensor wanted = weight + 0.5 * (torch::matmul(torch::matmul(weight, a1), a2) + torch::matmul(b1, b2));
  EXPECT_LE(relative_error(glora->merge(weight, 1), wanted), 1e-6);
}

TEST(Oft, reads_old_lycoris_rotations_and_row_factors) {
  const auto layer = layer_for("unet.conv3", torch::randn({6, 4, 3, 3}), Tensor());
  const Tensor rotation = torch::randn({2, 3, 3}), rescale = torch::randn({6, 1, 1, 1});
  const auto oft = load(*layer, {{"oft_diag", rotation}, {"rescale", rescale}});
  const Tensor& weight = layer->base_weight();
  const Tensor turned = torch::einsum("knm,knc->kmc", {rotation, weight.view({2, 3, -1})}).reshape(weight.sizes()) * rescale;
  EXPECT_LE(relative_error(oft->merge(weight, 1), turned), 1e-6);
  EXPECT_LE(relative_error(oft->merge(weight, 0.25), weight + 0.25 * (turned - weight)), 1e-6);
}

// The butterfly written out: row r of a block of 2k rows meets row r + k, for k = b/2, b, …
TEST(Boft, one_block_pair_at_a_time_is_the_butterfly) {
  const auto layer = layer_for("unet.linear", torch::randn({8, 3}), Tensor());
  const Tensor blocks = 0.3 * torch::randn({3, 4, 2, 2});
  const auto boft = load(*layer, {{"oft_blocks", blocks}});
  EXPECT_EQ(boft->kind(), "boft");
  Tensor rows = layer->base_weight().clone();
  for (int64_t stage = 0; stage < 3; ++stage) {
    const int64_t stride = int64_t{1} << stage;
    int64_t block = 0;
    for (int64_t first = 0; first < 8; ++first) {
      if ((first / stride) % 2 != 0) continue;
      const Tensor skew = blocks[stage][block] - blocks[stage][block].t(), eye = torch::eye(2);
      const Tensor pair = torch::stack({rows[first], rows[first + stride]});
      const Tensor turned = torch::matmul(torch::matmul(eye + skew, torch::linalg_inv(eye - skew)), pair);
      rows[first].copy_(turned[0]);
      rows[first + stride].copy_(turned[1]);
      ++block;
    }
  }
  EXPECT_LE(relative_error(boft->merge(layer->base_weight(), 1), rows), 1e-5);
}

TEST(TensorGroup, tells_what_nobody_read) {
  const auto layer = layer_for("unet.linear", torch::zeros({6, 5}), Tensor());
  TensorGroup group("module", {{"diff", torch::zeros({6, 5})}, {"rescale", torch::ones({6})}});
  EXPECT_NE(load_adapter(group, *layer), nullptr);
  EXPECT_TRUE(group.has("rescale"));
  EXPECT_EQ(group.shapes().size(), 1U);
}

}  // namespace
}  // namespace lorikeet
