// Tiny models of every family with random weights, written as the single files that people have.
#pragma once
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>

#include "base/scratch.h"
#include "model/spec.h"

namespace lorikeet::testing {

using Tensors = std::map<std::string, Tensor>;

struct TinyModel {
  ModelSpec spec;
  Tensors weights;  // in diffusers' names: "unet.…", "vae.…", "text_encoder.…"
};

// family: an id of model_families(). Not one width, head count or group count is what the family has by itself.
TinyModel tiny_model(std::string_view family, bool inpainting = false, uint64_t seed = 1);

// The single file's tensors; with its configuration in the metadata.
Tensors file_of(const TinyModel& model);
void write_single_file(const std::filesystem::path& path, const TinyModel& model, const Tensors& tensors);

}  // namespace lorikeet::testing
