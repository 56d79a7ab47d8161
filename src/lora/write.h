// Writing LoRA files: layers become keys, in kohya's words or in diffusers' and PEFT's; the hashes by which a library finds a file again
// are put into its metadata. Reading: file.h.
#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/torch.h"
#include "lora/adapter.h"

namespace lorikeet {

// What a file is to hold.
struct LoraContents {
  std::map<std::string, std::vector<NamedTensor>> modules;          // by layer path; as Adapter::tensors() gives them
  std::map<std::string, std::map<std::string, Tensor>> embeddings;  // bundled ones: name -> "emb_params" or "clip_l", "clip_g" -> [n, D]
  std::map<std::string, std::string> metadata;
};

// A way of writing the keys.
struct LoraStyle {
  std::string_view name, summary;
  // The key of a layer's module, through lora_namings().
  std::string (*module)(std::string_view path);
  bool peft;  // PEFT's words for the tensors; alphas as a LoraConfig in the metadata. Holds lora, locon and dora only, and no embeddings
};

// kohya: "lora_unet_down_blocks_0_…", "lora_te_…", as sd-scripts' networks.lora writes for SD1 and SD2.
// kohya-xl: "lora_unet_input_blocks_4_1_…", "lora_te1_…", "lora_te2_…", as it writes for SDXL.
// peft: "unet.down_blocks.0.….lora_A.weight", "text_encoder.…": what diffusers' save_lora_weights() writes and its load_lora_weights()
// takes (loaders/lora_pipeline.py and loaders/lora_base.py at 58eb52c0, August 2026); a "base_model.model." in front, as PEFT's own
// save_pretrained() has it for one component, it does not take.
std::span<const LoraStyle> lora_styles();
const LoraStyle& find_lora_style(std::string_view name);  // Error{bad_input} with the near names
// The one that kohya's scripts use for a model with so many text encoders.
const LoraStyle& kohya_style(size_t text_encoders);

// Writes the file atomically; with the peft style, a file "<stem>.adapter_config.json" beside it (target modules, ranks, alphas by module).
// dtype: of factors and embeddings; an alpha that it cannot hold exactly stays float32. Adds sshs_model_hash, sshs_legacy_hash and
// modelspec.hash_sha256 to the metadata. Error{bad_input}: a tensor that is not finite (in dtype), by the name of its module;
// Error{unsupported}: a layer or tensor that the style has no word for; Error as write_safetensors().
void write_lora(const std::filesystem::path& path, const LoraContents& contents, const LoraStyle& style, Dtype dtype);

// The same for tensors that have their names already: an embedding's file, a checkpoint. cast: the dtype that a tensor is stored in;
// one after the other is converted. The hashes are filled in.
void write_with_hashes(const std::filesystem::path& path, const std::map<std::string, Tensor>& tensors,
                       std::map<std::string, std::string> metadata, const std::function<Dtype(const std::string& name)>& cast);

}  // namespace lorikeet
