// Spellings, types and kinds: what a file does stays what it was. Files of every kind come from the oracle.
#include <sys/resource.h>

#include <csignal>
#include <nlohmann/json.hpp>

#include "io/hash.h"
#include "io/safetensors_writer.h"
#include "lora/surgery/convert.h"
#include "lora/surgery/edit.h"
#include "lora/surgery/provenance.h"
#include "lora/surgery/resize.h"
#include "lora/surgery_files.h"

namespace lorikeet {
namespace {

using testing::error_of;
using testing::golden;
using testing::read_bytes;

class Convert : public testing::LoraFolder {
 protected:
  // The file in another spelling.
  std::filesystem::path converted(const std::filesystem::path& from, const std::string& model, const std::string& to,
                                  const std::string& name, bool partial = false) {
    const LoraReader reader = unbound(from, model);
    ConvertResult result;
    write_draft(at(name), convert(reader, {.spelling = to}, result, progress_), find_lora_naming(to), partial, progress_);
    return at(name);
  }

  static std::vector<std::pair<std::string, std::string>> golden_cases() {
    std::vector<std::pair<std::string, std::string>> all;
    const auto index = testing::read_json("lora/index.json");
    for (const auto& entry : index["cases"]) all.emplace_back(golden("lora/" + entry["file"].get<std::string>()), entry["model"]);
    return all;
  }
};

TEST_F(Convert, EverySpellingToEveryOtherAndBackIsTheSame) {
  // Bit for bit where only names change. Where a spelling keeps no alpha, the scale goes into the factors: a power of two here, which
  // changes nothing but the last bits of float16's smallest numbers (steps of 6e-8).
  const auto tolerance = [](const LoraNaming& naming) { return naming.alpha == AlphaPlace::none ? 1e-6 : 0; };
  for (const auto& [file, model] :
       {std::pair<std::string, std::string>{"a1_kohya_linear_sd1", "sd1"}, {"s1_kohya_sd2", "sd2"}, {"e1_kohya_ldm_sdxl", "sdxl"}}) {
    const std::filesystem::path source = golden("lora/" + file + ".safetensors");
    int pairs = 0;
    for (const LoraNaming& first : lora_namings()) {
      const auto there = converted(source, model, std::string(first.name), "there.safetensors", /*partial=*/true);
      const auto some = deltas(unbound(there, model));
      auto wanted = deltas(unbound(source, model));
      std::erase_if(wanted, [&](const auto& entry) { return !some.contains(entry.first); });
      EXPECT_GT(some.size(), first.name == "numbered" && model == "sdxl" ? 10u : 20u) << first.name;
      expect_near(some, wanted, tolerance(first));
      for (const LoraNaming& second : lora_namings()) {
        if (model != "sd1" && second.name != "kohya") continue;  // the way there and back will do
        const auto back = converted(there, model, std::string(second.name), "back.safetensors", /*partial=*/true);
        auto rest = wanted;
        const auto found = deltas(unbound(back, model));
        std::erase_if(rest, [&](const auto& entry) { return !found.contains(entry.first); });
        EXPECT_GT(found.size(), 8u) << first.name << " " << second.name;
        expect_near(found, rest, std::max(tolerance(first), tolerance(second)));
        if (HasFatalFailure() || HasNonfatalFailure()) FAIL() << file << ": " << first.name << " -> " << second.name;
        ++pairs;
      }
    }
    EXPECT_EQ(pairs, model == "sd1" ? 49 : 7);
  }
}

TEST_F(Convert, TheFilesOfEverySpellingAreReadTheSameInKohyas) {
  for (const auto& [file, model] : golden_cases()) {
    const LoraReader source = bound(file, model);
    ConvertResult result;
    write_draft(at("k.safetensors"), convert(source, {.spelling = "kohya"}, result, progress_), find_lora_naming("kohya"), false,
                progress_);
    SCOPED_TRACE(file);
    expect_near(deltas(bound(at("k.safetensors"), model)), deltas(source), 0);
  }
}

TEST_F(Convert, LayersWithoutANameAreAnErrorUnlessTheyMayBeLeftOut) {
  const std::string file = golden("lora/a1_kohya_linear_sd1.safetensors");
  const std::string error = error_of([&] { converted(file, "sd1", "attention-processors", "x.safetensors"); });
  EXPECT_NE(error.find("have no name in the spelling attention-processors"), std::string::npos) << error;
  EXPECT_EQ(files(), 0);
}

TEST_F(Convert, EveryKindBecomesAPlainLoraWithTheTailOfItsSingularValues) {
  int kinds = 0;
  for (const auto& [file, model] : golden_cases()) {
    if (model != "sd1") continue;  // the others have no weights, which some kinds need
    SCOPED_TRACE(file);
    const LoraReader source = bound(file, model);
    const auto wanted = deltas(source);
    for (const int64_t rank : {2, 32}) {
      ConvertResult result;
      const ConvertOptions options{.kind = ToKind::lora, .ranks = {.rank = rank}, .dtype = torch::kFloat};
      write_draft(at("l.safetensors"), convert(source, options, result, progress_), find_lora_naming("kohya"), false, progress_);
      const LoraReader plain = bound(at("l.safetensors"), model);
      for (const LayerResult& layer : result.layers) {
        if (layer.rank == 0) continue;  // a norm, or a bias alone
        EXPECT_EQ(plain.load(layer.path).adapter->kind(), "lora");
        const Tensor exact = wanted.at(layer.path).weight.to(torch::kDouble), found = read_change(plain, layer.path).matrix();
        const Tensor values = torch::linalg_svdvals(exact);
        const int64_t kept = std::min<int64_t>(layer.rank, values.size(0));
        const double tail = (values.slice(0, kept).norm() / values.norm()).item<double>();
        const double error = ((found - exact).norm() / exact.norm()).item<double>();
        EXPECT_NEAR(error, tail, 5e-6) << layer.path;  // float32
        EXPECT_NEAR(layer.error, tail, 5e-6) << layer.path;
        ++kinds;
      }
    }
  }
  EXPECT_GT(kinds, 300);
}

TEST_F(Convert, KindsOfLowRankAreExactWithoutARank) {
  for (const char* file : {"f1_loha_sd1", "f4_lokr_lowrank_sd1", "b2_locon_cp_sd1", "f5_lokr_both_lowrank_sd1"}) {
    SCOPED_TRACE(file);
    const LoraReader source = unbound(golden("lora/" + std::string(file) + ".safetensors"), "sd1");
    int exact = 0;
    for (const std::string& path : paths_of(source)) {
      const Change change = read_change(source, path);
      if (!change.low_rank) continue;
      const ReadAdapter read = source.load(path);
      const Shape shape = source.layers().at(path)->base_weight().sizes().vec();
      const Tensor wanted = read.adapter->merge(torch::zeros(shape), 1).flatten(1);
      EXPECT_LT(testing::relative_error(change.matrix(), wanted), 2e-6) << path;
      ++exact;
    }
    EXPECT_GT(exact, 5);
  }
}

TEST_F(Convert, WholeDifferencesHoldEveryKindAndComeBack) {
  for (const auto& [file, model] : golden_cases()) {
    if (model != "sd1") continue;
    SCOPED_TRACE(file);
    const LoraReader source = bound(file, model);
    ConvertResult result;
    write_draft(at("f.safetensors"), convert(source, {.kind = ToKind::full, .dtype = torch::kFloat}, result, progress_),
                find_lora_naming("kohya"), false, progress_);
    expect_near(deltas(bound(at("f.safetensors"), model)), deltas(source), 1e-6);  // float32 additions
  }
}

TEST_F(Convert, MetadataEmbeddingsAndHistoryAreKept) {
  const auto file = made_lora(
      "a.safetensors", 4, 2,
      {{"ss_output_name", "fox"}, {"ss_network_dim", "4"}, {"ssmd_tags", "animal"}, {"modelspec.title", "Fox"}, {"sshs_model_hash", "old"}},
      {{"bundle_emb.red fox.emb_params", torch::randn({2, 16})}});
  const auto peft = converted(file, "sd1", "peft", "b.safetensors");
  EXPECT_TRUE(std::filesystem::exists(at("b.adapter_config.json")));
  const auto back = converted(peft, "sd1", "kohya", "c.safetensors");
  const auto read = LoraFile::open(back);
  for (const auto& [key, text] : {std::pair("ss_output_name", "fox"), std::pair("ss_network_dim", "4"), std::pair("ssmd_tags", "animal"),
                                  std::pair("modelspec.title", "Fox")})
    EXPECT_EQ(read->metadata().at(key), text);
  EXPECT_TRUE(torch::equal(read->read_embeddings().at("red fox").at("emb_params"),
                           LoraFile::open(file)->read_embeddings().at("red fox").at("emb_params")));
  const auto history = history_of(read->metadata());
  ASSERT_EQ(history.size(), 2u);
  EXPECT_EQ(history[0]["options"]["to"], "peft");
  EXPECT_EQ(history[0]["inputs"][0]["sha256"], sha256_file(file));
  EXPECT_EQ(history[1]["inputs"][0]["sha256"], sha256_file(peft));
}

TEST_F(Convert, TheHashesAreThoseOfTheWrittenFile) {
  const auto file = made_lora("a.safetensors", 64, 2, {{"ss_output_name", "fox"}, {"modelspec.title", "Fox"}, {"other", "text"}},
                              {{"bundle_emb.x.emb_params", torch::randn({400, 768})}});  // beyond 1 MiB
  const auto back = converted(file, "sd1", "kohya", "b.safetensors");
  const auto read = TensorFile::open(back);
  EXPECT_EQ(read->metadata().at("sshs_model_hash"), auto_v3(back));
  EXPECT_EQ(read->metadata().at("modelspec.hash_sha256"), "0x" + auto_v3(back));
  // kohya's: 64 KiB at 1 MiB of the file with the ss_ entries alone.
  std::map<std::string, Tensor> tensors;
  for (const auto& [key, entry] : read->tensors()) tensors[key] = entry.view();
  write_safetensors(at("reduced.safetensors"), tensors, {{"ss_output_name", "fox"}});
  EXPECT_GT(std::filesystem::file_size(at("reduced.safetensors")), 0x110000u);
  EXPECT_EQ(read->metadata().at("sshs_legacy_hash"), legacy_model_hash(at("reduced.safetensors")));
}

TEST_F(Convert, ADoraKeepsItsMagnitudeThroughPeft) {
  for (const char* name : {"g2_dora_per_output_sd1", "g3_dora_peft_sd1"}) {
    const LoraReader source = bound(golden("lora/" + std::string(name) + ".safetensors"), "sd1");
    for (const char* to : {"peft", "kohya"}) {
      ConvertResult result;
      write_draft(at("d.safetensors"), convert(source, {}, result, progress_), find_lora_naming(to), false, progress_);
      SCOPED_TRACE(std::string(name) + " " + to);
      expect_near(deltas(bound(at("d.safetensors"), "sd1")), deltas(source), 0);
    }
  }
  const LoraReader per_input = bound(golden("lora/g1_dora_per_input_sd1.safetensors"), "sd1");
  ConvertResult result;
  EXPECT_THROW(write_draft(at("e.safetensors"), convert(per_input, {}, result, progress_), find_lora_naming("peft"), false, progress_),
               Error);
}

TEST_F(Convert, DamagedFilesAndNumbersTooLargeLeaveNothingBehind) {
  const auto nan =
      made_lora("nan.safetensors", 4, 4, {}, {{"lora_unet_mid_block_attentions_0_proj_out.diff", torch::full({64, 64, 1, 1}, NAN)}});
  const auto large =
      made_lora("large.safetensors", 4, 4, {}, {{"lora_unet_mid_block_attentions_0_proj_out.diff", torch::full({64, 64, 1, 1}, 1e6)}});
  const int before = files();
  for (const auto& file : {nan, large}) {
    const std::string error = error_of([&] {
      const LoraReader reader = unbound(file, "sd1");
      ConvertResult result;
      write_draft(at("out.safetensors"), convert(reader, {.dtype = torch::kHalf}, result, progress_), find_lora_naming("kohya"), false,
                  progress_);
    });
    EXPECT_NE(error.find("NaN or infinity"), std::string::npos) << error;
  }
  for (const char* file : {"edge_truncated", "edge_empty", "edge_bad_header_len", "edge_no_tensors"})
    EXPECT_THROW(unbound(golden("lora/" + std::string(file) + ".safetensors"), "sd1"), Error) << file;
  EXPECT_EQ(files(), before);
  EXPECT_THROW(refuse_input_as_output(nan, {large, at("./nan.safetensors")}), Error);
}

TEST_F(Convert, ADiskThatIsFullIsAnErrorAndNothingIsLeft) {
  const auto file = made_lora("a.safetensors", 64, 4);
  const std::string before = read_bytes(file);
  const LoraReader reader = unbound(file, "sd1");
  ConvertResult result;
  LoraDraft draft = convert(reader, {}, result, progress_);
  // A limit on the size of files fails the writing as a full disk does.
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  const rlimit small{20000, old.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  const std::string error = error_of([&] { write_draft(at("b.safetensors"), draft, find_lora_naming("kohya"), false, progress_); });
  setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, handler);
  EXPECT_NE(error.find("cannot write"), std::string::npos) << error;
  EXPECT_EQ(files(), 1);
  EXPECT_EQ(read_bytes(file), before);
}

class Resize : public testing::LoraFolder {};

TEST_F(Resize, IsTheBestApproximationAndSaysHowFarItIsOff) {
  for (const char* name : {"a1_kohya_linear_sd1", "b1_locon_sd1", "b2_locon_cp_sd1", "d1_peft_sd1", "d2_peft_adapter_model_sd1",
                           "c1_diffusers_attnproc_sd1"}) {
    SCOPED_TRACE(name);
    const LoraReader source = unbound(golden("lora/" + std::string(name) + ".safetensors"), "sd1");
    const auto wanted = deltas(source);
    ResizeResult result;
    write_draft(at("r.safetensors"), resize(source, {{.rank = 2}, torch::kFloat}, result, progress_), naming_of(source), false,
                progress_);
    const LoraReader small = unbound(at("r.safetensors"), "sd1");
    EXPECT_EQ(result.layers.size(), wanted.size());
    for (const LayerResult& layer : result.layers) {
      EXPECT_EQ(small.load(layer.path).adapter->rank(), 2);
      const Tensor exact = wanted.at(layer.path).weight.to(torch::kDouble);
      const Tensor values = torch::linalg_svdvals(exact);
      const double tail = (values.slice(0, 2).norm() / values.norm()).item<double>();
      EXPECT_NEAR(((read_change(small, layer.path).matrix() - exact).norm() / exact.norm()).item<double>(), tail, 5e-6) << layer.path;
      EXPECT_NEAR(layer.error, tail, 5e-6);
    }
  }
}

TEST_F(Resize, KeepsScaleSpellingTypeAndOtherKinds) {
  const auto file = made_lora("a.safetensors", 8, 4, {{"ss_network_dim", "8"}, {"ss_network_alpha", "4"}},
                              {{"lora_unet_mid_block_attentions_0_proj_out.diff", torch::randn({64, 64, 1, 1})}});
  const LoraReader source = unbound(file, "sd1");
  ResizeResult result;
  write_draft(at("r.safetensors"), resize(source, {{.rank = 4, .conv_rank = 2}, {}}, result, progress_), naming_of(source), false,
              progress_);
  const auto small = LoraFile::open(at("r.safetensors"));
  EXPECT_EQ(result.carried, std::vector<std::string>{"unet.mid_block.attentions.0.proj_out"});
  const std::string linear = "lora_unet_mid_block_attentions_0_proj_in", conv = "lora_unet_down_blocks_1_resnets_0_conv1";
  EXPECT_EQ(small->tensors().at(linear + ".lora_down.weight").stored_dtype, "F16");
  EXPECT_EQ(small->tensors().at(linear + ".alpha").view().item<float>(), 2);
  EXPECT_EQ(small->tensors().at(conv + ".lora_down.weight").shape[0], 2);
  EXPECT_EQ(small->metadata().at("ss_network_dim"), "Dynamic");
  EXPECT_EQ(history_of(small->metadata()).back()["former"]["ss_network_dim"], "8");
}

TEST_F(Resize, ARankLargerThanEveryLayerIsRefused) {
  const LoraReader source = unbound(made_lora("a.safetensors", 8, 4), "sd1");
  ResizeResult result;
  const std::string error = error_of([&] { resize(source, {{.rank = 5000}}, result, progress_); });
  EXPECT_NE(error.find("is larger than any of the layers"), std::string::npos) << error;
}

TEST_F(Resize, ADorasInnerLoraIsResized) {
  const LoraReader source = bound(golden("lora/g2_dora_per_output_sd1.safetensors"), "sd1");
  ResizeResult result;
  const auto wanted = deltas(source);
  write_draft(at("r.safetensors"), resize(source, {{.rank = 32}, torch::kFloat}, result, progress_), naming_of(source), false, progress_);
  EXPECT_EQ(result.layers.size(), wanted.size());
  expect_near(deltas(bound(at("r.safetensors"), "sd1")), wanted, 1e-5);  // the factors are other ones, their product is the same
}

class Edit : public testing::LoraFolder {};

TEST_F(Edit, ChangesTheTextsAndNoTensor) {
  const auto file = made_lora("a.safetensors", 4, 4, {{"ss_output_name", "old"}, {"ss_seed", "1"}});
  const std::string hash = auto_v3(file);
  edit_metadata(file, {{{"ss_output_name", "fox"}, {"modelspec.trigger_phrase", "red fox"}}, {"ss_seed"}}, file, progress_);
  const auto edited = LoraFile::open(file);
  EXPECT_EQ(auto_v3(file), hash);
  EXPECT_EQ(edited->metadata().at("sshs_model_hash"), hash);
  EXPECT_EQ(edited->summary().alias, "fox");
  EXPECT_EQ(edited->summary().trigger_phrase, "red fox");
  EXPECT_FALSE(edited->metadata().contains("ss_seed"));
  EXPECT_EQ(history_of(edited->metadata()).back()["former"], (nlohmann::ordered_json{{"ss_output_name", "old"}, {"ss_seed", "1"}}));
  EXPECT_EQ(files(), 1);
}

TEST_F(Edit, RefusesWhatItCannotDo) {
  const auto file = made_lora("a.safetensors", 4, 4, {{"ss_output_name", "old"}});
  const std::string before = read_bytes(file);
  EXPECT_THROW(edit_metadata(file, {}, file, progress_), Error);
  EXPECT_THROW(edit_metadata(file, {{}, {"ss_output"}}, file, progress_), Error);
  EXPECT_THROW(edit_metadata(file, {{{"sshs_model_hash", "x"}}, {}}, file, progress_), Error);
  EXPECT_THROW(edit_metadata(file, {{{"ss_output_name", "\xff"}}, {}}, file, progress_), Error);
  EXPECT_EQ(read_bytes(file), before);
}

}  // namespace
}  // namespace lorikeet
