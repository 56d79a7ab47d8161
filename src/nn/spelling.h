// The two spellings of a Stable Diffusion module path. Lorikeet speaks diffusers' ("unet.down_blocks.0.resnets.1.conv1");
// single-file checkpoints and many LoRA files speak the original LDM/SGM one ("input_blocks.2.0.in_layers.2").
// Only diffusers -> LDM is written down; whoever needs the way back looks it up in the table of all spelled paths.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace lorikeet {

// `path` without the leading "unet."; also for parameters ("….conv1.weight"). An up-sampler has two candidate places
// (behind the attention or in its stead, by family); the first element is the one behind an attention.
// An unknown path comes back as it is.
std::vector<std::string> ldm_unet_spellings(std::string_view path);

// `path` without "vae.". The attention's to_q, to_k, to_v, to_out.0 are 1×1 convolutions there.
std::string ldm_vae_spelling(std::string_view path);

// `path` without "text_encoder[_2]."; the q, k, v projections are rows of one fused weight in OpenCLIP:
// "transformer.resblocks.0.attn.in_proj", as a parameter "….attn.in_proj_weight" (q above k above v). "text_projection" is stored there as
// [width, projected], without ".weight".
std::string open_clip_spelling(std::string_view path);

}  // namespace lorikeet
