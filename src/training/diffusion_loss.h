// The training objective: noise a latent, ask the network, compare with the target (Ho et al. 2020, arXiv 2006.11239, algorithm 1; the
// target of other predictions: sampling/prediction.h), with the weightings and kinds of noise that trainers offer.
#pragma once
#include <functional>
#include <vector>

#include "base/torch.h"
#include "sampling/noise_schedule.h"
#include "sampling/prediction.h"
#include "training/config.h"

namespace lorikeet {

// One batch as the loss sees it. B rows.
struct LossBatch {
  Tensor latents;                // [B, C, h, w] float32, scaled
  Tensor masks;                  // [B, 1, h, w] float32 0..1, or undefined
  Tensor weights;                // [B] float32: 1, or the prior-loss weight; undefined: all 1
  std::vector<uint64_t> random;  // B draws: noise and timestep of row i depend on random[i] only
};

// What the U-Net answers: x as it goes in (input_scale applied) [B, C, h, w] float32, timesteps [B] float32, both on the latents' device ->
// [B, C, h, w], any floating dtype.
using PredictNoise = std::function<Tensor(const Tensor& x, const Tensor& timesteps)>;

class DiffusionLoss {
 public:
  // Throws Error{bad_input}: zero terminal SNR with epsilon (at the last timestep the noise is all there is to see), an empty range of
  // timesteps, both weightings at once, a weighting or a loss constant out of range, a weighting with flow.
  DiffusionLoss(const TrainConfig& config, const NoiseSchedule& schedule, const Prediction& prediction);

  // Mean over the B rows of weights · weight_of · the row's loss; a scalar with gradients. rows: the same per row, detached, for logs. [B]
  // A row's loss is the mean over its elements; with a mask the mean weighted by the mask, 0 where that is empty.
  struct Value {
    Tensor mean, rows;
  };
  Value operator()(const LossBatch& batch, const PredictNoise& predict) const;
  // Validation: the mean squared error at given timesteps (one a row) with the noise of batch.random; no weights, whatever the loss is.
  // With the same draws it changes only when the weights of the network do.
  Value fixed(const LossBatch& batch, const std::vector<int>& timesteps, const PredictNoise& predict) const;

  // What a row is trained with: offset and multires noise included. latent: [C, h, w] -> [C, h, w] float32 on the CPU
  Tensor noise_of(const Shape& latent, uint64_t random) const;
  // timestep_least … timestep_most, all alike.
  int timestep_of(uint64_t random) const;
  // min-SNR (Hang et al. 2023, arXiv 2303.09556, section 3.4: for epsilon and for v), debiased estimation (Yu et al. 2023, arXiv
  // 2310.08442, for v as kohya's scripts have it); 1 without either.
  double weight_of(int timestep) const;
  // As trained: rescaled with zero_terminal_snr.
  const NoiseSchedule& schedule() const { return schedule_; }

 private:
  struct Noised;
  Noised noised(const LossBatch& batch, const std::vector<int>& timesteps) const;

  TrainConfig config_;
  NoiseSchedule schedule_;
  const Prediction& prediction_;
};

}  // namespace lorikeet
