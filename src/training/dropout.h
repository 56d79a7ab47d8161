// What adapters drop in a forward pass (field's names as in kohya's networks.lora): neurons of the activations between the two factors,
// whole ranks of them, whole modules. Masks are drawn from the pass's number and the module's path, so that a forward pass that is computed
// again (gradient checkpointing) drops the same.
#pragma once
#include <memory>
#include <string>

#include "base/torch.h"
#include "training/trainable.h"

namespace lorikeet {

struct DropoutRates {
  double neuron = 0, rank = 0, module = 0;  // 0 <= p < 1
  bool any() const { return neuron > 0 || rank > 0 || module > 0; }
};

// Of one module. `now` is what begin_forward() was told last, shared by all modules.
class Dropout {
 public:
  Dropout(DropoutRates rates, std::string path, std::shared_ptr<const ForwardInfo> now);

  bool any() const { return rates_.any(); }
  // The module adds nothing in this pass.
  bool drops_module() const;
  bool drops_ranks() const { return active(rates_.rank); }
  // The activations between the factors, [B, …, r] or, of convolutions, [B, r, H, W], with neurons and ranks dropped and the rest scaled by
  // 1 / (1 - p); a row of the batch has its own masks.
  Tensor on_inner(const Tensor& inner, bool channels_first) const;
  // For kinds without such activations: output rows of the change of the weight are dropped in a rank's stead (as LyCORIS), the rest
  // scaled. change: [out, …].
  Tensor on_change(const Tensor& change) const;
  // The same for what the change adds to the layer's output: [B, …, out] or [B, out, H, W].
  Tensor on_output(const Tensor& added, bool channels_first) const;

 private:
  bool active(double rate) const { return rate > 0 && now_->training; }
  // 1 / (1 - p) with probability 1 - p, else 0; on the options' device.
  Tensor mask(const Shape& shape, double rate, const char* purpose, const torch::TensorOptions& options) const;

  DropoutRates rates_;
  std::string path_;
  std::shared_ptr<const ForwardInfo> now_;
};

}  // namespace lorikeet
