// A checkpoint's networks, loaded: what making pictures and training share.
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "model/spec.h"
#include "sampling/noise_schedule.h"
#include "sampling/prediction.h"

namespace lorikeet {

// Where the networks run and in which dtype. The text encoders are small and rule everything: on the CPU they stay in float32.
struct ComputePlan {
  Compute text, unet, vae;
};
// device: auto | cpu | cuda | cuda:N; precision: auto | f32 | bf16 | f16.
// Throws Error{bad_input} for a word that is none, Error{unsupported} for a device or dtype that is not to be had here.
ComputePlan plan_compute(const std::string& device, const std::string& precision);

struct Networks {
  std::shared_ptr<const Checkpoint> checkpoint;
  ModelSpec spec;  // with the prediction kind settled
  ComputePlan compute;
  LayerMap layers;
  std::vector<std::unique_ptr<ClipTextModel>> text_encoders;
  std::unique_ptr<UNet> unet;
  std::unique_ptr<Vae> vae;
  NoiseSchedule noise_schedule;
  const Prediction* prediction = nullptr;
};

// vae: takes the place of the checkpoint's own; empty: none. Throws Error as Checkpoint::open and recognise_model.
std::shared_ptr<Networks> load_networks(const std::filesystem::path& checkpoint, const std::filesystem::path& vae, const ComputePlan& compute);

}  // namespace lorikeet
