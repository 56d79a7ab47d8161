// A small model as a guided network, and the noises of a golden run, for the groups that sample.
#pragma once
#include "check.h"
#include "sampling/sampler.h"

namespace lorikeet::oracle {

// Runs the U-Net with the contexts of a golden run: context_cond, context_uncond, and for SDXL pooled_cond, pooled_uncond, time_ids.
class GuidedNetwork {
 public:
  GuidedNetwork(std::shared_ptr<const Model> model, std::shared_ptr<const TensorFile> file, double guidance_scale, Device device);

  struct Outputs {
    Tensor uncond, cond;  // [B, C, H, W]; uncond is cond when the guidance scale is 1
  };
  // x: [B, C, H, W], in the network's scale.
  Outputs operator()(const Tensor& x, double timestep) const;
  // uncond + scale (cond - uncond).
  Tensor guide(const Outputs& outputs) const;

  const Model& model() const { return *model_; }
  const TensorFile& file() const { return *file_; }
  Tensor read(const std::string& name) const { return oracle::read(*file_, name, device_); }

 private:
  Tensor rows(const std::string& cond, const std::string& uncond, int64_t count) const;
  std::shared_ptr<const Model> model_;
  std::shared_ptr<const TensorFile> file_;
  double scale_;
  Device device_;
};

// noise.0, noise.1, … of the file, in the order in which the sampler asks.
class StoredNoise : public Noise {
 public:
  StoredNoise(const TensorFile& file, Device device) : file_(file), device_(device) {}
  Tensor next() override { return read(file_, "noise." + std::to_string(asked_++), device_); }

 private:
  const TensorFile& file_;
  Device device_;
  int asked_ = 0;
};

// A number of the metadata; `missing` when the file does not say.
double metadata_number(const TensorFile& file, const std::string& key, double missing);
std::string metadata_text(const TensorFile& file, const std::string& key, const std::string& missing = {});

}  // namespace lorikeet::oracle
