// The deltas of all kinds and spellings against A1111's network classes, diffusers, kohya and LyCORIS (tests/golden/lora/index.json).
#include <gtest/gtest.h>

#include <iostream>

#include "base/error.h"
#include "base/text.h"
#include "io/tensor_file.h"
#include "lora/apply.h"
#include "lora/models.h"

namespace lorikeet::golden_test {
namespace {

using testing::golden;
using testing::relative_error;

// float32 arithmetic on float16 weights: the reference's own float32 and float64 results differ by up to 2e-6.
constexpr double kTolerance = 1e-5;

struct Case {
  std::string name, file, expected, model;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

std::vector<Case> cases() {
  std::vector<Case> all;
  const auto index = testing::read_json("lora/index.json");
  for (const auto& entry : index["cases"]) all.push_back({entry["case"], entry["file"], entry["expected"], entry["model"]});
  return all;
}

const LayerMap& model(const std::string& name) {
  static std::map<std::string, LayerMap> models;
  const auto found = models.find(name);
  return found != models.end() ? found->second : models.emplace(name, testing::tiny_model(name)).first->second;
}

std::string component_of(const std::string& part) { return part == "unet" ? "unet" : part == "te" ? "text_encoder" : "text_encoder_2"; }

// "delta.te2:text_model….weight" -> the layer, and which of its parameters
struct Wanted {
  std::string path;
  bool bias;
};
std::optional<Wanted> wanted_of(const std::string& key) {
  if (!starts_with(key, "delta.")) return std::nullopt;
  const size_t colon = key.find(':'), dot = key.rfind('.');
  return Wanted{component_of(key.substr(6, colon - 6)) + "." + key.substr(colon + 1, dot - colon - 1), key.substr(dot) == ".bias"};
}

double delta_error(const LoadedLora& lora, const LayerMap& layers, const Wanted& wanted, const Tensor& expected) {
  const Layer& layer = *layers.at(wanted.path);
  const MergedLayer merged = merged_layer(layer, {{lora.adapters.at(wanted.path), 1.0}});
  if (!wanted.bias) return relative_error(merged.weight - layer.base_weight().to(torch::kFloat), expected);
  const Tensor base = layer.base_bias();
  return relative_error(base.defined() ? merged.bias - base.to(torch::kFloat) : merged.bias, expected);
}

class Golden : public ::testing::TestWithParam<Case> {};

TEST_P(Golden, changes_the_weights_as_the_reference_does) {
  const LayerMap& layers = model(GetParam().model);
  const auto file = LoraFile::open(golden("lora/" + GetParam().file));
  const auto lora = load_lora(*file, layers, GetParam().model);
  EXPECT_EQ(lora->report.matched, lora->report.total);
  EXPECT_EQ(lora->report.unused, std::vector<std::string>());
  double worst = 0;
  int compared = 0;
  const auto expected = TensorFile::open(golden("lora/" + GetParam().expected));
  for (const auto& [key, entry] : expected->tensors()) {
    const auto wanted = wanted_of(key);
    if (!wanted) continue;
    ASSERT_TRUE(lora->adapters.contains(wanted->path)) << key;
    const double error = delta_error(*lora, layers, *wanted, expected->read(key));
    EXPECT_LE(error, kTolerance) << key;
    worst = std::max(worst, error);
    ++compared;
  }
  // f6's expected values are outputs of the model only; kinds_test has its formula.
  EXPECT_GT(compared, GetParam().name == "f6_lokr_t2_sd1" ? -1 : 0);
  std::cout << "  " << GetParam().name << ": " << compared << " deltas, largest relative error " << worst << "\n";
}

INSTANTIATE_TEST_SUITE_P(Oracle, Golden, ::testing::ValuesIn(cases()), [](const auto& info) { return info.param.name; });

std::string error_of(const std::string& name) {
  try {
    load_lora(*LoraFile::open(golden("lora/" + name)), model("sd1"), "sd1");
  } catch (const Error& error) {
    EXPECT_NE(error.kind(), ErrorKind::internal);
    return error.what();
  }
  return "";
}

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(DefectiveLora, a_wrong_shape_names_module_wanted_and_found) {
  const std::string text = error_of("edge_shape_mismatch.safetensors");
  EXPECT_TRUE(holds(text, "lora_unet_down_blocks_0_attentions_0_proj_in") && holds(text, "[33, 32]") && holds(text, "[32, 32, 1, 1]"))
      << text;
  EXPECT_TRUE(holds(text, "edge_shape_mismatch.safetensors")) << text;
}

TEST(DefectiveLora, a_missing_factor_is_named) {
  const std::string text = error_of("edge_missing_up.safetensors");
  EXPECT_TRUE(holds(text, "lora_unet_down_blocks_0_attentions_0_proj_in has no lora_up.weight")) << text;
}

TEST(DefectiveLora, an_alpha_that_is_no_number_is_named) {
  const std::string text = error_of("edge_nan_alpha.safetensors");
  EXPECT_TRUE(holds(text, "alpha holds NaN")) << text;
}

TEST(DefectiveLora, broken_files_give_an_error) {
  for (const char* name : {"edge_truncated", "edge_bad_header_len", "edge_empty", "edge_no_tensors"})
    EXPECT_NE(error_of(std::string(name) + ".safetensors"), "") << name;
}

TEST(DefectiveLora, unknown_keys_are_reported_and_the_rest_applies) {
  const auto lora = load_lora(*LoraFile::open(golden("lora/edge_unknown_keys.safetensors")), model("sd1"), "sd1");
  EXPECT_EQ(lora->report.unmatched, std::vector<std::string>{"lora_unet_nonexistent_block_7"});
  EXPECT_EQ(lora->report.unused, std::vector<std::string>{"some_other_tensor"});
  EXPECT_EQ(lora->report.total, lora->report.matched + 1);
  EXPECT_EQ(lora->adapters.size(), static_cast<size_t>(lora->report.matched));
}

}  // namespace
}  // namespace lorikeet::golden_test
