// Weights for a model that is to be trained from nothing, and the way of a model's weights into a single file.
#pragma once
#include <map>
#include <mutex>
#include <string>

#include "model/spec.h"
#include "nn/weights.h"

namespace lorikeet {

// Makes each weight when it is first asked for: matrices and kernels normal with variance 1 / fan-in (LeCun 1998, as torch's and
// diffusers' defaults in effect), gains 1, biases 0, embeddings normal with standard deviation 0.02 (CLIP). The same seed gives the
// same weights in whatever order they are asked for.
class FreshWeights : public WeightSource {
 public:
  explicit FreshWeights(uint64_t seed) : seed_(seed) {}
  Tensor find(const std::string& name) const override;
  Tensor find_shaped(const std::string& name, const Shape& shape) const override;
  std::string describe(const std::string& name) const override { return name + " (fresh weights)"; }
  // All that were asked for so far, in diffusers' names.
  const std::map<std::string, Tensor>& made() const { return made_; }

 private:
  uint64_t seed_;
  mutable std::map<std::string, Tensor> made_;
};

// Names and shapes of a single-file checkpoint of the spec's family ("model.diffusion_model.…", "conditioner.embedders.1.model.…").
// weights: in diffusers' names ("unet.…").
std::map<std::string, Tensor> single_file_weights(const std::map<std::string, Tensor>& weights, const ModelSpec& spec);

// What shapes cannot tell of `spec`, for the metadata entry "lorikeet.config" of a single file.
std::string config_text(const ModelSpec& spec);

}  // namespace lorikeet
