// tiny_model FOLDER: writes a tiny SD1 checkpoint with random weights and a LoRA for it into FOLDER/checkpoints and FOLDER/loras, so that
// the program can be tried and tested before there is a trained model. Its pictures are coloured noise.
#include <cstdio>
#include <filesystem>

#include "base/error.h"
#include "io/tensor_file.h"
#include "model/fresh_weights.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;

ModelSpec tiny_spec() {
  ModelSpec spec;
  spec.family = "sd1";
  spec.prediction = "epsilon";
  spec.text_encoders = {ClipConfig{.width = 32, .layers = 2, .heads = 2, .intermediate = 64}};
  spec.unet = UNetConfig{.channels = {32, 64, 64, 64}, .heads = {2, 2, 2, 2}, .context = 32, .groups = 8};
  spec.vae = VaeConfig{.channels = {16, 32, 32, 32}, .groups = 8};
  return spec;
}

// Half precision, as people's checkpoints are.
std::map<std::string, Tensor> halved(const std::map<std::string, Tensor>& tensors) {
  std::map<std::string, Tensor> result;
  for (const auto& [name, tensor] : tensors) result[name] = tensor.to(torch::kHalf);
  return result;
}

// Rank 4 on the cross-attention layers, strong enough to be seen.
void write_lora(const fs::path& path) {
  std::map<std::string, Tensor> tensors;
  auto generator = at::detail::createCPUGenerator(11);
  for (const char* block : {"down_blocks_1_attentions_0", "mid_block_attentions_0", "up_blocks_1_attentions_1"}) {
    for (const char* layer : {"to_q", "to_k", "to_v", "to_out_0"}) {
      const bool context = std::string_view(layer) == "to_k" || std::string_view(layer) == "to_v";
      const std::string module = std::string("lora_unet_") + block + "_transformer_blocks_0_attn2_" + layer;
      tensors[module + ".lora_down.weight"] = torch::randn({4, context ? 32 : 64}, generator);
      tensors[module + ".lora_up.weight"] = torch::randn({64, 4}, generator) * 0.3;
      tensors[module + ".alpha"] = torch::tensor(4.0f);
    }
  }
  write_safetensors(path, halved(tensors), {{"ss_output_name", path.stem().string()}, {"ss_network_dim", "4"}, {"ss_network_alpha", "4"},
                                            {"ss_network_module", "networks.lora"}, {"ss_base_model_version", "sd_v1"},
                                            {"ss_tag_frequency", R"({"1_tiny": {"tiny": 4}})"}});
}

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: tiny_model FOLDER\n");
    return 2;
  }
  try {
    const std::filesystem::path folder = argv[1];
    std::filesystem::create_directories(folder / "checkpoints");
    std::filesystem::create_directories(folder / "loras");
    lorikeet::write_fresh_checkpoint(folder / "checkpoints" / "tiny.safetensors", lorikeet::tiny_spec(), lorikeet::FreshWeights(7));
    lorikeet::write_lora(folder / "loras" / "tiny-style.safetensors");
  } catch (const lorikeet::Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
  return 0;
}
