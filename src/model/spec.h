// A model as data. A family (families/*.cpp) reads it off a checkpoint's names and shapes; everybody else reads the data, never the family's id.
#pragma once
#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/torch.h"
#include "model/checkpoint.h"
#include "model/clip.h"
#include "model/unet.h"
#include "model/vae.h"

namespace lorikeet {

struct LatentFormat {
  double scale = 0.18215;  // latents are multiplied by it after encoding, divided before decoding
  // Rough linear map latent -> RGB for previews, rows = latent channels (fitted by others to the SD1 and SDXL autoencoders).
  std::vector<std::array<float, 3>> preview_rgb;
};

struct ImageSize {
  int64_t width_px = 512, height_px = 512;
};

struct ModelSpec {
  std::string_view family;         // "sd1", "sd2", "sdxl"
  std::string label;               // for people: "Stable Diffusion 1.x inpainting, float16"
  std::vector<ClipConfig> text_encoders;
  UNetConfig unet;
  VaeConfig vae;
  LatentFormat latent;
  std::string prediction;          // a row of predictions() (sampling/prediction.h); "" when only a trial step can tell (SD2)
  bool zero_terminal_snr = false;  // the noise schedule is rescaled to end in pure noise
  bool pooled = false;             // the U-Net takes the pooled text and the time ids (SDXL)
  bool zero_empty_negative = false;  // an empty negative prompt is all zeros instead of an encoded "" (SDXL)
  bool xl_steps = false;           // Align Your Steps has a table of its own for this model
  int64_t native_size_px = 512;    // side of the pictures it was trained on, a multiple of 64
  // For the metadata of what is trained on it: kohya's ss_base_model_version, and the modelspec.architecture of Stability's model
  // specification; of a model that predicts v where that differs.
  std::string_view base_version, architecture, architecture_v;

  // Of a picture that is asked for with that side; 0 leaves it to the model.
  int64_t side_px(int64_t asked) const { return asked > 0 ? asked : native_size_px; }
  bool inpainting() const { return unet.in_channels == 9; }  // latent, mask, masked picture's latent
};

struct ModelFamily {
  std::string_view id, label;
  // Nothing: "not mine". Throws Error when the checkpoint is of this family but broken.
  std::optional<ModelSpec> (*recognise)(const Checkpoint&);
};

std::span<const ModelFamily> model_families();

// Throws Error{unsupported} naming the family when it is one that we know of but lack, else Error{bad_input}.
ModelSpec recognise_model(const Checkpoint& checkpoint);

}  // namespace lorikeet
