// What a training step minimises: the loss of the rows that it draws. One for diffusion, one for autoencoders, one for sliders
// (slider_objective.h).
#pragma once
#include <array>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/progress.h"
#include "model/networks.h"
#include "training/autoencoder.h"
#include "training/batches.h"
#include "training/config.h"
#include "training/dataset.h"
#include "training/trainable.h"

namespace lorikeet {

// Where validation looks: from nearly clean to nearly noise, of 1000 timesteps.
inline constexpr std::array kValidationTimesteps{100, 300, 500, 700, 900};

class Objective {
 public:
  virtual ~Objective() = default;

  // The pictures that can be used; what was left out is in its warnings. Of a slider: what stands for them, see slider_objective.h.
  virtual const Dataset& dataset() const = 0;
  // The mean over the rows: a scalar with gradients.
  virtual Tensor loss(std::span<const Draw> draws) = 0;
  // The mean loss of pictures with fixed noise at fixed timesteps, so that it changes only when the weights do. No gradients. At least one picture.
  virtual double fixed_loss(std::span<const TrainPicture> pictures) = 0;
  // The layer whose output is the first that is not finite for these rows; "" when all are.
  virtual std::string first_broken_layer(std::span<const Draw> draws) = 0;
  // Of an autoencoder: over many pictures; nothing otherwise.
  virtual std::optional<LatentMoments> latent_moments() { return {}; }
};

struct ObjectiveOptions {
  std::filesystem::path cache_folder;  // empty: caches in memory only
};

// The networks and the trainable must outlive it. Reads every picture once; a slider takes none (`dataset` empty). Error as read_dataset
// and DiffusionLoss.
std::unique_ptr<Objective> make_objective(Networks& networks, Trainable& trainable, Dataset dataset, const TrainConfig& config,
                                          const ObjectiveOptions& options, Progress& progress);

}  // namespace lorikeet
