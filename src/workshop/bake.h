// LoRAs made part of a checkpoint, for good.
#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/progress.h"
#include "lora/surgery/mix.h"
#include "model/checkpoint.h"

namespace lorikeet {

struct BakeOptions {
  std::optional<Dtype> dtype;  // of all floating tensors; nothing: each as stored
};

struct BakeResult {
  int layers = 0, tensors = 0;     // changed ones
  std::vector<std::string> notes;  // for people: what could not be carried over as it was
};

// Writes the checkpoint with the LoRAs in it, in the checkpoint's own layout: a single safetensors file (`output`), or a folder in
// diffusers' layout with the same files. The weights are those that `<lora:…>` tags give, computed in float32 and rounded once; all other
// tensors, texts and files are carried over. `layers`: the checkpoint's outline(), to which the readers are bound. Streams: a window of
// tensors is in memory at a time. Error{bad_input}: nothing to bake, the output is an input or an existing folder; Error{unsupported}: a
// LoRA changes a bias that the checkpoint does not have. Nothing half-written is left.
BakeResult bake(const Checkpoint& checkpoint, const LayerMap& layers, std::span<const MixInput> inputs, const BakeOptions& options,
                const std::filesystem::path& output, Progress& progress);

}  // namespace lorikeet
