// One layer's part of a LoRA file. A kind (LoRA, LoHa, LoKr, OFT, DoRA, …) is one file below kinds/ with one formula: merge().
// Its formulas and their sources are listed in docs/formats.md.
#pragma once
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/torch.h"
#include "nn/layer.h"

namespace lorikeet {

struct NamedTensor {
  std::string name;  // the part of the key behind the module: "lora_down.weight", "alpha"
  Tensor tensor;
};

class Adapter {
 public:
  virtual ~Adapter() = default;
  virtual std::string_view kind() const = 0;

  // The definition: the layer's weight with this adapter at `multiplier`. weight: float, the layer's shape -> the same shape.
  // multiplier 0 gives `weight` back, bit for bit. Autograd flows through it.
  virtual Tensor merge(const Tensor& weight, double multiplier) const = 0;
  // The same for the bias (undefined: the layer has none; may come back defined). The default changes nothing.
  virtual Tensor merge_bias(const Tensor& bias, double multiplier) const;
  virtual bool changes_bias() const { return false; }

  // merge() is W + multiplier · ΔW with a ΔW that does not depend on W.
  virtual bool additive() const { return true; }
  // Low-rank short cut for the run-time way at multiplier 1: what is added to the layer's output for input x, or nothing when there is
  // none (then op(x, merge(W) - W) is used). Additive kinds only.
  virtual std::optional<Tensor> residual(const Layer& layer, const Tensor& x) const;

  // 0 when the kind has no rank.
  virtual int64_t rank() const { return 0; }
  virtual double alpha() const { return 0; }
  // A copy cut to its first `rank` ranks, the scale left as it is (A1111's dyn); null when the kind cannot.
  virtual std::unique_ptr<Adapter> truncated(int64_t rank) const;

  // What is saved is what is trained.
  virtual std::vector<NamedTensor> tensors() const = 0;
};

// The tensors of one module, while kinds pick theirs; what nobody consumes is reported.
class TensorGroup {
 public:
  TensorGroup(std::string module, std::vector<NamedTensor> tensors);
  const std::string& module() const { return module_; }
  bool has(std::string_view name) const;
  Tensor peek(std::string_view name) const;             // undefined when absent
  Tensor consume(std::string_view name);                // undefined when absent; float32
  std::vector<std::string> left() const;

 private:
  std::string module_;
  std::vector<NamedTensor> tensors_;
  std::vector<bool> consumed_;
};

struct AdapterOptions {
  int64_t rank = 4;
  double alpha = 4;
  // further options of single kinds are added here by the issue that trains them
};

struct AdapterKind {
  std::string_view name;     // "lora", "loha", …
  std::string_view summary;
  // Null: "not mine". Throws Error{bad_input} when the tensors are mine but do not fit the layer.
  std::unique_ptr<Adapter> (*load)(TensorGroup& tensors, const Layer& layer);
  // Fresh for training: merge() returns the weight unchanged. Null: the kind cannot be trained.
  std::unique_ptr<Adapter> (*create)(const Layer& layer, const AdapterOptions& options);
};

std::span<const AdapterKind> adapter_kinds();  // in the order in which they are asked

}  // namespace lorikeet
