// What a LoRA file is and does, told without running a model: its header, its hashes, and the size and shape of each layer's change.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "lora/file.h"
#include "lora/surgery/change.h"

namespace lorikeet {

// One layer's change at a multiplier of 1.
struct LayerFacts {
  std::string path, module, block, kind;
  int64_t rank = 0;  // 0: the kind has none
  double alpha = 0;
  double norm = 0;             // ‖ΔW‖, Frobenius
  double bias_norm = 0;        // ‖Δb‖
  std::vector<double> values;  // singular values, falling
  double effective_rank = 0;   // exp of the entropy of the values' shares (Roy & Vetterli 2007, EUSIPCO, eq. 4)
  int64_t entries = 0;         // numbers in the weight
  double weight_norm = 0;      // ‖W‖; 0 without a checkpoint
  std::string fault;           // why nothing is known: NaN, infinity, a broken module, a kind that needs the checkpoint
  bool dead() const { return fault.empty() && norm == 0 && bias_norm == 0; }
};

// The layers of one block together: norms as the root of the sum of squares.
struct BlockFacts {
  std::string name;
  int layers = 0, dead = 0, faults = 0;
  std::map<int64_t, int> ranks;
  std::map<double, int> alphas;
  double norm = 0, weight_norm = 0;
  double largest_value = 0;
  double effective_rank = 0;  // the mean over its layers
};

struct LoraDescription {
  LoraSummary summary;
  std::string path;
  uintmax_t bytes = 0;
  std::map<std::string, int> dtypes;                          // "F16" -> 528 tensors
  std::map<std::string, std::string> hashes;                  // sha256, AutoV2, AutoV3, legacy; by those names
  std::vector<std::pair<std::string, std::string>> training;  // what the metadata tells about the training, in words
  std::string history;                                        // lorikeet.history, as JSON; "" when there is none
  int matched = 0, total = 0;                                 // modules
  std::vector<std::string> unmatched, unused;
  bool with_checkpoint = false;
  std::vector<LayerFacts> layers;
  std::vector<BlockFacts> blocks;  // in the order of a picture's way through the model
  double norm = 0, weight_norm = 0;
  // The largest multiplier at which no block changes by more than kLargestChange of its weights. 0: not known (no checkpoint).
  double suggested_multiplier = 0;
};

// ‖ΔW‖ / ‖W‖ of a block beyond which pictures commonly fall apart. A rule of thumb for trained checkpoints, not a law.
inline constexpr double kLargestChange = 0.3;

// Never throws for what is wrong within single modules: see LayerFacts::fault. after_layers(): as in extract().
LoraDescription describe(const LoraReader& reader, Progress& progress, const std::function<void()>& after_layers = {});

// The hashes by which the field names the file.
std::map<std::string, std::string> lora_hashes(const LoraFile& file);

}  // namespace lorikeet
