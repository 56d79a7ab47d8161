// What a run trains: adapters on layers, embedding vectors, or the weights themselves. It puts itself onto the networks, offers its tensors
// to the optimiser, and writes the file. Which layers: training/targets.h; one file for each way: adapter_trainable.h,
// embedding_trainable.h, full_trainable.h.
#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/networks.h"
#include "prompt/embeddings.h"
#include "training/config.h"
#include "training/optimizer.h"

namespace lorikeet {

// A place in the run: what the dropouts of this forward pass are drawn from.
struct ForwardInfo {
  uint64_t random = 0;   // the same number gives the same masks; processes that are to drop differently give different ones
  bool training = true;  // false: validation, nothing is dropped
};

class Trainable {
 public:
  virtual ~Trainable() = default;
  // Leaves with gradients, float32, on the device of their layer. Names: "unet.….to_q.lora_up.weight", "embedding.text_encoder". Groups:
  // "unet", "text_encoder", "embedding"; with LoRA+ "unet_up", …; DoRA's magnitudes, which are not to decay, "unet_magnitude", ….
  virtual std::vector<ParameterGroup> groups() const = 0;
  // Puts the trained parts onto the layers; detach() leaves the networks as they were, bit for bit. (Whoever is destroyed detaches.)
  virtual void attach() = 0;
  virtual void detach() = 0;
  virtual void begin_forward(const ForwardInfo& info) {}
  // How strongly the adapters act from here on; begin_forward() sets it to 1. 0: the networks are as without them. Forward and backward of
  // one pass want the same. Error{internal}: what is trained has no multiplier.
  virtual void set_multiplier(double multiplier);
  // The text encoders have to run at each step, with gradients (nothing of theirs may be cached).
  virtual bool trains_text() const = 0;
  // The embedding that captions may use by its token, if one is trained: its current vectors, with gradients.
  virtual std::shared_ptr<const Embedding> embedding() const { return nullptr; }
  // Writes the finished file. `metadata`: everything that the run knows (training_metadata() of training/lora_metadata.h); the hashes are
  // added. Atomic. Error{bad_input} when a tensor is not finite, by the name of its module; then nothing is written.
  virtual void save(const std::filesystem::path& path, std::map<std::string, std::string> metadata) const = 0;
  // "264 layers, rank 8, 1.6 M parameters"
  virtual std::string describe() const = 0;
};

// Fresh: the networks with it attached answer as without it (an embedding: as its initial text). The same seed gives the same start.
// Error{bad_input}: settings that do not go together (dropout with a kind that has no such activations, the PEFT format with LoHa, …),
// no layer selected, no word for an embedding. `networks` must outlive it.
std::unique_ptr<Trainable> make_trainable(const Networks& networks, const TrainConfig& config);

}  // namespace lorikeet
