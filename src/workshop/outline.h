// A model's layers without its networks: paths, shapes and weights (views of the file), for tools on files. Nothing is read, converted or
// packed: the networks are built on libtorch's meta device, where tensors have shapes and no numbers, and are dropped again.
#pragma once
#include <string_view>

#include "model/spec.h"
#include "nn/layer.h"

namespace lorikeet {

// The layers of U-Net and text encoders. They cannot be run; base_weight() and base_bias() are the checkpoint's.
LayerMap outline(const Checkpoint& checkpoint, const ModelSpec& spec);

// The layers of the full-size models of all families, without weights; those of `family` (a ModelFamily's id, or its beginning) come first
// where two have a path in common. For LoRA files without a checkpoint.
LayerMap known_layers(std::string_view family);

}  // namespace lorikeet
