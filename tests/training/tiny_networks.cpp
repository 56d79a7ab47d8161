#include "training/tiny_networks.h"

#include "training/random.h"
#include "training/text_source.h"

namespace lorikeet::testing {

std::shared_ptr<Networks> tiny_networks(const ScratchFolder& folder, std::string_view family, bool inpainting) {
  const auto model = tiny_model(family, inpainting);
  const auto path = folder / (std::string(family) + (inpainting ? "-inpainting" : "") + ".safetensors");
  write_single_file(path, model, file_of(model));
  return load_networks(path, {}, plan_compute("cpu", "f32"));
}

Tensor answer(const Networks& networks, const Trainable* trainable, const std::string& text) {
  std::vector<int64_t> widths;
  for (const auto& encoder : networks.text_encoders) widths.push_back(encoder->config().width);
  EmbeddingStore words(widths);
  if (trainable && trainable->embedding()) words.add(*trainable->embedding());
  const std::vector<std::string> texts(2, text);
  const EncodedTexts encoded = encode_texts(networks, texts, words, {});
  UNetInput input;
  input.x = normal_tensor({2, networks.spec.unet.in_channels, 8, 8}, 5);
  input.timestep = torch::tensor({100.0F, 700.0F});
  input.context = encoded.context;
  if (networks.spec.pooled) {
    input.pooled = encoded.pooled;
    input.time_ids = torch::tensor({64.0F, 64.0F, 0.0F, 0.0F, 64.0F, 64.0F}).expand({2, 6});
  }
  return networks.unet->forward(input);
}

std::vector<NamedTensor> parameters(const Trainable& trainable) {
  std::vector<NamedTensor> all;
  for (const ParameterGroup& group : trainable.groups()) all.insert(all.end(), group.parameters.begin(), group.parameters.end());
  return all;
}

void disturb(const Trainable& trainable, double deviation) {
  torch::NoGradGuard no_grad;
  uint64_t number = 0;
  for (NamedTensor& named : parameters(trainable))
    named.tensor.add_(deviation * normal_tensor(named.tensor.sizes().vec(), random_bits(9, named.name, number++)));
}

}  // namespace lorikeet::testing
