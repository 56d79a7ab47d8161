#include "training/config.h"

#include <algorithm>
#include <cmath>
#include <regex>

#include "base/error.h"
#include "base/text.h"
#include "prompt/extra_networks.h"
#include "training/buckets.h"
#include "training/lr_schedule.h"
#include "training/optimizer.h"
#include "training/targets.h"

namespace lorikeet {

namespace {
template <class Rows>
std::vector<Choice> names_of(const Rows& rows) {
  std::vector<Choice> result;
  for (const auto& row : rows) result.push_back({row.name, row.name});
  return result;
}

bool is_slider(const TrainConfig& c) { return c.method == TrainMethod::slider; }
bool has_adapters(const TrainConfig& c) { return trains_adapters(c.method); }
bool has_word(const TrainConfig& c) { return trains_word(c.method); }
// Both networks are there to be trained.
bool has_networks(const TrainConfig& c) { return (has_adapters(c) && !is_slider(c)) || c.method == TrainMethod::full; }
bool has_pictures(const TrainConfig& c) { return takes_pictures(c.method); }
bool has_noise(const TrainConfig& c) { return c.method != TrainMethod::autoencoder; }
bool has_captions(const TrainConfig& c) { return has_pictures(c) && has_noise(c); }
bool has_text_gradients(const TrainConfig& c) { return has_word(c) || (has_networks(c) && c.train_text_encoder); }
bool changes_tags(const TrainConfig& c) { return c.shuffle_tags || c.tag_dropout > 0; }

bool has_convolutions(const TrainConfig& c) { return c.kind == "locon" || c.targets == "all" || starts_with(c.targets, kRegex); }

// Settings that have an effect in some runs only.
struct Dependence {
  std::vector<std::string_view> settings;
  bool (*has_effect)(const TrainConfig& config);
  std::string_view with;  // "… has an effect only with "
};

// What the method alone decides.
const std::vector<Dependence>& by_method() {
  static const std::vector<Dependence> list{
      {{"kind", "rank", "alpha", "conv_rank", "conv_alpha", "rank_stabilised", "init", "targets", "block_ranks", "lokr_factor",
        "lora_plus_ratio", "dropout", "rank_dropout", "module_dropout", "format"},
       has_adapters,
       "method lora, pivotal or slider"},
      {{"token", "vectors", "initial_text", "embedding_learning_rate"}, has_word, "method textual_inversion or pivotal"},
      {{"train_unet", "text_learning_rate"}, has_networks, "method lora, pivotal or full"},
      {{"train_text_encoder"}, [](const TrainConfig& c) { return has_networks(c) || is_slider(c); }, "method lora, pivotal, full or slider"},
      {{"slider_target", "slider_positive", "slider_negative", "slider_neutral", "slider_preserve", "slider_strength", "denoising_steps"},
       is_slider,
       "method slider"},
      {{"images", "validation_images", "validation_share", "repeats", "buckets", "bucket_step", "bucket_least", "bucket_most",
        "bucket_scaling", "flip", "masks", "cache_latents", "cache_text", "strict", "keep_tags", "caption_variants", "class_count",
        "prior_loss_weight", "epochs"},
       has_pictures,
       "a method other than slider, which needs no pictures"},
      {{"trigger", "class_images", "class_prompt", "shuffle_tags", "caption_dropout", "tag_dropout", "loss", "huber_delta", "min_snr_gamma",
        "debiased", "noise_offset", "multires_iterations", "multires_discount", "zero_terminal_snr"},
       has_captions,
       "a method other than autoencoder and slider"},
      {{"clip_skip", "sample_every", "sample_prompts", "prediction", "timestep_least", "timestep_most"}, has_noise,
       "a method other than autoencoder"},
  };
  return list;
}

const std::vector<Dependence>& by_others() {
  using C = const TrainConfig&;
  static const std::vector<Dependence> list{
      {{"text_learning_rate"}, [](C c) { return has_networks(c) && c.train_text_encoder; }, "train_text_encoder"},
      {{"conv_rank", "conv_alpha"}, has_convolutions, "targets that hold convolutions: all, or regex:PATTERN"},
      {{"class_count"}, [](C c) { return !c.class_images.empty() && !c.class_prompt.empty(); }, "class_images and class_prompt"},
      {{"prior_loss_weight"}, [](C c) { return !c.class_images.empty(); }, "class_images"},
      {{"bucket_step", "bucket_least", "bucket_most", "bucket_scaling"}, [](C c) { return c.buckets; }, "buckets"},
      {{"keep_tags"}, changes_tags, "shuffle_tags or tag_dropout"},
      {{"caption_variants"},
       [](C c) { return c.cache_text && changes_tags(c) && !has_text_gradients(c); },
       "cache_text, and shuffle_tags or tag_dropout, and where no text encoder is trained"},
      {{"huber_delta"}, [](C c) { return c.loss != LossKind::mse; }, "loss huber or smooth_l1"},
      {{"multires_discount"}, [](C c) { return c.multires_iterations > 0; }, "multires_iterations"},
      {{"lr_schedule"}, [](C c) { return !find_optimizer(c.optimizer).own_schedule; }, "an optimizer that has no course of its own"},
      {{"lr_cycles"}, [](C c) { return c.lr_schedule == "cosine_with_restarts"; }, "lr_schedule cosine_with_restarts"},
      {{"lr_power"}, [](C c) { return c.lr_schedule == "polynomial"; }, "lr_schedule polynomial"},
      {{"epochs"}, [](C c) { return c.steps == 0; }, "steps 0"},
      {{"validation_images", "validation_share", "validation_pictures"}, [](C c) { return c.validate_every > 0; }, "validate_every"},
      {{"sample_prompts"}, [](C c) { return c.sample_every > 0; }, "sample_every"},
  };
  return list;
}

// Nothing that a person set is passed over.
void check_dependences(const TrainConfig& c) {
  const std::vector<std::string> changed = differing_fields(c, TrainConfig{});
  for (const auto* list : {&by_method(), &by_others()})
    for (const Dependence& one : *list) {
      if (one.has_effect(c)) continue;
      for (const std::string_view setting : one.settings)
        if (std::ranges::find(changed, setting) != changed.end())
          refuse(std::string(setting) + " is set, but it has an effect only with " + std::string(one.with),
                 "leave " + std::string(setting) + " out, or change the other");
    }
}

void check_pattern(const std::string& pattern) {
  try {
    std::regex{pattern};
  } catch (const std::regex_error& error) {
    refuse("\"" + pattern + "\" is no regular expression: " + error.what(), "write one over module paths, like regex:attn2\\.to_[kv]$");
  }
}

void check_what(TrainConfig& c) {
  if (has_networks(c) && !c.train_unet && !c.train_text_encoder)
    refuse("neither the U-Net nor the text encoders are to be trained",
           has_word(c) ? "for new words alone choose --method textual_inversion" : "leave train_unet or train_text_encoder on");
  if (starts_with(c.targets, kRegex)) {
    check_pattern(c.targets.substr(kRegex.size()));
  } else {
    const auto presets = names_of(target_presets());
    c.targets = presets[index_of_choice({.name = "targets (beside regex:PATTERN)", .help = {}}, presets, c.targets)].name;
  }
  for (const std::string& text : c.block_ranks) {
    const size_t at = text.rfind('=');
    const auto rank = at == std::string::npos ? std::nullopt : parse_int(trim(std::string_view(text).substr(at + 1)));
    if (at == 0 || !rank || *rank < 0 || *rank > 4096)
      refuse("\"" + text + "\" is no rank of a block", "write PATTERN=RANK, like up_blocks\\.1=16; rank 0 leaves the layers out");
    check_pattern(text.substr(0, at));
  }
}

// Before the checkpoint is read: a side that it will decide is a multiple of 64 px, so that any such will do.
void check_buckets(TrainConfig c) {
  constexpr int kSomeSidePx = 512;
  for (int* side : {&c.width, &c.height})
    if (*side == 0) *side = kSomeSidePx;
  buckets_of(c);
}

// The network in training is shown as it is: another LoRA would take the place of the one that is being trained.
void refuse_tags(const std::string& prompt, const std::string& what) {
  for (const ExtraNetworkTag& tag : take_extra_networks(prompt).tags)
    if (tag.is_lora()) refuse("the " + what + " \"" + prompt + "\" holds a LoRA", "take <" + tag.type + ":…> out of it; how LoRAs go together is seen with lorikeet generate");
}

void check_pictures(const TrainConfig& c) {
  if (!has_pictures(c)) return;
  if (c.images.empty()) refuse("no pictures are named", "give a folder of pictures: --images FOLDER");
  check_buckets(c);
  if (!c.class_prompt.empty() && c.class_images.empty())
    refuse("class_prompt is given, but no folder for the class pictures", "give one with --class-images; what it lacks is made first");
  if (!c.validation_images.empty() && c.validation_share > 0)
    refuse("validation_images and validation_share are both given", "leave one of the two out");
  if (c.sample_every > 0 && c.sample_prompts.empty() && trim(c.trigger).empty() && trim(c.token).empty())
    refuse("sample pictures are asked for, but there is no prompt for them", "give one with --sample-prompt");
  refuse_tags(c.class_prompt, "class prompt");
}

void check_samples(const TrainConfig& c) {
  for (const std::string& prompt : c.sample_prompts) refuse_tags(prompt, "sample prompt");
}

void check_slider(const TrainConfig& c) {
  if (!is_slider(c)) return;
  const auto need = [](const std::string& prompt, const std::string& what, const std::string& hint) {
    if (trim(prompt).empty()) refuse("the slider has no " + what, hint);
  };
  need(c.slider_target, "target: on what is it to act?", "give one with --target, like \"person\"");
  need(c.slider_positive, "positive prompt: what is there to be more of?", "give one with --positive, like \"old person\"");
  need(c.slider_negative, "negative prompt: what is there to be less of?", "give one with --negative, like \"young person\"");
  for (const std::string& text : c.slider_preserve) need(text, "words in one of its preserve prompts", "leave that --preserve out");
  if (trim(c.slider_positive) == trim(c.slider_negative))
    refuse("positive and negative prompt of the slider are the same: it has no direction", "name the two ends of what it is to move");
  if (trim(c.out).empty()) refuse("the slider has no name", "give one with --out, like age; <lora:age:1> will use it");
}

void check_loss(const TrainConfig& c) {
  if (c.timestep_least > c.timestep_most)
    refuse("no timestep is left: timestep_least " + std::to_string(c.timestep_least) + " is more than timestep_most " +
           std::to_string(c.timestep_most));
  if (c.zero_terminal_snr && c.prediction == "epsilon")
    refuse("zero_terminal_snr does not go with epsilon: at the last timestep the picture cannot be told from the noise",
           "train with --prediction v");
}

void check_steps(const TrainConfig& c) {
  const bool networks = c.learning_rate > 0 || (has_networks(c) && c.train_text_encoder && c.text_learning_rate.value_or(0) > 0);
  const bool words = has_word(c) && c.embedding_learning_rate.value_or(1) > 0;
  const bool only_words = c.method == TrainMethod::textual_inversion;
  if (only_words ? !words : !networks)
    refuse("the learning rate is 0: nothing would be learnt", "a LoRA learns well with --learning-rate 1e-4");
  if (c.steps > 0 && c.warmup_steps >= c.steps)
    refuse("warmup_steps " + std::to_string(c.warmup_steps) + " leaves none of " + std::to_string(c.steps) + " steps",
           "a tenth of the steps is usual");
  constexpr int64_t kMostPictures = 1000000;  // far more than anyone means
  if (int64_t{c.batch_size} * c.accumulation * c.procs > kMostPictures)
    refuse("a step would see " + std::to_string(int64_t{c.batch_size} * c.accumulation * c.procs) + " pictures",
           "batch_size, accumulation and procs are multiplied; make one of them smaller");
}

void check_device(const std::string& device) {
  const bool numbered = starts_with(device, "cuda:") && parse_int(std::string_view(device).substr(5)).value_or(-1) >= 0;
  if (device != "auto" && device != "cpu" && device != "cuda" && !numbered)
    refuse("\"" + device + "\" is no device", "there are auto, cpu, cuda, cuda:0, cuda:1, …");
}

// "photos/robot/" -> "robot"; "photos/robot/metadata.jsonl" -> "robot".
std::string name_of_pictures(const std::string& images) {
  namespace fs = std::filesystem;
  fs::path path = fs::absolute(images).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  if (lower(path.extension().string()) == ".jsonl") path = path.stem() == "metadata" ? path.parent_path() : path.replace_extension();
  return path.filename().string();
}

// A file's name is the word that calls what is in it: "<robot>" -> "robot".
std::string name_of_word(const std::string& token) {
  std::string name(trim(token));
  std::erase_if(name, [](char sign) { return sign == '<' || sign == '>'; });
  return name;
}

void settle_names(TrainConfig& c) {
  constexpr std::string_view kExtension = ".safetensors";
  if (c.out.empty()) c.out = c.method == TrainMethod::textual_inversion ? name_of_word(c.token) : name_of_pictures(c.images);
  if (ends_with(c.out, kExtension)) c.out.resize(c.out.size() - kExtension.size());
  // A file's name, and a name in <lora:NAME:1>.
  const bool control = std::ranges::any_of(c.out, [](unsigned char sign) { return sign < 0x20 || sign == 0x7F; });
  if (c.out.empty() || c.out[0] == '.' || control || c.out.find_first_of("/\\:<>") != std::string::npos)
    refuse("\"" + c.out + "\" cannot be the name of what is trained",
           "give --out a plain name without / \\ : < >; the folder is set with --run-dir");
  if (c.run_dir.empty()) c.run_dir = "runs/" + c.out;
}

void settle_word(TrainConfig& c) {
  if (!has_word(c)) return;
  if (c.token.empty()) c.token = trim(c.trigger);
  if (trim(c.token).empty()) refuse("the new word has no name", "give --token, or a --trigger");
  if (c.token.find_first_of("()[]|:,\\\n") != std::string::npos)
    refuse("the new word \"" + c.token + "\" holds a sign that prompts use otherwise", "take letters, digits, '-', or <angle-brackets>");
}

void settle_slider(TrainConfig& c) {
  if (!is_slider(c)) return;
  constexpr int kSteps = 500;
  c.train_text_encoder = false;
  if (c.steps == 0) c.steps = kSteps;
  if (trim(c.slider_neutral).empty()) c.slider_neutral = c.slider_target;
}

void settle_alpha(TrainConfig& c) {
  if (c.alpha && !c.conv_alpha && has_adapters(c) && has_convolutions(c)) c.conv_alpha = *c.alpha * c.conv_rank.value_or(c.rank) / c.rank;
}
}  // namespace

// In the order of the enums. The labels are kohya's and others' words.
std::span<const Choice> choices(TrainMethod) {
  static constexpr Choice list[] = {
      {"lora", "lora"}, {"textual_inversion", "ti"}, {"pivotal", "pivotal_tuning"}, {"slider", "concept_slider"}, {"full", "dreambooth"}, {"autoencoder", "vae"}};
  return list;
}
std::span<const Choice> choices(AdapterInit) {
  static constexpr Choice list[] = {{"kaiming", "kaiming"}, {"normal", "gaussian"}, {"orthogonal", "orthogonal"}};
  return list;
}
std::span<const Choice> choices(LossKind) {
  static constexpr Choice list[] = {{"mse", "l2"}, {"huber", "huber"}, {"smooth_l1", "smooth_l1"}};
  return list;
}
std::span<const Choice> choices(LoraFormat) {
  static constexpr Choice list[] = {{"kohya", "kohya"}, {"peft", "diffusers"}};
  return list;
}
std::span<const Choice> choices(SaveDtype) {
  static constexpr Choice list[] = {{"f16", "fp16"}, {"bf16", "bfloat16"}, {"f32", "float"}};
  return list;
}
std::span<const Choice> choices(BucketScaling) {
  static constexpr Choice list[] = {{"both", "both"}, {"down", "no_upscale"}};
  return list;
}
std::span<const Choice> precision_choices() {
  static constexpr Choice list[] = {{"auto", "auto"}, {"f32", "float"}, {"bf16", "bfloat16"}, {"f16", "fp16"}};
  return list;
}
std::span<const Choice> prediction_choices() {
  static constexpr Choice list[] = {{"", "checkpoint"}, {"epsilon", "eps"}, {"v", "v_prediction"}};
  return list;
}

std::span<const Choice> kind_choices() {
  static const auto list = [] {
    std::vector<Choice> result;
    for (const AdapterKind& kind : adapter_kinds()) {
      // Normalisations are no matrices: the kind full trains them along with the rest.
      if (kind.create == nullptr || kind.name == "norm") continue;
      result.push_back({kind.name, kind.name});
      if (kind.name == "lora") result.push_back({"locon", "locon"});
    }
    return result;
  }();
  return list;
}

std::span<const Choice> optimizer_choices() {
  static const auto list = names_of(optimizers());
  return list;
}

std::span<const Choice> lr_schedule_choices() {
  static const auto list = names_of(lr_schedules());
  return list;
}

std::span<const FieldInfo> train_field_list() {
  static const auto list = describe_fields<TrainConfig>();
  return list;
}

std::vector<FieldInfo> train_field_list(TrainMethod method) {
  TrainConfig config;
  config.method = method;
  const auto is_idle = [&](std::string_view name) {
    return std::ranges::any_of(by_method(), [&](const Dependence& one) {
      return !one.has_effect(config) && std::ranges::find(one.settings, name) != one.settings.end();
    });
  };
  std::vector<FieldInfo> list;
  for (const FieldInfo& info : train_field_list())
    if (!is_idle(info.field.name)) list.push_back(info);
  return list;
}

bool trains_adapters(TrainMethod method) {
  return method == TrainMethod::lora || method == TrainMethod::pivotal || method == TrainMethod::slider;
}
bool trains_word(TrainMethod method) { return method == TrainMethod::textual_inversion || method == TrainMethod::pivotal; }
bool takes_pictures(TrainMethod method) { return method != TrainMethod::slider; }

TrainConfig checked(TrainConfig config) {
  check_fields(config);
  check_device(config.device);
  check_dependences(config);
  settle_slider(config);
  check_pictures(config);
  check_samples(config);
  check_slider(config);
  check_what(config);
  check_loss(config);
  check_steps(config);
  settle_word(config);
  settle_names(config);
  settle_alpha(config);
  return config;
}

}  // namespace lorikeet
