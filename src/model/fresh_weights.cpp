#include "model/fresh_weights.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/tensor_file.h"
#include "model/checkpoint.h"
#include "nn/spelling.h"

namespace lorikeet {

namespace {

// FNV-1a: a stable seed for each name.
uint64_t hash_of(std::string_view name, uint64_t seed) {
  uint64_t hash = 1469598103934665603ULL ^ seed;
  for (const unsigned char c : name) hash = (hash ^ c) * 1099511628211ULL;
  return hash;
}

// The end of a residual branch of the U-Net, or its last convolution.
bool ends_branch(const std::string& name) {
  return name.starts_with("unet.") && (name.ends_with(".conv2.weight") || name.ends_with(".proj_out.weight") || name == "unet.conv_out.weight");
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
  return made_[name] = start_ == FreshStart::training && ends_branch(name) ? torch::zeros(shape) : make(name, shape, seed_);
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

// Which of the text encoders a file stores in OpenCLIP's layout, and where.
struct TextPlace {
  std::string prefix;
  bool open_clip;
};

TextPlace text_place(const ModelSpec& spec, const std::string& component) {
  for (size_t i = 0; i < spec.text_encoders.size(); ++i) {
    const ClipConfig& text = spec.text_encoders[i];
    if (text.component != component) continue;
    const bool open_clip = text.padding_id == 0;  // OpenCLIP's tokenizer fills with 0
    const std::string root = spec.text_encoders.size() == 1 ? "cond_stage_model." : "conditioner.embedders." + std::to_string(i) + ".";
    return {root + (open_clip ? "model." : "transformer."), open_clip};
  }
  throw Error(ErrorKind::internal, "the model has no component " + component);
}

// `name` is without the component. q, k and v come one by one; each takes its third of the fused tensor.
void put_open_clip(std::map<std::string, Tensor>& file, const std::string& prefix, const std::string& name, const Tensor& tensor) {
  const std::string key = prefix + open_clip_spelling(name);
  if (const int part = fused_part(name); part >= 0) {
    Tensor& fused = file[key];
    Shape shape = tensor.sizes().vec();
    const int64_t rows = shape[0];
    shape[0] *= 3;
    if (!fused.defined()) fused = torch::empty(shape, tensor.options());
    fused.narrow(0, part * rows, rows).copy_(tensor);
  } else {
    file[key] = key.ends_with("text_projection") ? tensor.t().contiguous() : tensor;
  }
}

// Stable Diffusion 2's single file has one layer more than is used: the last one stands there twice.
void repeat_last_layer(std::map<std::string, Tensor>& file, const std::string& prefix, int64_t layers) {
  const std::string blocks = prefix + "transformer.resblocks.", last = blocks + std::to_string(layers - 1) + ".";
  std::map<std::string, Tensor> more;
  for (const auto& [key, tensor] : file) {
    if (key.starts_with(last)) more[blocks + std::to_string(layers) + "." + key.substr(last.size())] = tensor.clone();
  }
  file.merge(more);
}

}  // namespace

std::map<std::string, Tensor> single_file_weights(const std::map<std::string, Tensor>& weights, const ModelSpec& spec) {
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
    } else if (const TextPlace place = text_place(spec, component); place.open_clip) {
      put_open_clip(file, place.prefix, rest, tensor);
    } else {
      file[place.prefix + rest] = tensor;
    }
  }
  const ClipConfig& first = spec.text_encoders.front();
  if (const TextPlace place = text_place(spec, first.component); place.open_clip) repeat_last_layer(file, place.prefix, first.layers);
  return file;
}

void write_fresh_checkpoint(const std::filesystem::path& path, const ModelSpec& spec, const FreshWeights& fresh) {
  LayerMap layers;
  const Weights weights(fresh, layers, Compute{});
  for (const ClipConfig& text : spec.text_encoders) ClipTextModel(text, weights / text.component);
  UNet(spec.unet, weights / "unet");
  Vae(spec.vae, weights / "vae");
  std::map<std::string, Tensor> file = single_file_weights(fresh.made(), spec);
  for (auto& [name, tensor] : file) tensor = tensor.to(torch::kHalf);
  write_safetensors(path, file, {{"lorikeet.config", config_text(spec)}});
}

std::string config_text(const ModelSpec& spec) {
  nlohmann::json config{{"scaling_factor", spec.latent.scale},
                        {"unet",
                         {{"num_attention_heads", spec.unet.heads},
                          {"norm_num_groups", spec.unet.groups},
                          {"addition_time_embed_dim", spec.unet.time_id_width}}},
                        {"vae", {{"norm_num_groups", spec.vae.groups}}}};
  if (!spec.prediction.empty()) config["prediction_type"] = spec.prediction == "v" ? "v_prediction" : spec.prediction;
  if (spec.zero_terminal_snr) config["zero_terminal_snr"] = true;
  for (const ClipConfig& text : spec.text_encoders) {
    config[text.component] = {{"num_attention_heads", text.heads}, {"hidden_act", text.quick_gelu ? "quick_gelu" : "gelu"}};
  }
  return config.dump();
}

}  // namespace lorikeet
