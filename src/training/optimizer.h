// Optimisers, one row each. They update leaf tensors from their gradients; all state is named tensors, so that a run resumes exactly.
#pragma once
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/torch.h"
#include "lora/adapter.h"

namespace lorikeet {

// Tensors that share a learning rate. Float32 leaves; a tensor without a gradient at a step is left as it is.
struct ParameterGroup {
  std::string name;                     // "unet", "text_encoder", "embedding", "unet_up" (LoRA+)
  std::vector<NamedTensor> parameters;  // names are unique over all groups
  double learning_rate = 1e-4;          // >= 0; 0: the group stays as it is
  double weight_decay = 0;              // >= 0
};

struct OptimizerOptions {
  std::optional<double> beta1, beta2;  // 0 <= beta < 1; unset: 0.9 and 0.999, Lion 0.9 and 0.99
  double eps = 1e-8;                   // Adafactor and Lion do not use it
  int warmup_steps = 0;                // of the kinds with own_schedule
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  // One update from the gradients; every group's learning rate is times `lr_factor` (the schedule). In float32; the bits depend on neither
  // the number of threads nor on what else the process did.
  virtual void step(double lr_factor) = 0;
  // The weights to look at (validation, samples, saving) instead of those to train on: schedule-free AdamW averages. Calls come in pairs;
  // in between neither step() nor state(). Afterwards the weights to train on are back, to the bit; meanwhile they are kept beside (the
  // size of the parameters).
  virtual void begin_evaluation() {}
  virtual void end_evaluation() {}
  // Everything that the next step depends on except the parameters themselves. On the CPU the tensors are the live ones, not copies (of a
  // whole model they would be gigabytes): to be written or cloned before the next step.
  virtual std::vector<NamedTensor> state() const = 0;
  // Error{bad_input} when something is missing, of a wrong shape or left over; then nothing has changed.
  virtual void load_state(const std::vector<NamedTensor>& state) = 0;
  // The rate of the first group that the last step(lr_factor) took (Prodigy finds its own, schedule-free AdamW warms up), for the log.
  virtual double effective_learning_rate(double lr_factor) const = 0;
};

// begin_evaluation() and end_evaluation() as a scope.
class EvaluationWeights {
 public:
  explicit EvaluationWeights(Optimizer& optimizer) : optimizer_(optimizer) { optimizer_.begin_evaluation(); }
  ~EvaluationWeights() { optimizer_.end_evaluation(); }
  EvaluationWeights(const EvaluationWeights&) = delete;
  EvaluationWeights& operator=(const EvaluationWeights&) = delete;

 private:
  Optimizer& optimizer_;
};

struct OptimizerKind {
  std::string_view name, summary;
  double typical_learning_rate;  // of a LoRA, for the help
  bool own_schedule;             // wants lr_factor 1 throughout, and warms up by OptimizerOptions::warmup_steps
  // The parameters' values at this moment count: Prodigy measures its distance from them, schedule-free AdamW averages from them on.
  // Error{bad_input}: no parameter, a rate or beta out of range, Prodigy with rates that differ.
  std::unique_ptr<Optimizer> (*make)(std::vector<ParameterGroup> groups, const OptimizerOptions& options);
};

// adamw: Loshchilov & Hutter 2017, arXiv 1711.05101. lion: Chen et al. 2023, arXiv 2302.06675. adafactor: Shazeer & Stern 2018,
// arXiv 1804.04235. prodigy: Mishchenko & Defazio 2023, arXiv 2306.06101. schedule_free_adamw: Defazio et al. 2024, arXiv 2405.15682.
std::span<const OptimizerKind> optimizers();
// Error{bad_input} with the near names.
const OptimizerKind& find_optimizer(std::string_view name);

// The norm of all gradients together before clipping; scales them so that it is at most `most` (0: no clipping). A norm that is not finite
// is returned, and the gradients are left as they are. The bits do not depend on the number of threads.
double clip_gradients(std::span<const ParameterGroup> groups, double most);

}  // namespace lorikeet
