// Weights for a model that is to be trained from nothing, and the way of a model's weights into a single file.
#pragma once
#include <filesystem>
#include <map>
#include <string>

#include "model/spec.h"
#include "nn/weights.h"

namespace lorikeet {

// What a fresh model is for. random: every matrix does something, for measuring and testing. training: the last layer of each residual branch of
// the U-Net, and its last one, start at zero, so that the U-Net begins as the identity (zero_module in CompVis' openaimodel.py).
enum class FreshStart { random, training };

// Makes each weight when it is first asked for: matrices and kernels normal with variance 1 / fan-in (LeCun 1998, as torch's and
// diffusers' defaults in effect), gains 1, biases 0, embeddings normal with standard deviation 0.02 (CLIP). The same seed gives the
// same weights in whatever order they are asked for.
class FreshWeights : public WeightSource {
 public:
  explicit FreshWeights(uint64_t seed, FreshStart start = FreshStart::random) : seed_(seed), start_(start) {}
  Tensor find(const std::string& name) const override;
  Tensor find_shaped(const std::string& name, const Shape& shape) const override;
  std::string describe(const std::string& name) const override { return name + " (fresh weights)"; }
  // All that were asked for so far, in diffusers' names.
  const std::map<std::string, Tensor>& made() const { return made_; }

 private:
  uint64_t seed_;
  FreshStart start_;
  mutable std::map<std::string, Tensor> made_;
};

// Names and shapes of a single-file checkpoint of the spec's family ("model.diffusion_model.…", "conditioner.embedders.1.model.…").
// weights: in diffusers' names ("unet.…").
std::map<std::string, Tensor> single_file_weights(const std::map<std::string, Tensor>& weights, const ModelSpec& spec);

// A single-file checkpoint of such a model, in float16.
void write_fresh_checkpoint(const std::filesystem::path& path, const ModelSpec& spec, const FreshWeights& fresh);

// What shapes cannot tell of `spec`, for the metadata entry "lorikeet.config" of a single file.
std::string config_text(const ModelSpec& spec);

}  // namespace lorikeet
