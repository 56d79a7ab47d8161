// What a trained file says about itself, as other programs and our own reader find it.
#include "training/lora_metadata.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "lora/file.h"
#include "training/tiny_networks.h"

namespace lorikeet {
namespace {

using testing::ScratchFolder;
using testing::tiny_networks;

ModelSpec spec_of(std::string_view family) {
  const ScratchFolder folder;
  return tiny_networks(folder, family)->spec;
}

TrainConfig config_of() {
  TrainConfig config;
  config.out = "sks-robot";
  config.trigger = "sks robot";
  config.alpha = 4;
  return config;
}

RunFacts facts_of() {
  RunFacts facts;
  facts.base_name = "base.safetensors";
  facts.base_legacy_hash = "81761151";
  facts.base_sha256 = std::string(64, 'a');
  facts.sets = {{"10_sks robot", 10, 3, false, {{"sks robot", 3}, {"on a \"table\"", 1}}}, {"1_robot", 1, 20, true, {{"robot", 20}}}};
  facts.buckets = {{{512, 512}, 20}, {{448, 576}, 10}};
  facts.batches_per_epoch = 30;
  facts.epochs = 10;
  facts.epoch = 4;
  facts.steps = 120;
  facts.all_steps = 300;
  facts.processes = 2;
  facts.started_at = 1700000000.5;
  facts.finished_at = 1700003600;
  facts.precision = "bf16";
  facts.best_step = 100;
  return facts;
}

TEST(Metadata, SaysWhatKohyasToolsLookFor) {
  TrainConfig config = config_of();
  config.width = config.height = 512;
  config.batch_size = 2;
  config.accumulation = 3;
  const auto metadata = training_metadata(config, spec_of("sd1"), facts_of());
  const std::map<std::string, std::string> wanted{{"ss_output_name", "sks-robot"},
                                                  {"ss_base_model_version", "sd_v1"},
                                                  {"ss_v2", "False"},
                                                  {"ss_network_module", "networks.lora"},
                                                  {"ss_network_dim", "8"},
                                                  {"ss_network_alpha", "4"},
                                                  {"ss_network_dropout", "None"},
                                                  {"ss_network_args", "{}"},
                                                  {"ss_learning_rate", "0.0001"},
                                                  {"ss_num_train_images", "30"},
                                                  {"ss_num_reg_images", "20"},
                                                  {"ss_num_batches_per_epoch", "30"},
                                                  {"ss_epoch", "4"},
                                                  {"ss_steps", "120"},
                                                  {"ss_max_train_steps", "300"},
                                                  {"ss_total_batch_size", "12"},
                                                  {"ss_mixed_precision", "bf16"},
                                                  {"ss_sd_model_name", "base.safetensors"},
                                                  {"ss_sd_model_hash", "81761151"},
                                                  {"ss_training_started_at", "1700000000.5"},
                                                  {"ss_resolution", "(512, 512)"},
                                                  {"ss_min_snr_gamma", "None"},
                                                  {"modelspec.sai_model_spec", "1.0.1"},
                                                  {"modelspec.architecture", "stable-diffusion-v1/lora"},
                                                  {"modelspec.implementation", "diffusers"},
                                                  {"modelspec.title", "sks-robot"},
                                                  {"modelspec.date", "2023-11-14T23:13:20"},
                                                  {"modelspec.resolution", "512x512"},
                                                  {"modelspec.prediction_type", "epsilon"},
                                                  {"modelspec.trigger_phrase", "sks robot"}};
  for (const auto& [key, text] : wanted) EXPECT_EQ(metadata.at(key), text) << key;
  // The list of kohya's own entries that programs show.
  for (const char* key : {"ss_session_id",
                          "ss_training_finished_at",
                          "ss_unet_lr",
                          "ss_text_encoder_lr",
                          "ss_lr_scheduler",
                          "ss_lr_warmup_steps",
                          "ss_optimizer",
                          "ss_max_grad_norm",
                          "ss_seed",
                          "ss_clip_skip",
                          "ss_max_token_length",
                          "ss_cache_latents",
                          "ss_lowram",
                          "ss_noise_offset",
                          "ss_multires_noise_iterations",
                          "ss_zero_terminal_snr",
                          "ss_training_comment",
                          "ss_caption_dropout_rate",
                          "ss_caption_tag_dropout_rate",
                          "ss_prior_loss_weight",
                          "ss_debiased_estimation",
                          "ss_loss_type",
                          "ss_datasets",
                          "ss_dataset_dirs",
                          "ss_reg_dataset_dirs",
                          "ss_bucket_info",
                          "ss_flip_aug",
                          "ss_random_crop",
                          "ss_shuffle_caption",
                          "ss_enable_bucket",
                          "ss_bucket_no_upscale",
                          "ss_min_bucket_reso",
                          "ss_max_bucket_reso",
                          "ss_keep_tokens",
                          "ss_gradient_checkpointing",
                          "ss_gradient_accumulation_steps",
                          "ss_num_epochs",
                          "ss_new_sd_model_hash"})
    EXPECT_TRUE(metadata.contains(key)) << key;
}

TEST(Metadata, KeepsTagsByFolder) {
  const auto metadata = training_metadata(config_of(), spec_of("sd1"), facts_of());
  const auto tags = nlohmann::json::parse(metadata.at("ss_tag_frequency"));
  EXPECT_EQ(tags.at("10_sks robot").at("on a \"table\""), 1);
  EXPECT_EQ(tags.at("1_robot").at("robot"), 20);
  const auto folders = nlohmann::json::parse(metadata.at("ss_dataset_dirs"));
  EXPECT_EQ(folders, nlohmann::json::parse(R"({"10_sks robot": {"n_repeats": 10, "img_count": 3}})"));
  EXPECT_EQ(nlohmann::json::parse(metadata.at("ss_datasets"))[0].at("bucket_info").at("buckets").at("1").at("count"), 10);
}

TEST(Metadata, OfVeryManyTagsTheMostFrequentAreKept) {
  RunFacts facts = facts_of();
  facts.sets[0].tags.clear();
  for (int i = 0; i < 3000; ++i) facts.sets[0].tags["sentence " + std::to_string(i)] = i < 2995 ? 1 : i;
  const auto metadata = training_metadata(config_of(), spec_of("sd1"), facts);
  const auto tags = nlohmann::json::parse(metadata.at("ss_tag_frequency")).at("10_sks robot");
  EXPECT_EQ(tags.size(), 1000u);
  for (int i = 2995; i < 3000; ++i) EXPECT_EQ(tags.at("sentence " + std::to_string(i)), i);
}

TEST(Metadata, CountsADataSet) {
  Dataset dataset;
  dataset.buckets = {{512, 512}, {448, 576}, {576, 448}};
  const auto add = [&](const char* set, const char* caption, bool is_class, size_t bucket) {
    TrainPicture picture;
    picture.path = "picture.png";
    picture.set = set;
    picture.caption = caption;
    picture.is_class = is_class;
    picture.repeats = is_class ? 1 : 5;
    picture.bucket = bucket;
    dataset.pictures.push_back(picture);
  };
  add("5_fox", "fox, snow", false, 0);
  add("5_fox", "fox", false, 1);
  add("5_fox", "an animal", true, 1);
  dataset.pictures.emplace_back().caption = "no picture";  // a slider's row
  RunFacts facts;
  add_dataset(facts, dataset);
  ASSERT_EQ(facts.sets.size(), 2U);
  EXPECT_EQ(facts.sets[0].pictures, 2);
  EXPECT_EQ(facts.sets[0].tags, (std::map<std::string, int64_t>{{"fox", 2}, {"snow", 1}}));
  EXPECT_TRUE(facts.sets[1].is_class);
  ASSERT_EQ(facts.buckets.size(), 2U);  // the third is empty
  EXPECT_EQ(facts.buckets[1].pictures, 6);
}

TEST(Metadata, NamesTheNetworkOfEveryKind) {
  const ModelSpec spec = spec_of("sd1");
  for (const Choice& kind : kind_choices()) {
    TrainConfig config = config_of();
    config.kind = kind.name;
    const auto metadata = training_metadata(config, spec, facts_of());
    const bool kohyas = kind.name == "lora" || kind.name == "locon";
    EXPECT_EQ(metadata.at("ss_network_module"), kohyas ? "networks.lora" : "lycoris.kohya") << kind.name;
    const auto args = nlohmann::json::parse(metadata.at("ss_network_args"));
    EXPECT_EQ(args.contains("algo"), !kohyas) << kind.name;
    EXPECT_EQ(args.contains("conv_dim"), kind.name == "locon") << kind.name;
    EXPECT_EQ(args.contains("dora_wd"), kind.name == "dora") << kind.name;
  }
}

TEST(Metadata, OfASliderSaysWhichWayIsWhich) {
  TrainConfig config = config_of();
  config.method = TrainMethod::slider;
  config.trigger.clear();
  config.out = "age";
  config.slider_target = "person", config.slider_positive = "\"very\" old person", config.slider_negative = "young person";
  const auto metadata = training_metadata(config, spec_of("sd1"), {});
  const auto slider = nlohmann::json::parse(metadata.at("lorikeet.slider"));
  EXPECT_EQ(slider, nlohmann::json::parse(R"({"positive": "\"very\" old person", "negative": "young person", "target": "person", "least": -2, "most": 2})"));
  EXPECT_NE(metadata.at("modelspec.description").find("below 0 \"young person\""), std::string::npos);
  EXPECT_NE(metadata.at("modelspec.usage_hint").find("<lora:age:1>"), std::string::npos);
  EXPECT_EQ(metadata.at("ss_num_train_images"), "0");
  EXPECT_EQ(metadata.at("ss_tag_frequency"), "{}");
  EXPECT_EQ(metadata.at("ss_network_module"), "networks.lora");
  config.comment = "mine";
  EXPECT_EQ(training_metadata(config, spec_of("sd1"), {}).at("modelspec.description").substr(0, 6), "mine; ");
}

TEST(Metadata, NamesTheArchitectureOfEveryFamilyAndMethod) {
  TrainConfig config = config_of();
  const auto architecture = [&](const ModelSpec& spec) { return training_metadata(config, spec, facts_of()).at("modelspec.architecture"); };
  ModelSpec sd2 = spec_of("sd2");
  sd2.prediction = "v";
  EXPECT_EQ(architecture(sd2), "stable-diffusion-v2-768-v/lora");
  EXPECT_EQ(training_metadata(config, sd2, facts_of()).at("ss_v2"), "True");
  sd2.prediction = "epsilon";
  EXPECT_EQ(architecture(sd2), "stable-diffusion-v2-512/lora");
  const ModelSpec sdxl = spec_of("sdxl");
  EXPECT_EQ(architecture(sdxl), "stable-diffusion-xl-v1-base/lora");
  config.method = TrainMethod::textual_inversion;
  EXPECT_EQ(architecture(sdxl), "stable-diffusion-xl-v1-base/textual-inversion");
  EXPECT_FALSE(training_metadata(config, sdxl, facts_of()).contains("ss_network_module"));
  config.method = TrainMethod::full;
  EXPECT_EQ(architecture(spec_of("sd1")), "stable-diffusion-v1");
}

TEST(Metadata, IsWhatOurOwnReaderShows) {
  const ScratchFolder folder;
  for (const char* family : {"sd1", "sd2", "sdxl"}) {
    const auto networks = tiny_networks(folder, family);
    const TrainConfig config = config_of();
    make_trainable(*networks, config)->save(folder / "file.safetensors", training_metadata(config, networks->spec, facts_of()));
    const LoraSummary summary = LoraFile::open(folder / "file.safetensors")->summary();
    EXPECT_EQ(summary.alias, "sks-robot");
    EXPECT_EQ(summary.claimed_family, family);
    EXPECT_EQ(summary.trigger_phrase, "sks robot");
    EXPECT_EQ(summary.tags.front(), (std::pair<std::string, int64_t>{"robot", 20}));
    EXPECT_EQ(summary.ranks.begin()->first, 8);
  }
}

}  // namespace
}  // namespace lorikeet
