#include "training/config.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>

#include "base/error.h"
#include "io/fields_json.h"
#include "training/lr_schedule.h"
#include "training/optimizer.h"

using namespace lorikeet;
namespace fs = std::filesystem;

namespace {
bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

TrainConfig usual() {
  TrainConfig config;
  config.images = "photos/robot/";
  return config;
}

TrainConfig slider() {
  TrainConfig config;
  config.method = TrainMethod::slider;
  config.slider_target = "person", config.slider_positive = "old person", config.slider_negative = "young person";
  config.out = "age";
  return config;
}

template <class Work>
std::string refusal_of(const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::bad_input);
    return error.what();
  }
  return {};
}

std::string refusal(const std::function<void(TrainConfig&)>& change) {
  TrainConfig config = usual();
  change(config);
  return refusal_of([&] { checked(config); });
}

std::string refusal_of_toml(const std::string& text) {
  return refusal_of([&] { from_toml(text); });
}

// Every member away from its default.
struct ChangeAll {
  void operator()(int& value, const Field& field) const {
    value = value < field.range.most ? static_cast<int>(std::max(value + 1.0, field.range.least)) : value - 1;
  }
  void operator()(int64_t& value, const Field&) const { value = 9007199254740993; }  // more than a double can hold
  void operator()(double& value, const Field& field) const { value = value + 0.1 <= field.range.most ? value + 0.1 : value / 3; }
  void operator()(bool& value, const Field&) const { value = !value; }
  void operator()(std::string& value, const Field& field) const {
    if (field.choices)
      value = field.choices().back().name;
    else
      value = "a \"b\" \\ 'c' # [d] = \t\n\x01\x7f \xE7\x81\xAF" + std::string(field.name);
  }
  void operator()(std::vector<std::string>& value, const Field&) const { value = {"", "x=y", "\"\"\"\n'''"}; }
  template <class T>
  void operator()(std::optional<T>& value, const Field&) const {
    value = static_cast<T>(0.75) + (std::is_integral_v<T> ? 3 : 0);
  }
  template <Enum E>
  void operator()(E& value, const Field&) const {
    value = static_cast<E>(choices(E{}).size() - 1);
  }
};

TrainConfig all_changed() {
  TrainConfig config;
  const ChangeAll change;
  fields(change, config);
  return config;
}
}  // namespace

TEST(TrainConfig, EverySettingHasItsOwnNameFlagHelpAndGroup) {
  std::set<std::string> names, groups;
  for (const FieldInfo& info : train_field_list()) {
    EXPECT_TRUE(names.insert(std::string(info.field.name)).second) << info.field.name;
    EXPECT_TRUE(names.insert(info.flag).second) << info.flag;
    EXPECT_EQ(info.field.help.back(), '.') << info.field.name;
    groups.insert(std::string(info.field.group.name));
    for (const auto flag : {info.field.flags}) EXPECT_TRUE(flag.empty() || names.insert(std::string(flag)).second) << flag;
    if (info.default_text.empty()) continue;
    TrainConfig config;
    read_field(config, info.field.name, info.default_text);
    EXPECT_EQ(config, TrainConfig()) << info.field.name;
  }
  EXPECT_EQ(groups, (std::set<std::string>{"run", "what", "slider", "pictures", "loss", "steps", "trust", "file"}));
  EXPECT_EQ(differing_fields(all_changed(), TrainConfig{}).size(), train_field_list().size());  // fields() has each member
}

TEST(TrainConfig, ChoicesAreTheListsOfWhatThereIs) {
  EXPECT_EQ(optimizer_choices().size(), optimizers().size());
  EXPECT_EQ(lr_schedule_choices().size(), lr_schedules().size());
  std::set<std::string_view> kinds;
  for (const Choice& choice : kind_choices()) kinds.insert(choice.name);
  EXPECT_EQ(kinds, (std::set<std::string_view>{"lora", "locon", "loha", "lokr", "dora", "ia3", "full"}));
}

TEST(TrainConfig, WhatFollowsIsFilledIn) {
  const TrainConfig config = checked(usual());
  EXPECT_EQ(config.out, "robot");
  EXPECT_EQ(config.run_dir, "runs/robot");
  TrainConfig other = usual();
  other.images = "photos/cat/metadata.jsonl";
  EXPECT_EQ(checked(other).out, "cat");
  other.images = "photos/cats.JSONL";
  EXPECT_EQ(checked(other).out, "cats");
  other.out = "sks-robot.safetensors";
  other.run_dir = "elsewhere";
  EXPECT_EQ(checked(other).out, "sks-robot");
  EXPECT_EQ(checked(other).run_dir, "elsewhere");
  other.optimizer = "AdamW";
  other.kind = "LoCon";
  other.rank = 8;
  other.conv_rank = 4;
  other.alpha = 2;
  EXPECT_EQ(checked(other).optimizer, "adamw");
  EXPECT_EQ(checked(other).kind, "locon");
  EXPECT_EQ(checked(other).conv_alpha, 1);  // 2 / 8 = 1 / 4
  other.method = TrainMethod::pivotal;
  other.trigger = " sks robot ";
  EXPECT_EQ(checked(other).token, "sks robot");
}

TEST(TrainConfig, ANewWordIsCalledByTheNameOfItsFile) {
  TrainConfig config = usual();
  config.method = TrainMethod::textual_inversion;
  config.token = "sks-robot";
  EXPECT_EQ(checked(config).out, "sks-robot");
  config.token = "<rob>";
  EXPECT_EQ(checked(config).out, "rob");
  config.token.clear();
  config.trigger = "sks robot";
  EXPECT_EQ(checked(config).out, "sks robot");
  config.out = "given";
  EXPECT_EQ(checked(config).out, "given");
  config.out.clear();
  config.method = TrainMethod::pivotal;
  EXPECT_EQ(checked(config).out, "robot");
}

TEST(TrainConfig, ASliderNeedsNoPicturesButItsPrompts) {
  TrainConfig config = slider();
  EXPECT_EQ(checked(config).slider_neutral, "person");
  EXPECT_EQ(checked(config).steps, 500);
  EXPECT_FALSE(checked(config).train_text_encoder);
  config.steps = 20;
  EXPECT_EQ(checked(config).steps, 20);
  struct Fault {
    std::function<void(TrainConfig&)> change;
    std::string part;
  };
  const std::vector<Fault> faults{{[](auto& c) { c.slider_target = " "; }, "--target"},
                                  {[](auto& c) { c.slider_positive = ""; }, "--positive"},
                                  {[](auto& c) { c.slider_negative = ""; }, "--negative"},
                                  {[](auto& c) { c.slider_preserve = {"woman", ""}; }, "--preserve"},
                                  {[](auto& c) { c.slider_negative = "old person "; }, "no direction"},
                                  {[](auto& c) { c.out = ""; }, "--out"},
                                  {[](auto& c) { c.warmup_steps = 600; }, "500 steps"},
                                  {[](auto& c) { c.images = "photos"; }, "images is set"},
                                  {[](auto& c) { c.trigger = "sks"; }, "trigger is set"},
                                  {[](auto& c) { c.min_snr_gamma = 5; }, "min_snr_gamma is set"},
                                  {[](auto& c) { c.epochs = 3; }, "epochs is set"},
                                  {[](auto& c) { c.text_learning_rate = 1e-5; }, "text_learning_rate is set"}};
  for (const Fault& fault : faults) {
    TrainConfig broken = slider();
    fault.change(broken);
    const std::string text = refusal_of([&] { checked(broken); });
    EXPECT_TRUE(has(text, fault.part)) << fault.part << ": " << text;
  }
}

TEST(TrainConfig, WhatAMethodOffersIsWhatItTakes) {
  std::set<std::string_view> offered;
  for (const FieldInfo& info : train_field_list(TrainMethod::slider)) offered.insert(info.field.name);
  EXPECT_TRUE(offered.contains("slider_positive") && offered.contains("rank") && offered.contains("clip_skip"));
  const TrainConfig other = all_changed();
  for (const FieldInfo& info : train_field_list()) {
    if (offered.contains(info.field.name)) continue;
    const std::string name(info.field.name);
    std::string text;
    visit_field(other, name, [&](const auto& member, const Field&) { text = text_of(member); });
    TrainConfig config = slider();
    read_field(config, name, text);
    EXPECT_TRUE(has(refusal_of([&] { checked(config); }), name + " is set, but it has an effect only with")) << name;
  }
}

TEST(TrainConfig, CheckingTwiceChangesNothing) {
  const std::vector<std::function<void(TrainConfig&)>> changes{
      [](TrainConfig&) {},
      [](TrainConfig& c) { c.method = TrainMethod::textual_inversion, c.trigger = "robot"; },
      [](TrainConfig& c) { c.method = TrainMethod::pivotal, c.token = "<robot>", c.alpha = 3, c.targets = "ALL"; },
      [](TrainConfig& c) { c.method = TrainMethod::full, c.zero_terminal_snr = true; },
      [](TrainConfig& c) { c.method = TrainMethod::autoencoder; },
      [](TrainConfig& c) { c.kind = "ia3"; },
      [](TrainConfig& c) { c.optimizer = "schedule_free_adamw"; },
      [](TrainConfig& c) { c.class_images = "class", c.class_prompt = "a robot", c.class_count = 20; }};
  for (const auto& change : changes) {
    TrainConfig config = usual();
    change(config);
    const TrainConfig once = checked(config);
    EXPECT_EQ(differing_fields(checked(once), once), std::vector<std::string>{}) << to_toml(once);
    EXPECT_EQ(checked(from_toml(to_toml(once))), once);
  }
  const TrainConfig once = checked(slider());
  EXPECT_EQ(checked(once), once);
  EXPECT_EQ(checked(from_toml(to_toml(once))), once);
}

TEST(TrainConfig, EveryRangeIsChecked) {
  for (const FieldInfo& info : train_field_list()) {
    if (info.type != FieldType::whole_number && info.type != FieldType::number) continue;
    for (const double value : {info.field.range.least - 1, info.field.range.most + 1}) {
      if (std::abs(value) > 2147483646) continue;
      const std::string text =
          refusal([&](TrainConfig& c) { read_field(c, info.field.name, std::to_string(static_cast<int64_t>(value))); });
      EXPECT_TRUE(has(text, info.field.name) && has(text, "range")) << info.field.name << " " << value << ": " << text;
    }
  }
}

TEST(TrainConfig, FaultsSayWhatWouldDo) {
  struct Fault {
    std::function<void(TrainConfig&)> change;
    std::vector<std::string> parts;
  };
  const std::vector<Fault> faults{
      {[](auto& c) { c.images = ""; }, {"no pictures", "--images"}},
      {[](auto& c) { c.optimizer = "adam"; }, {"\"adam\" is not a value of optimizer", "did you mean adamw"}},
      {[](auto& c) { c.lr_schedule = "cosin"; }, {"lr_schedule", "cosine"}},
      {[](auto& c) { c.kind = "lorra"; }, {"kind", "did you mean lora"}},
      {[](auto& c) { c.rank = 0; }, {"rank is 0", "from 1 to"}},
      {[](auto& c) { c.learning_rate = std::nan(""); }, {"learning_rate is nan"}},
      {[](auto& c) { c.learning_rate = 0; }, {"learning rate is 0"}},
      {[](auto& c) { c.targets = "atention"; }, {"targets", "attention"}},
      {[](auto& c) { c.targets = "regex:a("; }, {"regular expression"}},
      {[](auto& c) { c.block_ranks = {"up_blocks"}; }, {"\"up_blocks\" is no rank", "PATTERN=RANK"}},
      {[](auto& c) { c.block_ranks = {"up=-1"}; }, {"up=-1"}},
      {[](auto& c) { c.block_ranks = {"[=4"}; }, {"regular expression"}},
      {[](auto& c) { c.train_unet = c.train_text_encoder = false; }, {"neither"}},
      {[](auto& c) { c.bucket_least = 2048; }, {"bucket_least 2048", "bucket_most 1024"}},
      {[](auto& c) { c.bucket_step = 20; }, {"bucket_step"}},
      {[](auto& c) { c.buckets = false, c.width = 500; }, {"width is 500", "8"}},
      {[](auto& c) { c.class_prompt = "a robot"; }, {"class_prompt", "--class-images"}},
      {[](auto& c) { c.validate_every = 5, c.validation_share = 0.1, c.validation_images = "v"; }, {"both"}},
      {[](auto& c) { c.sample_every = 5; }, {"--sample-prompt"}},
      {[](auto& c) { c.sample_every = 5, c.sample_prompts = {"a fox", "a fox <lora:monet:x>"}; }, {"sample prompt", "<lora:monet:x>", "holds a LoRA"}},
      {[](auto& c) { c.class_images = "foxes", c.class_prompt = "a fox <lora:monet>"; }, {"class prompt", "holds a LoRA"}},
      {[](auto& c) { c.timestep_least = 600, c.timestep_most = 500; }, {"timestep_least 600", "500"}},
      {[](auto& c) { c.zero_terminal_snr = true, c.prediction = "eps"; }, {"zero_terminal_snr", "--prediction v"}},
      {[](auto& c) { c.steps = 10, c.warmup_steps = 10; }, {"warmup_steps 10", "10 steps"}},
      {[](auto& c) { c.batch_size = 4096, c.accumulation = 65536; }, {"268435456 pictures"}},
      {[](auto& c) { c.device = "gpu"; }, {"\"gpu\" is no device"}},
      {[](auto& c) { c.device = "cuda:x"; }, {"device"}},
      {[](auto& c) { c.precision = "f8"; }, {"precision"}},
      {[](auto& c) { c.out = "a/b"; }, {"\"a/b\"", "--run-dir"}},
      {[](auto& c) { c.out = "a:b"; }, {"\"a:b\""}},
      {[](auto& c) { c.out = ".hidden"; }, {".hidden"}},
      {[](auto& c) { c.method = TrainMethod::textual_inversion; }, {"new word has no name", "--token"}},
      {[](auto& c) { c.method = TrainMethod::pivotal, c.token = "a, b"; }, {"\"a, b\""}},
      {[](auto& c) { c.method = TrainMethod::pivotal, c.token = "a", c.train_unet = c.train_text_encoder = false; }, {"textual_inversion"}},
      {[](auto& c) { c.title = "\xff"; }, {"title", "UTF-8"}},
  };
  for (size_t i = 0; i < faults.size(); ++i) {
    const std::string text = refusal(faults[i].change);
    for (const std::string& part : faults[i].parts) EXPECT_TRUE(has(text, part)) << i << " wants " << part << ": " << text;
  }
}

TEST(TrainConfig, SettingsWithoutEffectAreNotPassedOver) {
  struct Idle {
    std::string_view setting, text;
    std::function<void(TrainConfig&)> others;
  };
  const auto none = [](TrainConfig&) {};
  const std::vector<Idle> idle{{"rank", "16", [](auto& c) { c.method = TrainMethod::full; }},
                               {"targets", "all", [](auto& c) { c.method = TrainMethod::textual_inversion, c.token = "x"; }},
                               {"token", "robot", none},
                               {"text_learning_rate", "1e-5", [](auto& c) { c.train_text_encoder = false; }},
                               {"train_unet", "false", [](auto& c) { c.method = TrainMethod::autoencoder; }},
                               {"min_snr_gamma", "5", [](auto& c) { c.method = TrainMethod::autoencoder; }},
                               {"conv_rank", "4", none},
                               {"class_count", "50", none},
                               {"class_count", "50", [](auto& c) { c.class_images = "class"; }},
                               {"prior_loss_weight", "0.5", none},
                               {"slider_positive", "old", none},
                               {"trigger", "sks", [](auto& c) { c.method = TrainMethod::autoencoder; }},
                               {"bucket_step", "32", [](auto& c) { c.buckets = false; }},
                               {"keep_tags", "2", none},
                               {"caption_variants", "20", [](auto& c) { c.shuffle_tags = true; }},
                               {"huber_delta", "0.5", none},
                               {"multires_discount", "0.5", none},
                               {"lr_schedule", "cosine", [](auto& c) { c.optimizer = "schedule_free_adamw"; }},
                               {"lr_cycles", "3", none},
                               {"lr_power", "2", none},
                               {"epochs", "3", [](auto& c) { c.steps = 100; }},
                               {"validation_share", "0.1", none},
                               {"sample_prompts", "a robot", none}};
  for (const Idle& one : idle) {
    const auto set = [&](TrainConfig& c) {
      one.others(c);
      read_field(c, one.setting, one.text);
    };
    const std::string text = refusal(set);
    EXPECT_TRUE(has(text, std::string(one.setting) + " is set, but it has an effect only with")) << one.setting << ": " << text;
    EXPECT_EQ(refusal(one.others), "") << one.setting;  // it is this setting
  }
}

TEST(TrainToml, ACompleteCopyComesBackExactly) {
  for (const TrainConfig& config : {TrainConfig{}, usual(), all_changed()}) {
    const std::string text = to_toml(config);
    EXPECT_EQ(differing_fields(from_toml(text), config), std::vector<std::string>{}) << text;
    EXPECT_EQ(from_toml(text, all_changed()).rank, config.rank);
    EXPECT_EQ(to_toml(from_toml(text)), text);
  }
  TrainConfig precise;
  for (const double rate : {1e-4, 1e-300, 0.1 + 0.2, 5e-324, 1.0, 100.0 / 3}) {
    precise.learning_rate = rate;
    EXPECT_EQ(from_toml(to_toml(precise)).learning_rate, rate);
  }
}

TEST(TrainToml, TheCopyNamesAndExplainsEverySetting) {
  const std::string text = to_toml({});
  for (const FieldInfo& info : train_field_list()) {
    EXPECT_TRUE(has(text, "# " + std::string(info.field.help))) << info.field.name;
    EXPECT_TRUE(has(text, "\n" + std::string(info.field.name) + " =") || has(text, "\n# " + std::string(info.field.name) + " ="))
        << info.field.name;
  }
  for (const char* group : {"[run]", "[what]", "[slider]", "[pictures]", "[loss]", "[steps]", "[trust]", "[file]"})
    EXPECT_TRUE(has(text, group)) << group;
  EXPECT_TRUE(has(text, "One of lora, textual_inversion"));
}

TEST(TrainToml, ShortFilesNeedNoGroupsAndKeepTheRest) {
  TrainConfig base;
  base.rank = 32;
  const TrainConfig config =
      from_toml("images = 'photos'\nlearning_rate = 1  # much\nblock_ranks = [\n  'a=1',\n  'b=2' ]\n\n[file]\nformat = \"PEFT\"\n", base);
  EXPECT_EQ(config.images, "photos");
  EXPECT_EQ(config.rank, 32);
  EXPECT_EQ(config.learning_rate, 1);
  EXPECT_EQ(config.block_ranks, (std::vector<std::string>{"a=1", "b=2"}));
  EXPECT_EQ(config.format, LoraFormat::peft);
  EXPECT_EQ(from_toml("sample_prompts = \"one\"").sample_prompts, std::vector<std::string>{"one"});
  EXPECT_EQ(from_toml(""), TrainConfig{});
}

TEST(TrainToml, FaultsNameTheLineAndWhatIsNear) {
  const std::vector<std::pair<std::string, std::vector<std::string>>> faults{
      {"rank = 8\nrnak = 8\n", {"line 2", "\"rnak\"", "did you mean rank"}},
      {"[wat]\nrank = 8\n", {"line 1", "[wat]", "[what]"}},
      {"\n[run]\nrank = 8\n", {"line 3", "[run]", "[what]"}},
      {"rank = 8\n[what]\nrank = 9\n", {"line 3", "second time", "line 1"}},
      {"rank = 8\nrank = 9\n", {"line 2"}},
      {"rank = \"many\"", {"line 1", "whole number"}},
      {"rank = 8.5", {"line 1", "whole number"}},
      {"rank = 0", {"line 1", "out of range"}},
      {"learning_rate = nan", {"line 1", "learning_rate"}},
      {"learning_rate = inf", {"line 1", "learning_rate"}},
      {"\noptimizer = \"adamm\"", {"line 2", "adamw"}},
      {"trigger = 2024-01-01", {"line 1"}},
      {"flip = 1", {"line 1", "true or false"}},
      {"block_ranks = [1]", {"line 1", "list of texts"}},
      {"[what.rank]\na = 1", {"line 1"}},
      {"rank = ", {"line 1", "no TOML"}},
      {"rank 8", {"line 1", "no TOML"}},
      {"trigger = \"\xff\"", {"no TOML"}},
  };
  for (const auto& [text, parts] : faults) {
    const std::string error = refusal_of_toml(text);
    for (const std::string& part : parts) EXPECT_TRUE(has(error, part)) << text << "\nwants " << part << ": " << error;
  }
}

TEST(TrainToml, ChangedBytesAreReadOrRefusedAndNothingElse) {
  const std::string whole = to_toml(all_changed());
  uint64_t chance = 1;
  const auto below = [&](size_t bound) {
    chance = chance * 6364136223846793005u + 1442695040888963407u;  // Knuth's linear congruential generator
    return static_cast<size_t>(chance >> 33) % bound;
  };
  const std::string signs = "[]{}=\"'\\\n#.,0eE-_+\xff\x80 tfu";
  int refused = 0;
  for (int i = 0; i < 1500; ++i) {
    std::string text = whole.substr(0, i % 3 == 0 ? below(whole.size()) : whole.size());
    for (size_t n = below(4); n-- > 0 && !text.empty();) text[below(text.size())] = signs[below(signs.size())];
    try {
      const TrainConfig config = from_toml(text);
      EXPECT_EQ(from_toml(to_toml(config)), config);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::bad_input);
      EXPECT_TRUE(has(error.message(), "line ")) << error.what();
      ++refused;
    }
  }
  EXPECT_GT(refused, 500);
  EXPECT_LT(refused, 1500);
}

TEST(TrainToml, FilesAreNamedInErrors) {
  const fs::path path = fs::temp_directory_path() / "lorikeet_config_test.toml";
  std::ofstream(path) << "rank = 8\nrnak = 9\n";
  const std::string text = refusal_of([&] { read_train_config(path); });
  EXPECT_TRUE(has(text, path.string()) && has(text, "line 2")) << text;
  fs::remove(path);
  EXPECT_THROW(read_train_config(path), Error);
  EXPECT_THROW(read_train_config(fs::temp_directory_path()), Error);
}
