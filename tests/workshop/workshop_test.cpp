// LoRAs and checkpoints together: outlines, baking, extracting, on tiny models of every family.
#include <fstream>
#include <nlohmann/json.hpp>

#include "io/hash.h"
#include "lora/apply.h"
#include "lora/surgery/extract.h"
#include "lora/surgery/provenance.h"
#include "model/tiny.h"
#include "workshop/bake.h"
#include "workshop/outline.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;
using testing::error_of;
using testing::file_of;
using testing::ScratchFolder;
using testing::tiny_model;
using testing::write_single_file;

constexpr const char* kFamilies[] = {"sd1", "sd2", "sdxl"};

struct Model {
  std::shared_ptr<const Checkpoint> checkpoint;
  ModelSpec spec;
  LayerMap layers;
  explicit Model(const fs::path& path)
      : checkpoint(Checkpoint::open(path)), spec(recognise_model(*checkpoint)), layers(outline(*checkpoint, spec)) {}
};

class Workshop : public ::testing::Test {
 protected:
  Workshop() { torch::manual_seed(1); }

  fs::path written(std::string_view family, const std::string& name = "base.safetensors", uint64_t seed = 1) {
    const auto model = tiny_model(family, false, seed);
    write_single_file(folder_ / name, model, file_of(model));
    return folder_ / name;
  }

  // The same weights as diffusers would save them.
  fs::path written_folder(std::string_view family) {
    const auto model = tiny_model(family);
    const fs::path path = folder_ / "diffusers";
    std::map<std::string, std::map<std::string, Tensor>> parts;
    for (const auto& [name, tensor] : model.weights) parts[name.substr(0, name.find('.'))][name.substr(name.find('.') + 1)] = tensor;
    for (const auto& [part, tensors] : parts) {
      fs::create_directories(path / part);
      write_safetensors(path / part / (part == "unet" || part == "vae" ? "diffusion_pytorch_model.safetensors" : "model.safetensors"),
                        tensors, {{"format", "pt"}});
    }
    std::ofstream(path / "model_index.json") << "{}";
    std::ofstream(path / "unet/config.json") << R"({"norm_num_groups": 8})";
    std::ofstream(path / "unet/diffusion_pytorch_model.bin") << "the old weights once more";
    return path;
  }

  // A LoRA on every layer that has a matrix, biases and norms of some.
  fs::path lora_for(const LayerMap& layers, const std::string& name, int64_t rank = 2) {
    std::map<std::string, Tensor> tensors;
    int number = 0;
    for (const auto& [path, layer] : layers) {
      const Shape shape = layer->base_weight().sizes().vec();
      if (layer->geometry().op == LayerOp::embedding) continue;
      if (shape.size() == 1) {
        tensors[path + ".w_norm"] = 0.1 * torch::randn(shape);
        tensors[path + ".b_norm"] = 0.1 * torch::randn(shape);
        continue;
      }
      Shape down = shape;
      down[0] = rank;
      tensors[path + ".lora_down.weight"] = 0.2 * torch::randn(down);
      tensors[path + ".lora_up.weight"] = 0.2 * torch::randn(shape.size() == 4 ? Shape{shape[0], rank, 1, 1} : Shape{shape[0], rank});
      if (layer->base_bias().defined() && number++ % 5 == 0) tensors[path + ".diff_b"] = 0.1 * torch::randn({shape[0]});
    }
    write_safetensors(folder_ / name, tensors, {{"ss_output_name", name}});
    return folder_ / name;
  }

  static MixInput input(const fs::path& path, const Model& model, double te, double unet) {
    return {std::make_shared<const LoraReader>(LoraFile::open(path), model.layers, model.spec.family), te, unet};
  }

  // Every weight and bias of the baked model against what the tags give.
  static void expect_as_tagged(const Model& baked, const Model& base, const std::vector<MixInput>& inputs) {
    ASSERT_EQ(baked.layers.size(), base.layers.size());
    int changed = 0;
    for (const auto& [path, layer] : base.layers) {
      LoraTerms terms;
      for (const MixInput& one : inputs) {
        if (!one.reader->layers().contains(path)) continue;
        const double multiplier = (path.starts_with("unet.") ? one.unet : one.te) * one.blocks.at(path);
        if (multiplier != 0) terms.push_back({one.reader->load(path).adapter, multiplier});
      }
      const MergedLayer merged = merged_layer(*layer, terms);
      const Layer& other = *baked.layers.at(path);
      EXPECT_TRUE(torch::equal(other.base_weight().to(torch::kFloat), merged.weight)) << path;
      const Tensor bias = merged.bias.defined() ? merged.bias : layer->base_bias();
      if (bias.defined()) {
        EXPECT_TRUE(torch::equal(other.base_bias().to(torch::kFloat), bias.to(torch::kFloat))) << path;
      }
      changed += terms.empty() ? 0 : 1;
    }
    EXPECT_GT(changed, 50);
  }

  // In the folder, but for what the test has written itself.
  int leftovers() const {
    int count = 0;
    for (const auto& entry : fs::directory_iterator(folder_.path())) count += entry.path().filename().string().starts_with(".") ? 1 : 0;
    return count;
  }

  ScratchFolder folder_;
  Progress progress_;
};

TEST_F(Workshop, AnOutlineHasTheLayersOfTheNetworksAndPacksNothing) {
  for (const char* family : kFamilies) {
    const Model model(written(family));
    LayerMap full;
    const Weights weights(*model.checkpoint, full, Compute{});
    for (const ClipConfig& text : model.spec.text_encoders) ClipTextModel(text, weights / text.component);
    UNet(model.spec.unet, weights / "unet");
    ASSERT_EQ(model.layers.size(), full.size()) << family;
    for (const auto& [path, layer] : full) {
      ASSERT_TRUE(model.layers.contains(path));
      EXPECT_TRUE(torch::equal(model.layers.at(path)->base_weight(), layer->base_weight()));
      EXPECT_TRUE(model.layers.at(path)->compute().device.is_meta());
    }
  }
}

TEST_F(Workshop, TheKnownLayersAreThoseOfTheFullSizeModels) {
  const LayerMap sd1 = known_layers("sd1"), sdxl = known_layers("sdxl");
  EXPECT_EQ(sd1.size(), sdxl.size());  // all families' paths; the family decides on shapes
  const std::string key = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k";
  EXPECT_EQ(sd1.at(key)->base_weight().sizes(), (Shape{640, 768}));
  EXPECT_EQ(sdxl.at(key)->base_weight().sizes(), (Shape{640, 2048}));
  EXPECT_EQ(sdxl.at("text_encoder_2.text_model.encoder.layers.31.mlp.fc1")->base_weight().sizes(), (Shape{5120, 1280}));
  EXPECT_EQ(known_layers("sd2").at("text_encoder.text_model.encoder.layers.22.mlp.fc1")->base_weight().sizes(), (Shape{4096, 1024}));
}

TEST_F(Workshop, BakedWeightsAreThoseOfTheTagBitForBit) {
  for (const char* family : kFamilies) {
    SCOPED_TRACE(family);
    const Model base(written(family));
    const fs::path a = lora_for(base.layers, "a.safetensors"), b = lora_for(base.layers, "b.safetensors", 3);
    std::vector<MixInput> inputs{input(a, base, 0.8, -0.5), input(b, base, 0.5, 0.25)};
    inputs[1].blocks = BlockWeights::parse("1,0,0.5,1,1,1,1,0,1,1,1,1,1,1,1,1,1");
    const BakeResult result = bake(*base.checkpoint, base.layers, inputs, {}, folder_ / "baked.safetensors", progress_);
    EXPECT_TRUE(result.notes.empty());
    expect_as_tagged(Model(folder_ / "baked.safetensors"), base, inputs);
    // What no LoRA touches is carried over, byte by byte.
    const auto before = TensorFile::open(base.checkpoint->path()), after = TensorFile::open(folder_ / "baked.safetensors");
    ASSERT_EQ(before->tensors().size(), after->tensors().size());
    int same = 0;
    for (const auto& [key, entry] : before->tensors()) {
      EXPECT_EQ(entry.stored_dtype, after->tensors().at(key).stored_dtype);
      EXPECT_EQ(entry.shape, after->tensors().at(key).shape);
      same += torch::equal(entry.view(), after->read(key)) ? 1 : 0;
    }
    EXPECT_GT(same, 100);  // the autoencoder
    EXPECT_EQ(after->metadata().at("lorikeet.config"), before->metadata().at("lorikeet.config"));
    const auto history = history_of(after->metadata());
    EXPECT_EQ(history.back()["inputs"][1]["sha256"], sha256_file(a));
    EXPECT_EQ(history.back()["inputs"][2]["unet"], 0.25);
  }
}

TEST_F(Workshop, ADiffusersFolderIsBakedIntoAFolder) {
  for (const char* family : {"sd1", "sdxl"}) {
    SCOPED_TRACE(family);
    fs::remove_all(folder_ / "diffusers");
    fs::remove_all(folder_ / "baked");
    const Model base(written_folder(family));
    const std::vector<MixInput> inputs{input(lora_for(base.layers, "a.safetensors"), base, 1, 1)};
    bake(*base.checkpoint, base.layers, inputs, {}, folder_ / "baked", progress_);
    expect_as_tagged(Model(folder_ / "baked"), base, inputs);
    EXPECT_TRUE(fs::exists(folder_ / "baked/unet/config.json"));
    EXPECT_FALSE(fs::exists(folder_ / "baked/unet/diffusion_pytorch_model.bin"));  // the model as it was
    EXPECT_NE(error_of([&] { bake(*base.checkpoint, base.layers, inputs, {}, folder_ / "baked", progress_); }).find("is there already"),
              std::string::npos);
    EXPECT_NE(error_of([&] { bake(*base.checkpoint, base.layers, inputs, {}, folder_ / "x.safetensors", progress_); }), "");
    EXPECT_EQ(leftovers(), 0);
  }
}

TEST_F(Workshop, TheTypeOfTheNumbersCanBeChosen) {
  const Model base(written("sd1"));
  const std::vector<MixInput> inputs{input(lora_for(base.layers, "a.safetensors"), base, 1, 1)};
  bake(*base.checkpoint, base.layers, inputs, {torch::kBFloat16}, folder_ / "b.safetensors", progress_);
  const Model baked(folder_ / "b.safetensors");
  const std::string path = "unet.mid_block.attentions.0.proj_in";
  const MergedLayer merged = merged_layer(*base.layers.at(path), {{inputs[0].reader->load(path).adapter, 1}});
  EXPECT_TRUE(torch::equal(baked.layers.at(path)->base_weight(), merged.weight.to(torch::kBFloat16)));  // rounded once
  const auto file = TensorFile::open(folder_ / "b.safetensors");
  for (const auto& [key, entry] : file->tensors()) EXPECT_EQ(entry.stored_dtype, "BF16") << key;
}

TEST_F(Workshop, BakingRefusesWhatItCannotDoAndLeavesNothing) {
  const Model base(written("sd1"));
  const fs::path a = lora_for(base.layers, "a.safetensors");
  const auto fails = [&](const std::vector<MixInput>& inputs, const fs::path& output) {
    return error_of([&] { bake(*base.checkpoint, base.layers, inputs, {}, output, progress_); });
  };
  EXPECT_NE(fails({input(a, base, 1, 1)}, base.checkpoint->path()).find("is one of the inputs"), std::string::npos);
  EXPECT_NE(fails({input(a, base, 1, 1)}, a).find("is one of the inputs"), std::string::npos);
  EXPECT_NE(fails({input(a, base, 0, 0)}, folder_ / "x.safetensors").find("nothing is to be baked"), std::string::npos);
  EXPECT_NE(fails({input(a, base, 1, 1)}, folder_ / "no/x.safetensors"), "");
  std::map<std::string, Tensor> bias{{"unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.diff_b", torch::ones({32})}};
  write_safetensors(folder_ / "bias.safetensors", bias, {});
  EXPECT_NE(fails({input(folder_ / "bias.safetensors", base, 1, 1)}, folder_ / "x.safetensors").find("changes the bias"),
            std::string::npos);
  EXPECT_FALSE(fs::exists(folder_ / "x.safetensors"));
  EXPECT_EQ(leftovers(), 0);
}

class Extract : public Workshop {
 protected:
  LoraDraft extracted(const Model& base, const Model& tuned, const ExtractOptions& options, ExtractResult& result) {
    return extract(base.layers, tuned.layers, options, result, progress_);
  }
  static ExtractOptions exactly(int64_t rank) {
    ExtractOptions options;
    options.ranks.rank = rank;
    options.dtype = torch::kFloat;
    return options;
  }
};

TEST_F(Extract, BakingAndExtractingGivesTheLoraBack) {
  for (const char* family : kFamilies) {
    SCOPED_TRACE(family);
    const Model base(written(family));
    const std::vector<MixInput> inputs{input(lora_for(base.layers, "a.safetensors", 3), base, 1, 0.7)};
    bake(*base.checkpoint, base.layers, inputs, {torch::kFloat}, folder_ / "tuned.safetensors", progress_);
    const Model tuned(folder_ / "tuned.safetensors");
    for (const bool exact : {false, true}) {
      ExtractOptions options = exactly(3);
      options.exact = exact;
      options.rest = true;
      ExtractResult result;
      write_draft(folder_ / "back.safetensors", extracted(base, tuned, options, result), find_lora_naming("kohya"), false, progress_);
      EXPECT_TRUE(result.different.empty());
      const LoraReader back(LoraFile::open(folder_ / "back.safetensors"), base.layers, family);
      EXPECT_EQ(back.layers().size(), inputs[0].reader->layers().size());
      for (const auto& [path, layer] : back.layers()) {
        const double multiplier = path.starts_with("unet.") ? 0.7 : 1;
        const Change wanted = read_change(*inputs[0].reader, path, multiplier), found = read_change(back, path);
        EXPECT_LT(((found.matrix() - wanted.matrix()).norm() / wanted.matrix().norm()).item<double>(), 1e-3) << path;
        if (wanted.bias.defined()) {
          EXPECT_LT(((found.bias - wanted.bias).norm() / wanted.bias.norm()).item<double>(), 1e-3) << path;
        }
      }
    }
  }
}

TEST_F(Extract, TheStatedErrorIsTrueAndNearTheBest) {
  const Model base(written("sd1")), tuned(written("sd1", "other.safetensors", 2));
  ExtractResult result;
  write_draft(folder_ / "d.safetensors", extracted(base, tuned, exactly(4), result), find_lora_naming("kohya"), false, progress_);
  const LoraReader lora(LoraFile::open(folder_ / "d.safetensors"), base.layers, "sd1");
  EXPECT_GT(result.layers.size(), 100u);
  for (const LayerResult& layer : result.layers) {
    const Tensor wanted =
        (tuned.layers.at(layer.path)->base_weight().to(torch::kDouble) - base.layers.at(layer.path)->base_weight()).flatten(1);
    const double error = ((read_change(lora, layer.path).matrix() - wanted).norm() / wanted.norm()).item<double>();
    const Tensor values = torch::linalg_svdvals(wanted);
    const double best = (values.slice(0, std::min<int64_t>(4, values.size(0))).norm() / values.norm()).item<double>();
    EXPECT_NEAR(layer.error, error, 1e-5) << layer.path;
    EXPECT_LT(error, 1.01 * best + 1e-5) << layer.path;
  }
  EXPECT_FALSE(result.different.empty());  // norms, biases, embeddings: named
}

TEST_F(Extract, RulesLimitsAndPartsAreKept) {
  const Model base(written("sd1")), tuned(written("sd1", "other.safetensors", 2));
  for (const auto& [rule, parameter] :
       {std::pair("sv_fro", 0.8), std::pair("sv_ratio", 2.0), std::pair("sv_cumulative", 0.5), std::pair("quantile", 0.5)}) {
    ExtractOptions options = exactly(0);
    options.ranks.rule = rule;
    options.ranks.parameter = parameter;
    ExtractResult result;
    extracted(base, tuned, options, result);
    for (const LayerResult& layer : result.layers) {
      const Tensor wanted =
          (tuned.layers.at(layer.path)->base_weight().to(torch::kDouble) - base.layers.at(layer.path)->base_weight()).flatten(1);
      const Tensor all = torch::linalg_svdvals(wanted).contiguous();
      const std::vector<double> values(all.data_ptr<double>(), all.data_ptr<double>() + all.numel());
      const int64_t rank = std::max<int64_t>(1, find_rank_rule(rule).rank(values, wanted.norm().item<double>(), parameter));
      EXPECT_NEAR(static_cast<double>(layer.rank), static_cast<double>(rank), 1)
          << layer.path << " " << rule;  // a value on the border may fall either way
    }
  }
  ExtractOptions options = exactly(2);
  options.convolutions = false;
  options.text_encoder = false;
  ExtractResult result;
  const LoraDraft draft = extracted(base, tuned, options, result);
  for (const auto& [path, module] : draft.modules) {
    EXPECT_TRUE(path.starts_with("unet.")) << path;
    const Shape shape = base.layers.at(path)->base_weight().sizes().vec();
    EXPECT_TRUE(shape.size() == 2 || shape[2] == 1) << path;
  }
}

TEST_F(Extract, EqualLayersAreLeftOutAndEqualCheckpointsAreAnError) {
  const Model base(written("sd1"));
  std::map<std::string, Tensor> one{{"unet.mid_block.attentions.0.proj_in.lora_down.weight", torch::ones({1, 32, 1, 1})},
                                    {"unet.mid_block.attentions.0.proj_in.lora_up.weight", 0.01 * torch::ones({32, 1, 1, 1})}};
  write_safetensors(folder_ / "one.safetensors", one, {});
  bake(*base.checkpoint, base.layers, std::vector{input(folder_ / "one.safetensors", base, 1, 1)}, {torch::kFloat},
       folder_ / "t.safetensors", progress_);
  const Model tuned(folder_ / "t.safetensors");
  ExtractResult result;
  EXPECT_EQ(extracted(base, tuned, exactly(4), result).modules.size(), 1u);
  ExtractOptions coarse = exactly(4);
  coarse.min_difference = 0.02;
  EXPECT_NE(error_of([&] { extracted(base, tuned, coarse, result); }).find("lower --min-diff"), std::string::npos);
  EXPECT_NE(error_of([&] { extracted(base, base, exactly(4), result); }).find("are they the same file"), std::string::npos);
}

TEST_F(Extract, ClampingCutsTheLargestEntriesOff) {
  const Model base(written("sd1")), tuned(written("sd1", "other.safetensors", 2));
  ExtractOptions options = exactly(4);
  options.clamp_quantile = 0.9;
  ExtractResult result, plain;
  const LoraDraft draft = extracted(base, tuned, options, result), whole = extracted(base, tuned, exactly(4), plain);
  for (const auto& [path, module] : draft.modules) {
    const auto largest = [&](const LoraDraft& of) {
      double most = 0;
      for (const DraftTensor& tensor : of.modules.at(path).tensors)
        if (tensor.name != "alpha") most = std::max(most, tensor.make().abs().max().item<double>());
      return most;
    };
    EXPECT_LT(largest(draft), largest(whole)) << path;
  }
  for (size_t i = 0; i < result.layers.size(); ++i) EXPECT_GT(result.layers[i].error, plain.layers[i].error);
  options.clamp_quantile = 0;
  EXPECT_THROW(extracted(base, tuned, options, result), Error);
}

}  // namespace
}  // namespace lorikeet
