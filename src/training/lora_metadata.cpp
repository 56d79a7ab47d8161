#include "training/lora_metadata.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "training/captions.h"

namespace lorikeet {
namespace {

using Json = nlohmann::json;
using Metadata = std::map<std::string, std::string>;

// Entries that share a prefix, in Python's words.
class Entries {
 public:
  Entries(Metadata& metadata, std::string prefix) : metadata_(metadata), prefix_(std::move(prefix)) {}

  void put(const char* name, const std::string& text) { metadata_[prefix_ + name] = text; }
  void put(const char* name, const char* text) { put(name, std::string(text)); }
  void put(const char* name, bool value) { put(name, value ? "True" : "False"); }
  void put(const char* name, double value) { put(name, format_number(value)); }
  void put(const char* name, int64_t value) { put(name, std::to_string(value)); }
  void put(const char* name, int value) { put(name, std::to_string(value)); }
  void put(const char* name, const Json& value) { put(name, value.dump()); }
  // What is off, or not known, is None.
  void put_if(bool known, const char* name, double value) { known ? put(name, value) : put(name, "None"); }
  void put_known(const char* name, const std::string& text) {
    if (!text.empty()) put(name, text);
  }

 private:
  Metadata& metadata_;
  std::string prefix_;
};

// kohya's network modules, and LyCORIS' name of the algorithm ("" for kohya's own).
struct NetworkWords {
  std::string_view kind, module, algorithm;
  bool ranks;
};
constexpr std::array<NetworkWords, 7> kNetworks{{
    {"lora", "networks.lora", "", true},
    {"locon", "networks.lora", "", true},
    {"dora", "lycoris.kohya", "lora", true},
    {"loha", "lycoris.kohya", "loha", true},
    {"lokr", "lycoris.kohya", "lokr", true},
    {"ia3", "lycoris.kohya", "ia3", false},
    {"full", "lycoris.kohya", "full", false},
}};

const NetworkWords& network_words(const std::string& kind) {
  const auto* found = std::ranges::find(kNetworks, kind, &NetworkWords::kind);
  if (found == kNetworks.end()) throw Error(ErrorKind::internal, "no words for the kind " + kind);
  return *found;
}

bool trains_convolutions(const TrainConfig& config) { return config.kind == "locon" || config.targets == "all" || config.conv_rank; }

// The network's further arguments: texts, as they stand on kohya's command line.
Json network_args(const TrainConfig& config, const NetworkWords& words) {
  Json args = Json::object();
  if (!words.algorithm.empty()) args["algo"] = words.algorithm;
  if (config.kind == "dora") args["dora_wd"] = "True";
  if (config.kind == "lokr") args["factor"] = std::to_string(config.lokr_factor);
  if (words.ranks && trains_convolutions(config)) {
    const int rank = config.conv_rank.value_or(config.rank);
    args["conv_dim"] = std::to_string(rank);
    args["conv_alpha"] = format_number(config.conv_alpha.value_or(config.alpha.value_or(config.rank) * rank / config.rank));
  }
  if (config.rank_stabilised) args["rs_lora"] = "True";
  if (config.rank_dropout > 0) args["rank_dropout"] = format_number(config.rank_dropout);
  if (config.module_dropout > 0) args["module_dropout"] = format_number(config.module_dropout);
  if (config.lora_plus_ratio != 1) args["loraplus_lr_ratio"] = format_number(config.lora_plus_ratio);
  return args;
}

void add_network(Entries& ss, const TrainConfig& config) {
  if (!trains_adapters(config.method)) return;
  const NetworkWords& words = network_words(config.kind);
  ss.put("network_module", std::string(words.module));
  ss.put_if(words.ranks, "network_dim", config.rank);
  ss.put_if(words.ranks, "network_alpha", config.alpha.value_or(config.rank));
  ss.put_if(config.dropout > 0, "network_dropout", config.dropout);
  ss.put("network_args", network_args(config, words));
}

void add_model(Entries& ss, const ModelSpec& spec, const RunFacts& facts) {
  ss.put("base_model_version", std::string(spec.base_version));
  ss.put("v2", spec.base_version == "sd_v2");
  ss.put_known("sd_model_name", facts.base_name);
  ss.put_known("sd_model_hash", facts.base_legacy_hash);
  ss.put_known("new_sd_model_hash", facts.base_sha256);
  ss.put_known("vae_name", facts.vae_name);
  ss.put_known("vae_hash", facts.vae_legacy_hash);
  ss.put_known("new_vae_hash", facts.vae_sha256);
}

// kohya's names of the loss, of precisions.
std::string loss_word(LossKind loss) {
  switch (loss) {
    case LossKind::mse: return "l2";
    case LossKind::huber: return "huber";
    case LossKind::smooth_l1: return "smooth_l1";
  }
  throw Error(ErrorKind::internal, "a loss without a name");
}
std::string precision_word(const std::string& precision) { return precision == "f16" ? "fp16" : precision == "bf16" ? "bf16" : "no"; }

void add_rates(Entries& ss, const TrainConfig& config) {
  ss.put("learning_rate", config.learning_rate);
  ss.put_if(config.train_unet, "unet_lr", config.learning_rate);
  ss.put_if(config.train_text_encoder, "text_encoder_lr", config.text_learning_rate.value_or(config.learning_rate));
  ss.put("lr_scheduler", config.lr_schedule);
  ss.put("lr_warmup_steps", config.warmup_steps);
  ss.put("optimizer", config.optimizer + "(weight_decay=" + format_number(config.weight_decay) + ")");
  ss.put("max_grad_norm", config.max_grad_norm);
}

void add_loss(Entries& ss, const TrainConfig& config) {
  ss.put("loss_type", loss_word(config.loss));
  ss.put_if(config.loss != LossKind::mse, "huber_c", config.huber_delta);
  ss.put_if(config.min_snr_gamma > 0, "min_snr_gamma", config.min_snr_gamma);
  ss.put("debiased_estimation", config.debiased);
  ss.put_if(config.noise_offset > 0, "noise_offset", config.noise_offset);
  ss.put_if(config.multires_iterations > 0, "multires_noise_iterations", config.multires_iterations);
  ss.put("multires_noise_discount", config.multires_discount);
  ss.put("zero_terminal_snr", config.zero_terminal_snr);
  ss.put("prior_loss_weight", config.prior_loss_weight);
}

void add_captions(Entries& ss, const TrainConfig& config) {
  ss.put("shuffle_caption", config.shuffle_tags);
  ss.put("keep_tokens", config.keep_tags);
  ss.put("caption_dropout_rate", config.caption_dropout);
  ss.put("caption_tag_dropout_rate", config.tag_dropout);
  ss.put("caption_dropout_every_n_epochs", 0);
  ss.put_if(config.clip_skip > 0, "clip_skip", config.clip_skip);
  ss.put("max_token_length", "None");
}

void add_run(Entries& ss, const TrainConfig& config, const RunFacts& facts) {
  ss.put("output_name", config.out);
  ss.put("session_id", static_cast<int64_t>(facts.started_at));
  ss.put("training_started_at", facts.started_at);
  ss.put("training_finished_at", facts.finished_at);
  ss.put("seed", config.seed);
  ss.put("training_comment", config.comment.empty() ? "None" : config.comment);
  ss.put("mixed_precision", precision_word(facts.precision));
  ss.put("full_fp16", false);
  ss.put("lowram", false);
  ss.put("gradient_checkpointing", config.gradient_checkpointing);
  ss.put("gradient_accumulation_steps", config.accumulation);
  ss.put("cache_latents", config.cache_latents);
  ss.put("num_batches_per_epoch", facts.batches_per_epoch);
  ss.put("num_epochs", facts.epochs);
  ss.put("epoch", facts.epoch);
  ss.put("steps", facts.steps);
  ss.put("max_train_steps", facts.all_steps);
  ss.put("batch_size_per_device", config.batch_size);
  ss.put("total_batch_size", static_cast<int64_t>(config.batch_size) * config.accumulation * facts.processes);
}

int64_t count_of(const RunFacts& facts, bool is_class) {
  int64_t count = 0;
  for (const RunFacts::Set& set : facts.sets)
    if (set.is_class == is_class) count += set.repeats * set.pictures;
  return count;
}

Json folders(const RunFacts& facts, bool is_class) {
  Json json = Json::object();
  for (const RunFacts::Set& set : facts.sets)
    if (set.is_class == is_class) json[set.name] = {{"n_repeats", set.repeats}, {"img_count", set.pictures}};
  return json;
}

// Of each folder the most frequent: captions that are sentences give as many tags as there are pictures, more than a small LoRA weighs.
Json tag_frequencies(const RunFacts& facts) {
  constexpr size_t kMostTags = 1000;
  Json json = Json::object();
  for (const RunFacts::Set& set : facts.sets) {
    std::vector<std::pair<std::string, int64_t>> tags(set.tags.begin(), set.tags.end());
    std::ranges::stable_sort(tags, std::greater(), &std::pair<std::string, int64_t>::second);
    tags.resize(std::min(tags.size(), kMostTags));
    Json& kept = json[set.name] = Json::object();
    for (const auto& [tag, count] : tags) kept[tag] = count;
  }
  return json;
}

Json bucket_info(const RunFacts& facts) {
  Json buckets = Json::object();
  for (size_t i = 0; i < facts.buckets.size(); ++i) {
    const auto& [bucket, pictures] = facts.buckets[i];
    buckets[std::to_string(i)] = {{"resolution", {bucket.width_px, bucket.height_px}}, {"count", pictures}};
  }
  return {{"buckets", buckets}};
}

// The data set as kohya lists it, and the same again in the single entries that older readers know.
void add_pictures(Entries& ss, const TrainConfig& config, const RunFacts& facts) {
  const Json tags = tag_frequencies(facts), buckets = bucket_info(facts);
  ss.put("num_train_images", count_of(facts, false));
  ss.put("num_reg_images", count_of(facts, true));
  ss.put("num_validation_images", facts.validation_pictures);
  ss.put("tag_frequency", tags);
  ss.put("dataset_dirs", folders(facts, false));
  ss.put("reg_dataset_dirs", folders(facts, true));
  ss.put("bucket_info", buckets);
  ss.put("resolution", "(" + std::to_string(config.width) + ", " + std::to_string(config.height) + ")");
  ss.put("enable_bucket", config.buckets);
  ss.put("bucket_no_upscale", config.bucket_scaling == BucketScaling::down);
  ss.put("min_bucket_reso", config.bucket_least);
  ss.put("max_bucket_reso", config.bucket_most);
  ss.put("flip_aug", config.flip);
  ss.put("color_aug", false);
  ss.put("random_crop", false);
  const Json set{{"is_dreambooth", true},
                 {"batch_size_per_device", config.batch_size},
                 {"num_train_images", count_of(facts, false)},
                 {"num_reg_images", count_of(facts, true)},
                 {"resolution", {config.width, config.height}},
                 {"enable_bucket", config.buckets},
                 {"tag_frequency", tags},
                 {"bucket_info", buckets}};
  ss.put("datasets", Json::array({set}));
}

// "2026-08-23T00:34:28", UTC
std::string iso_time(double seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  gmtime_r(&time, &parts);
  std::array<char, 32> text{};
  const size_t length = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  return {text.data(), length};
}

std::string trigger_phrase(const TrainConfig& config) {
  if (!trains_word(config.method) || config.token.empty() || config.token == config.trigger) return config.trigger;
  return config.trigger.empty() ? config.token : config.token + ", " + config.trigger;
}

// What the file is beside a checkpoint, as the specification's architecture has it.
std::string_view form_of(TrainMethod method) {
  return method == TrainMethod::full ? "" : method == TrainMethod::textual_inversion ? "/textual-inversion" : "/lora";
}

// "more of \"old\" with multipliers above 0, of \"young\" below 0", for people who read the file's card.
std::string meaning_of_slider(const TrainConfig& config) {
  return "a slider for \"" + config.slider_target + "\": multipliers above 0 give \"" + config.slider_positive + "\", below 0 \"" +
         config.slider_negative + "\"";
}
std::string usage_of_slider(const TrainConfig& config) {
  const std::string most = format_number(kSliderRange);
  return "<lora:" + config.out + ":1>, or any multiplier from -" + most + " to " + most;
}
std::string description(const TrainConfig& config) {
  if (config.method != TrainMethod::slider) return config.comment;
  return config.comment + (config.comment.empty() ? "" : "; ") + meaning_of_slider(config);
}

// For programs: docs/formats.md.
Json slider_json(const TrainConfig& config) {
  return {{"positive", config.slider_positive}, {"negative", config.slider_negative}, {"target", config.slider_target},
          {"least", -kSliderRange}, {"most", kSliderRange}};
}

void add_modelspec(Entries& spec_entries, const TrainConfig& config, const ModelSpec& spec, const RunFacts& facts) {
  const bool v = spec.prediction == "v";
  spec_entries.put("sai_model_spec", "1.0.1");
  spec_entries.put("architecture", std::string(v ? spec.architecture_v : spec.architecture) + std::string(form_of(config.method)));
  // Whose names the tensors have: the single-file checkpoint's, or diffusers' (kohya's rule; its SDXL U-Net has the former).
  const bool original = !trains_adapters(config.method);
  spec_entries.put("implementation",
                   original || spec.text_encoders.size() > 1 ? "https://github.com/Stability-AI/generative-models" : "diffusers");
  spec_entries.put("title", config.title.empty() ? config.out : config.title);
  spec_entries.put("date", iso_time(facts.finished_at));
  spec_entries.put("resolution", std::to_string(config.width) + "x" + std::to_string(config.height));
  spec_entries.put("prediction_type", v ? "v" : "epsilon");
  spec_entries.put_known("author", config.author);
  spec_entries.put_known("description", description(config));
  if (config.method == TrainMethod::slider) spec_entries.put("usage_hint", usage_of_slider(config));
  spec_entries.put_known("trigger_phrase", trigger_phrase(config));
  if (config.timestep_least > 0 || config.timestep_most < 999)
    spec_entries.put("timestep_range", std::to_string(config.timestep_least) + "," + std::to_string(config.timestep_most));
  if (config.clip_skip > 0) spec_entries.put("encoder_layer", config.clip_skip);
}

}  // namespace

void add_dataset(RunFacts& facts, const Dataset& dataset) {
  std::map<std::pair<bool, std::string>, std::vector<std::string>> captions;
  std::vector<int64_t> in_bucket(dataset.buckets.size(), 0);
  for (const TrainPicture& picture : dataset.pictures) {
    if (picture.path.empty()) continue;
    auto set =
        std::ranges::find_if(facts.sets, [&](const auto& one) { return one.name == picture.set && one.is_class == picture.is_class; });
    if (set == facts.sets.end()) set = facts.sets.insert(facts.sets.end(), {picture.set, picture.repeats, 0, picture.is_class, {}});
    ++set->pictures;
    captions[{picture.is_class, picture.set}].push_back(picture.caption);
    in_bucket.at(picture.bucket) += picture.repeats;
  }
  for (RunFacts::Set& set : facts.sets) set.tags = tag_frequency(captions[{set.is_class, set.name}]);
  for (size_t i = 0; i < in_bucket.size(); ++i)
    if (in_bucket[i] > 0) facts.buckets.push_back({dataset.buckets[i], in_bucket[i]});
  facts.validation_pictures = static_cast<int64_t>(dataset.validation.size());
}

Metadata training_metadata(const TrainConfig& config, const ModelSpec& spec, const RunFacts& facts) {
  Metadata metadata;
  Entries ss(metadata, "ss_"), modelspec(metadata, "modelspec."), own(metadata, "lorikeet.");
  add_run(ss, config, facts);
  add_model(ss, spec, facts);
  add_network(ss, config);
  add_rates(ss, config);
  add_loss(ss, config);
  add_captions(ss, config);
  add_pictures(ss, config, facts);
  add_modelspec(modelspec, config, spec, facts);
  own.put("loss", facts.loss);
  if (config.method == TrainMethod::slider) own.put("slider", slider_json(config));
  if (facts.best_step) own.put("best_step", *facts.best_step);
  return metadata;
}

}  // namespace lorikeet
