// A tiny model of each family, loaded, and what it answers: for tests of what is trained.
#pragma once
#include <memory>
#include <string_view>

#include "model/networks.h"
#include "model/tiny.h"
#include "training/trainable.h"

namespace lorikeet::testing {

// Loaded from a file in `folder` (float32, so that "equal" can be asked for).
std::shared_ptr<Networks> tiny_networks(const ScratchFolder& folder, std::string_view family, bool inpainting = false);

// What the U-Net says to a fixed input of two rows, conditioned on a text that the text encoders encode; gradients flow. `trainable`: whose
// embedding the text may use, or null. -> [2, 4, 8, 8]
Tensor answer(const Networks& networks, const Trainable* trainable = nullptr, const std::string& text = "a red sks boat");

// The leaves of all groups.
std::vector<NamedTensor> parameters(const Trainable& trainable);
// Adds noise to all of them, as training would.
void disturb(const Trainable& trainable, double deviation = 0.05);

}  // namespace lorikeet::testing
