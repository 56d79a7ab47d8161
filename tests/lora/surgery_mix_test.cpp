// Mixing, comparing and describing files.
#include <cmath>
#include <nlohmann/json.hpp>

#include "io/hash.h"
#include "lora/surgery/compare.h"
#include "lora/surgery/convert.h"
#include "lora/surgery/describe.h"
#include "lora/surgery/heat_map.h"
#include "lora/surgery/mix.h"
#include "lora/surgery_files.h"

namespace lorikeet {
namespace {

using testing::error_of;
using testing::golden;
using testing::read_bytes;
using testing::relative_error;

class Mix : public testing::LoraFolder {
 protected:
  MixInput input(const std::filesystem::path& path, double multiplier, const std::string& model_name = "sd1", bool with_model = false) {
    return {std::make_shared<const LoraReader>(with_model ? bound(path, model_name) : unbound(path, model_name)), multiplier, multiplier};
  }
  void write(const std::vector<MixInput>& inputs, const MixOptions& options, const std::string& name) {
    MixResult result;
    write_draft(at(name), mix(inputs, options, result, progress_), find_lora_naming("kohya"), false, progress_);
  }
  static std::map<std::string, Tensor> sum(const std::vector<MixInput>& inputs) {
    std::map<std::string, Tensor> total;
    for (const MixInput& one : inputs)
      for (const auto& [path, delta] : deltas(*one.reader)) {
        const double multiplier = (path.starts_with("unet.") ? one.unet : one.te) * one.blocks.at(path);
        total[path] = total.contains(path) ? total[path] + multiplier * delta.weight : multiplier * delta.weight;
      }
    return total;
  }
};

TEST_F(Mix, TheSumIsTheSumWhateverKindsRanksAndSpellings) {
  std::vector<MixInput> inputs;
  for (const char* name : {"a1_kohya_linear_sd1", "b2_locon_cp_sd1", "d1_peft_sd1", "f1_loha_sd1", "f4_lokr_lowrank_sd1"})
    inputs.push_back(input(golden("lora/" + std::string(name) + ".safetensors"), inputs.empty() ? 0.7 : -0.4));
  inputs[0].te = 0.2;
  write(inputs, {.dtype = torch::kFloat}, "sum.safetensors");
  const auto found = deltas(unbound(at("sum.safetensors"), "sd1"));
  const auto wanted = sum(inputs);
  ASSERT_EQ(found.size(), wanted.size());
  for (const auto& [path, weight] : wanted) EXPECT_LT(relative_error(found.at(path).weight, weight), 3e-6) << path;  // float32 sums
}

TEST_F(Mix, KindsThatNeedTheWeightsAreMixedWithTheCheckpointAndRefusedWithoutIt) {
  for (const char* name :
       {"g2_dora_per_output_sd1", "f10_glora_sd1", "g4_oft_kohya_sd1", "f8_ia3_sd1", "f7_full_diff_sd1", "f9_norm_sd1"}) {
    SCOPED_TRACE(name);
    const std::string file = golden("lora/" + std::string(name) + ".safetensors"),
                      plain = golden("lora/a2_kohya_rank8_fp32_sd1.safetensors");
    const std::vector<MixInput> inputs{input(file, 1, "sd1", true), input(plain, 0.5, "sd1", true)};
    write(inputs, {.dtype = torch::kFloat}, "m.safetensors");
    const auto found = deltas(bound(at("m.safetensors"), "sd1"));
    for (const auto& [path, weight] : sum(inputs)) EXPECT_LT((found.at(path).weight - weight).abs().max().item<double>(), 2e-6) << path;
  }
  const std::string error = error_of([&] { write({input(golden("lora/g2_dora_per_output_sd1.safetensors"), 1)}, {}, "x.safetensors"); });
  EXPECT_NE(error.find("depends on the checkpoint"), std::string::npos) << error;
}

TEST_F(Mix, SvdIsTheBestApproximationOfTheSum) {
  const std::vector<MixInput> inputs{input(golden("lora/a1_kohya_linear_sd1.safetensors"), 0.7),
                                     input(golden("lora/a4_kohya_varrank_sd1.safetensors"), 0.3)};
  write(inputs, {.method = "svd", .ranks = {.rank = 3}, .dtype = torch::kFloat}, "svd.safetensors");
  const auto found = deltas(unbound(at("svd.safetensors"), "sd1"));
  for (const auto& [path, weight] : sum(inputs)) {
    const Tensor exact = weight.to(torch::kDouble), values = torch::linalg_svdvals(exact);
    const double tail = (values.slice(0, 3).norm() / values.norm()).item<double>();
    EXPECT_NEAR(((found.at(path).weight - exact).norm() / exact.norm()).item<double>(), tail, 5e-6) << path;
  }
}

TEST_F(Mix, TheRecipeMakesTheSameFileAgain) {
  const auto a = made_lora("a.safetensors", 4, 4,
                           {{"ss_output_name", "a"}, {"ss_tag_frequency", R"({"1_a": {"fox": 2}})"}, {"modelspec.trigger_phrase", "fox"}});
  const auto b =
      made_lora("b.safetensors", 6, 3,
                {{"ss_output_name", "b"}, {"ss_tag_frequency", R"({"1_a": {"fox": 3, "owl": 1}})"}, {"modelspec.trigger_phrase", "owl"}});
  MixInput first = input(a, 0.7);
  first.blocks = BlockWeights::parse("1,0.5,0.5,0.5,0.5,0.5,0.5,1,1,1,1,1,1,1,1,1,1");
  for (const char* method : {"svd", "dare", "ties", "orthogonal", "sum"}) {
    const RankOptions ranks =
        std::string(method) == "sum" ? RankOptions{} : RankOptions{.rank = 5, .conv_rank = 2, .rule = "sv_fro", .parameter = 0.99};
    write({first, input(b, 0.3)}, {.method = method, .ranks = ranks, .density = 0.6, .seed = 9}, "ab.safetensors");
    const MixRecipe recipe = read_recipe(LoraFile::open(at("ab.safetensors"))->metadata());
    std::vector<MixInput> again;
    for (const auto& one : recipe.inputs) {
      const auto path = sha256_file(a) == one.sha256 ? a : b;
      EXPECT_EQ(sha256_file(path), one.sha256);
      again.push_back({std::make_shared<const LoraReader>(unbound(path, "sd1")), one.te, one.unet, one.blocks});
    }
    write(again, recipe.options, "again.safetensors");
    EXPECT_EQ(read_bytes(at("again.safetensors")), read_bytes(at("ab.safetensors"))) << method;
  }
  const auto metadata = LoraFile::open(at("ab.safetensors"))->metadata();
  EXPECT_EQ(metadata.at("modelspec.trigger_phrase"), "fox, owl");
  EXPECT_EQ(nlohmann::json::parse(metadata.at("ss_tag_frequency")), nlohmann::json::parse(R"({"1_a": {"fox": 5, "owl": 1}})"));
  EXPECT_FALSE(metadata.contains("ss_output_name"));  // they do not agree
  EXPECT_THROW(read_recipe(LoraFile::open(a)->metadata()), Error);
}

Change whole(std::vector<float> numbers) {
  Change change;
  change.shape = {2, 3};
  change.whole = torch::tensor(numbers).reshape({2, 3});
  return change;
}

TEST(MixMethods, TiesTrimsElectsAndAverages) {
  // By hand from the paper's algorithm, half of six entries kept: [5 0 -3; 0 0 2] and [1 0 4; 0 -6 0]; signs of the sums + . + . - +.
  const std::vector<Change> changes{whole({5, 1, -3, 0.5F, -1, 2}), whole({1, 0.2F, 4, 0.3F, -6, -0.5F})};
  const Change mixed = find_mix_method("ties").mix(changes, {.density = 0.5}, 0);
  EXPECT_TRUE(torch::equal(mixed.whole, torch::tensor({3.F, 0.F, 4.F, 0.F, -6.F, 2.F}).reshape({2, 3})));
}

TEST(MixMethods, DareKeepsTheMeanAndRepeatsBySeed) {
  Change change;
  change.shape = {200, 300};
  change.whole = torch::ones({200, 300});
  const MixOptions options{.density = 0.25};
  const Tensor first = find_mix_method("dare").mix({&change, 1}, options, 3).whole;
  EXPECT_TRUE(torch::equal(first, find_mix_method("dare").mix({&change, 1}, options, 3).whole));
  EXPECT_FALSE(torch::equal(first, find_mix_method("dare").mix({&change, 1}, options, 4).whole));
  EXPECT_TRUE(((first == 0) | (first == 4)).all().item<bool>());
  EXPECT_NEAR(first.mean().item<double>(), 1, 0.03);  // 4 standard deviations of 60000 draws
}

TEST(MixMethods, OrthogonalChangesDoNotMeet) {
  torch::manual_seed(3);
  std::vector<Change> changes(3);
  for (Change& change : changes) {
    change.shape = {40, 50};
    change.low_rank = LowRank{torch::randn({40, 5}), torch::randn({5, 50}), 0.5};
  }
  const Change mixed = find_mix_method("orthogonal").mix(changes, {}, 0);
  ASSERT_EQ(mixed.low_rank->rank(), 15);
  const auto part = [&](int64_t i) {
    return 0.5 * torch::matmul(mixed.low_rank->up.narrow(1, 5 * i, 5), mixed.low_rank->down.narrow(0, 5 * i, 5));
  };
  EXPECT_LT(relative_error(part(0), changes[0].matrix()), 1e-6);  // the first one stays
  for (const auto& [i, j] : {std::pair(0, 1), std::pair(0, 2), std::pair(1, 2)}) {
    EXPECT_LT(torch::matmul(part(i).t(), part(j)).abs().max().item<double>(), 1e-4);
    EXPECT_LT(torch::matmul(part(i), part(j).t()).abs().max().item<double>(), 1e-4);
  }
}

TEST_F(Mix, WhatCannotBeMixedIsRefused) {
  const auto a = made_lora("a.safetensors", 4, 4);
  const auto sd1 = golden("lora/a1_kohya_linear_sd1.safetensors"), sdxl = golden("lora/e1_kohya_ldm_sdxl.safetensors");
  const auto refused = [&](const std::vector<MixInput>& inputs, const MixOptions& options) {
    return error_of([&] { write(inputs, options, "x.safetensors"); });
  };
  EXPECT_NE(refused({input(a, 1)}, {.method = "svd"}).find("which rank"), std::string::npos);
  EXPECT_NE(refused({input(a, 1)}, {.method = "sum", .ranks = {.rank = 4}}).find("keeps all ranks"), std::string::npos);
  EXPECT_NE(refused({input(a, 1)}, {.method = "best"}).find("no way of mixing"), std::string::npos);
  EXPECT_NE(refused({input(a, 0)}, {}).find("nothing is left"), std::string::npos);
  EXPECT_NE(refused({}, {}).find("which LoRAs"), std::string::npos);
  EXPECT_NE(refused({input(sd1, 1), input(sdxl, 1, "sdxl")}, {}), "");
  EXPECT_FALSE(std::filesystem::exists(at("x.safetensors")));
}

TEST_F(Mix, ComparingKnowsAngleLengthAndWhatIsMissing) {
  const auto file = golden("lora/a1_kohya_linear_sd1.safetensors");
  const LoraReader whole = unbound(file, "sd1"), part = unbound(golden("lora/a2_kohya_rank8_fp32_sd1.safetensors"), "sd1");
  const Comparison same = compare(whole, whole, progress_);
  EXPECT_NEAR(same.total.cosine(), 1, 1e-9);
  EXPECT_TRUE(same.same_tensors);
  const Comparison other = compare(whole, part, progress_);
  EXPECT_EQ(other.layers.size() + other.only_first.size(), deltas(whole).size());
  const auto a = deltas(whole), b = deltas(part);
  for (const Compared& layer : other.layers) {
    const Tensor x = a.at(layer.name).weight.to(torch::kDouble), y = b.at(layer.name).weight.to(torch::kDouble);
    EXPECT_NEAR(layer.cosine(), ((x * y).sum() / (x.norm() * y.norm())).item<double>(), 1e-6) << layer.name;
    EXPECT_NEAR(layer.first, x.norm().item<double>(), 1e-5 * layer.first);
  }
}

class Describe : public Mix {};

TEST_F(Describe, TellsNormsSpectraAndBlocks) {
  const LoraReader reader = bound(golden("lora/a1_kohya_linear_sd1.safetensors"), "sd1");
  const LoraDescription description = describe(reader, progress_);
  const auto wanted = deltas(reader);
  ASSERT_EQ(description.layers.size(), wanted.size());
  double norm = 0, relative = 0;
  for (const LayerFacts& layer : description.layers) {
    const Tensor delta = wanted.at(layer.path).weight.to(torch::kDouble), values = torch::linalg_svdvals(delta);
    EXPECT_NEAR(layer.norm, delta.norm().item<double>(), 1e-5 * layer.norm);
    EXPECT_NEAR(layer.values[0], values[0].item<double>(), 1e-5 * layer.values[0]);
    const Tensor shares = values.slice(0, 0, 4) / values.sum();
    EXPECT_NEAR(layer.effective_rank, std::exp(-(shares * shares.log()).sum().item<double>()), 1e-4);
    EXPECT_EQ(layer.rank, 4);
    EXPECT_EQ(layer.alpha, 2);
    norm += layer.norm * layer.norm;
  }
  EXPECT_NEAR(description.norm, std::sqrt(norm), 1e-9);
  for (const BlockFacts& block : description.blocks) relative = std::max(relative, block.norm / block.weight_norm);
  EXPECT_NEAR(description.suggested_multiplier * relative, kLargestChange, 1e-9);
  EXPECT_EQ(description.matched, 216);
  EXPECT_EQ(description.blocks.front().name, "TE00");
  EXPECT_EQ(description.blocks.back().name, "OUT11");
  EXPECT_EQ(description.hashes.at("sha256"), sha256_file(golden("lora/a1_kohya_linear_sd1.safetensors")));
}

TEST_F(Describe, OneFaultyModuleIsALineAndADeadOneIsNamed) {
  const std::string key = "lora_unet_up_blocks_2_attentions_0_proj_in";
  const auto shape = layer_of("up_blocks_2_attentions_0_proj_in")->base_weight().sizes();
  const auto file = made_lora("a.safetensors", 4, 4, {},
                              {{key + ".lora_down.weight", torch::full({2, shape[1], 1, 1}, NAN)},
                               {key + ".lora_up.weight", torch::zeros({shape[0], 2, 1, 1})},
                               {"lora_unet_up_blocks_2_attentions_1_proj_in.lora_down.weight", torch::randn({2, shape[1], 1, 1})},
                               {"lora_unet_up_blocks_2_attentions_1_proj_in.lora_up.weight", torch::zeros({shape[0], 2, 1, 1})}});
  const LoraDescription description = describe(unbound(file, "sd1"), progress_);
  std::string fault, dead;
  for (const LayerFacts& layer : description.layers) {
    if (!layer.fault.empty()) fault += layer.path + ": " + layer.fault;
    if (layer.dead()) dead += layer.path;
  }
  EXPECT_NE(fault.find("NaN"), std::string::npos) << fault;
  EXPECT_EQ(dead, "unet.up_blocks.2.attentions.1.proj_in");
}

TEST_F(Describe, EveryKindIsDescribedAndDrawn) {
  const auto index = testing::read_json("lora/index.json");
  for (const auto& entry : index["cases"]) {
    SCOPED_TRACE(entry["case"].get<std::string>());
    const LoraReader reader = bound(golden("lora/" + entry["file"].get<std::string>()), entry["model"]);
    const LoraDescription description = describe(reader, progress_);
    for (const LayerFacts& layer : description.layers) EXPECT_EQ(layer.fault, "") << layer.path;
    const Drawing drawing = heat_map(description);
    const Picture picture = to_picture(drawing);
    EXPECT_EQ(picture.pixels.size(), static_cast<size_t>(3 * picture.width_px * picture.height_px));
    const std::string svg = to_svg(drawing);
    for (const BlockFacts& block : description.blocks) EXPECT_NE(svg.find(">" + block.name + "<"), std::string::npos);
  }
}

TEST(Drawing, BoxesAndLettersLandWhereTheyBelong) {
  Drawing drawing;
  drawing.width_px = 40, drawing.height_px = 30;
  drawing.boxes.push_back({2, 3, 10, 5, {1, 2, 3}, "<a & b>"});
  drawing.texts.push_back({20, 20, "I", {200, 0, 0}, Drawing::Align::left});
  const Picture picture = to_picture(drawing);
  const auto at = [&](int x, int y) { return picture.pixels[static_cast<size_t>(3 * (y * 40 + x))]; };
  EXPECT_EQ(at(2, 3), 1);
  EXPECT_EQ(at(11, 7), 1);
  EXPECT_EQ(at(12, 7), 255);
  EXPECT_EQ(at(24, 20), 200);  // the stem of the I
  EXPECT_EQ(at(20, 20), 255);
  EXPECT_NE(to_svg(drawing).find("&lt;a &amp; b&gt;"), std::string::npos);
}

TEST(BlockWeights, VectorsNameTheirBlocks) {
  EXPECT_EQ(block_of("unet.conv_in"), "IN00");
  EXPECT_EQ(block_of("unet.down_blocks.1.attentions.1.proj_in"), "IN05");
  EXPECT_EQ(block_of("unet.mid_block.resnets.1.conv1"), "MID");
  EXPECT_EQ(block_of("unet.up_blocks.3.attentions.2.proj_out"), "OUT11");
  EXPECT_EQ(block_of("unet.time_embedding.linear_1"), "BASE");
  EXPECT_EQ(block_of("text_encoder_2.text_model.encoder.layers.31.mlp.fc1"), "TE2-31");
  const BlockWeights plain = BlockWeights::parse("0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,1,2,3,4,5,6,7,8,9");
  EXPECT_EQ(plain.at("text_encoder.text_model.encoder.layers.0.mlp.fc1"), 0.1);
  EXPECT_EQ(plain.at("unet.down_blocks.0.attentions.0.proj_in"), 0.2);
  EXPECT_EQ(plain.at("unet.mid_block.attentions.0.proj_in"), 0.8);
  EXPECT_EQ(plain.at("unet.up_blocks.1.attentions.0.proj_in"), 1);
  EXPECT_EQ(plain.at("unet.up_blocks.3.attentions.2.proj_in"), 9);
  EXPECT_EQ(plain.at("unet.conv_in"), 0);
  EXPECT_EQ(BlockWeights().at("unet.conv_in"), 1);
  EXPECT_EQ(BlockWeights::parse("1,2,3,4,5,6,7,8,9,10,11,12").at("unet.up_blocks.0.attentions.0.proj_in"), 7);
  for (const char* wrong : {"1", "1,2,3", "", "1,2,3,4,5,6,7,8,9,10,11,x"}) EXPECT_THROW(BlockWeights::parse(wrong), Error) << wrong;
}

}  // namespace
}  // namespace lorikeet
