// What all families read off the shapes of a checkpoint, and the small configuration where shapes cannot tell.
#pragma once
#include "model/spec.h"

namespace lorikeet {

// Widths, depths, projection kind, context width; `head_count` gives the heads of a level by its channels when no configuration does.
UNetConfig unet_from_shapes(const Checkpoint& checkpoint, int64_t (*head_count)(int64_t channels));
VaeConfig vae_from_shapes(const Checkpoint& checkpoint);
// Heads are width / 64 when no configuration says otherwise. Sets padding, GELU kind by `open_clip`.
ClipConfig clip_from_shapes(const Checkpoint& checkpoint, const std::string& component, bool open_clip);

// "epsilon", "v" or "": from the configuration, the keys v_pred and ztsnr, the metadata.
std::string stated_prediction(const Checkpoint& checkpoint);
bool stated_zero_terminal_snr(const Checkpoint& checkpoint);

// Fills unet, vae, latent, prediction and label; `label` is the family's.
void describe_common(ModelSpec& spec, const Checkpoint& checkpoint, std::string_view label);

// Width of what the cross-attention reads: 768 (SD1), 1024 (SD2), 2048 (SDXL); the tiny models' are their text encoders' widths.
std::optional<int64_t> context_width(const Checkpoint& checkpoint);

}  // namespace lorikeet
