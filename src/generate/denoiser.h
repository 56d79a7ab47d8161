// From the U-Net and the prompts to a Denoise: scaling, guidance over all parts of all prompts, and the extras of inpainting.
#pragma once
#include <functional>
#include <vector>

#include "generate/engine.h"
#include "generate/lora_plan.h"
#include "prompt/conditioning.h"
#include "sampling/sampler.h"

namespace lorikeet {

// What one picture of a batch is painted by.
struct PicturePrompts {
  std::shared_ptr<const ScheduledPrompt> prompt, negative;
  std::shared_ptr<const LoraSteps> loras;  // in a merged run the same for all pictures
};

struct Guidance {
  double cfg_scale = 7;  // 1: the negative prompt is not looked at
  double rescale = 0;    // Lin et al. 2023, sec. 3.4
};

// Everything that stays the same over the steps of a run.
struct DenoiserInputs {
  std::vector<PicturePrompts> pictures = {};  // one a row of x
  Guidance guidance;
  ImageSize size;
  Tensor image_channels = {};  // inpainting checkpoints: [B or 1, 5, H/8, W/8], mask and masked picture's latent; else undefined
  Tensor keep = {};            // inpainting by any checkpoint: [B or 1, C, H/8, W/8], the latent that stays where `repaint` is 0 …
  Tensor repaint = {};         // … [1, 1, H/8, W/8]; both undefined otherwise
};

class Denoiser {
 public:
  Denoiser(Engine& engine, DenoiserInputs inputs) : engine_(engine), inputs_(std::move(inputs)) {}

  // x: [B, C, H/8, W/8] float32 on the U-Net's device. Each call counts as one step of the prompts' schedules (A1111's way: a sampler
  // with two evaluations a step has twice the steps). The LoRAs are those of the sampler's step, which begin_step() tells.
  Denoised operator()(const Tensor& x, double sigma);
  void begin_step(int step) { step_ = step; }  // from 0

 private:
  // One row of the U-Net's batch.
  struct Row {
    int64_t picture;
    Conditioning conditioning;
    double weight;
    bool negative;
  };
  std::vector<Row> rows_at(int call, int64_t first, int64_t end) const;
  void merge_loras();
  Tensor evaluate(const std::vector<Row>& rows, const Tensor& x, double sigma);
  Denoised denoise(const Tensor& x, double sigma, int64_t first, int64_t end);

  Engine& engine_;
  DenoiserInputs inputs_;
  int calls_ = 0, step_ = 0;
};

}  // namespace lorikeet
