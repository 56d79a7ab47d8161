#include "model/fresh_weights.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "nn/spelling.h"

namespace lorikeet {

namespace {

// FNV-1a: a stable seed for each name.
uint64_t hash_of(std::string_view name, uint64_t seed) {
  uint64_t hash = 1469598103934665603ULL ^ seed;
  for (const unsigned char c : name) hash = (hash ^ c) * 1099511628211ULL;
  return hash;
}

Tensor make(const std::string& name, const Shape& shape, uint64_t seed) {
  if (shape.size() == 1) return name.ends_with(".weight") ? torch::ones(shape) : torch::zeros(shape);
  int64_t fan_in = 1;
  for (size_t i = 1; i < shape.size(); ++i) fan_in *= shape[i];
  const double deviation = name.find("embeddings.") != std::string::npos ? 0.02 : 1 / std::sqrt(static_cast<double>(fan_in));
  auto generator = at::detail::createCPUGenerator(hash_of(name, seed));
  return torch::randn(shape, generator) * deviation;
}

}  // namespace

Tensor FreshWeights::find(const std::string& name) const {
  const auto found = made_.find(name);
  return found == made_.end() ? Tensor{} : found->second;
}

Tensor FreshWeights::find_shaped(const std::string& name, const Shape& shape) const {
  if (const Tensor known = find(name); known.defined()) return known;
  if (std::find(shape.begin(), shape.end(), -1) != shape.end()) {
    throw Error(ErrorKind::internal, "fresh weights need a full shape for " + name);
  }
  return made_[name] = make(name, shape, seed_);
}

namespace {

// An up-sampler's place depends on whether attention stands before it.
std::string unet_key(const std::string& name, const std::map<std::string, Tensor>& weights) {
  const auto spellings = ldm_unet_spellings(name);
  const size_t at = name.find(".upsamplers.");
  if (spellings.size() == 1 || at == std::string::npos) return spellings.front();
  const bool attention = weights.contains("unet." + name.substr(0, at) + ".attentions.0.norm.weight");
  return attention ? spellings[0] : spellings[1];
}

}  // namespace

std::map<std::string, Tensor> single_file_weights(const std::map<std::string, Tensor>& weights, const ModelSpec& spec) {
  // One text encoder, in transformers' names, and convolutional projections: Stable Diffusion 1.
  if (spec.text_encoders.size() != 1 || spec.unet.linear_projection) {
    throw Error(ErrorKind::unsupported, spec.label + " cannot be written as a single file", "Stable Diffusion 1.x can");
  }
  std::map<std::string, Tensor> file;
  for (const auto& [name, tensor] : weights) {
    const size_t dot = name.find('.');
    const std::string component = name.substr(0, dot), rest = name.substr(dot + 1);
    if (component == "unet") {
      file["model.diffusion_model." + unet_key(rest, weights)] = tensor;
    } else if (component == "vae") {
      // The autoencoder's attention is made of 1×1 convolutions there.
      const bool attention = rest.find(".attentions.") != std::string::npos && tensor.dim() == 2;
      file["first_stage_model." + ldm_vae_spelling(rest)] = attention ? tensor.reshape({tensor.size(0), tensor.size(1), 1, 1}) : tensor;
    } else {
      file["cond_stage_model.transformer." + rest] = tensor;
    }
  }
  return file;
}

std::string config_text(const ModelSpec& spec) {
  const ClipConfig& text = spec.text_encoders.front();
  return nlohmann::json{{"prediction_type", spec.prediction == "v" ? "v_prediction" : "epsilon"},
                        {"scaling_factor", spec.latent.scale},
                        {"text_encoder", {{"num_attention_heads", text.heads}, {"hidden_act", text.quick_gelu ? "quick_gelu" : "gelu"}}},
                        {"unet", {{"num_attention_heads", spec.unet.heads}, {"norm_num_groups", spec.unet.groups}}},
                        {"vae", {{"norm_num_groups", spec.vae.groups}}}}
      .dump();
}

}  // namespace lorikeet
