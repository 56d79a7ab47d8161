#include "training/full_trainable.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "io/tensor_file.h"
#include "lora/write.h"
#include "model/checkpoint.h"
#include "model/fresh_weights.h"
#include "training/adapter_trainable.h"
#include "training/targets.h"

namespace lorikeet {
namespace {

using Tensors = std::map<std::string, Tensor>;

Tensor leaf(const Tensor& base, const Layer& layer) {
  if (!base.defined()) return {};
  return base.to(layer.compute().device, torch::kFloat, /*non_blocking=*/false, /*copy=*/true).contiguous().set_requires_grad(true);
}

// The parameters of all networks that `trained` lacks, as the base stores them.
Tensors untouched(const Networks& networks, const Tensors& trained) {
  Tensors rest;
  const auto take = [&](const std::string& name) {
    if (trained.contains(name)) return;
    if (const Tensor tensor = networks.checkpoint->find(name); tensor.defined()) rest[name] = tensor;
  };
  for (const auto& [path, layer] : networks.layers) {
    take(path + ".weight");
    take(path + ".bias");
  }
  for (const auto& encoder : networks.text_encoders) take(encoder->config().component + ".text_model.embeddings.position_embedding.weight");
  return rest;
}

bool is_ema(const std::string& key) { return starts_with(key, "model_ema."); }

// What a base of the same layout holds beside the weights that we know (position ids, schedules, an unused logit scale).
void add_the_rest(Tensors& file, const std::filesystem::path& base_path) {
  if (!std::filesystem::is_regular_file(base_path)) return;
  const auto base = TensorFile::open(base_path);
  if (!std::ranges::all_of(file, [&](const auto& entry) { return base->contains(entry.first); })) return;
  for (const auto& [key, entry] : base->tensors())
    if (!is_ema(key) && !file.contains(key)) file[key] = entry.view();
}

}  // namespace

FullTrainable::FullTrainable(const Networks& networks, const TrainConfig& config) : networks_(networks), config_(config) {
  torch::NoGradGuard no_grad;
  const bool autoencoder = config.method == TrainMethod::autoencoder;
  if (!autoencoder && !config.train_unet && !config.train_text_encoder)
    throw Error(ErrorKind::bad_input, "neither the U-Net nor the text encoder is to be trained",
                "leave train_unet or train_text_encoder on");
  for (const auto& [path, layer] : networks.layers) {
    const bool wanted = autoencoder ? starts_with(path, "vae.")
                                    : (config.train_unet && is_unet(path)) || (config.train_text_encoder && is_text_encoder(path));
    if (wanted) parts_.push_back({layer, leaf(layer->base_weight(), *layer), leaf(layer->base_bias(), *layer)});
  }
  networks.checkpoint->release_pages();
}

FullTrainable::~FullTrainable() { detach(); }

std::vector<ParameterGroup> FullTrainable::groups() const {
  ParameterGroup unet{"unet", {}, config_.learning_rate, config_.weight_decay},
      vae{"autoencoder", {}, config_.learning_rate, config_.weight_decay};
  ParameterGroup text{"text_encoder", {}, config_.text_learning_rate.value_or(config_.learning_rate), config_.weight_decay};
  for (const Part& part : parts_) {
    const std::string& path = part.layer->path();
    auto& parameters = (is_unet(path) ? unet : starts_with(path, "vae.") ? vae : text).parameters;
    parameters.push_back({path + ".weight", part.weight});
    if (part.bias.defined()) parameters.push_back({path + ".bias", part.bias});
  }
  std::vector<ParameterGroup> groups;
  for (ParameterGroup* group : {&unet, &text, &vae})
    if (!group->parameters.empty()) groups.push_back(std::move(*group));
  return groups;
}

void FullTrainable::attach() {
  for (const Part& part : parts_) part.layer->set_live([weight = part.weight, bias = part.bias] { return LiveWeight{weight, bias}; });
  attached_ = true;
}

void FullTrainable::detach() {
  if (!attached_) return;
  for (const Part& part : parts_) part.layer->set_live({});
  attached_ = false;
}

void FullTrainable::save(const std::filesystem::path& path, std::map<std::string, std::string> metadata) const {
  with_context("while writing checkpoint " + path.string(), [&] {
    torch::NoGradGuard no_grad;
    Tensors trained;
    for (const ParameterGroup& group : groups())
      for (const NamedTensor& named : group.parameters) trained[named.name] = named.tensor.detach().cpu();
    Tensors file = single_file_weights(trained, networks_.spec);
    std::set<std::string> converted;
    for (const auto& [key, tensor] : file) converted.insert(key);
    file.merge(single_file_weights(untouched(networks_, trained), networks_.spec));
    add_the_rest(file, networks_.checkpoint->path());
    metadata["lorikeet.config"] = config_text(networks_.spec);
    const Dtype dtype = dtype_of(config_.save_dtype);
    write_with_hashes(path, file, std::move(metadata),
                      [&](const std::string& key) { return converted.contains(key) ? dtype : file.at(key).scalar_type(); });
  });
  networks_.checkpoint->release_pages();
}

std::string FullTrainable::describe() const {
  int64_t numbers = 0;
  for (const ParameterGroup& group : groups())
    for (const NamedTensor& named : group.parameters) numbers += named.tensor.numel();
  // Float32 numbers: the weight, its gradient, and two moments.
  constexpr double kBytesEach = 4 * 4, kGibibyte = 1 << 30;
  const auto gigabytes = static_cast<double>(numbers) * kBytesEach / kGibibyte;
  return "all " + count_text(numbers) + " weights of " + std::to_string(parts_.size()) + " layers; with gradients and AdamW's moments " +
         format_number(std::round(gigabytes * 10) / 10) + " GiB";
}

}  // namespace lorikeet
