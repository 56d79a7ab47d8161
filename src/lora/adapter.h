// One layer's part of a LoRA file. A kind (LoRA, LoHa, LoKr, OFT, DoRA, …) is one file below kinds/ with one formula: merge().
// Its formulas and their sources are listed in docs/formats.md.
#pragma once
#include <map>
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
  std::string name;  // the part of the key behind the module, in kohya's and LyCORIS' words: "lora_down.weight", "alpha"
  Tensor tensor;
};

class Adapter {
 public:
  virtual ~Adapter() = default;
  virtual std::string_view kind() const = 0;

  // The definition: the layer's weight with this adapter at `multiplier`. weight: float, the layer's shape -> the same shape.
  // multiplier 0 gives `weight` back, bit for bit. Autograd flows through it.
  virtual Tensor merge(const Tensor& weight, double multiplier) const = 0;
  // The same in place, without gradients, where a kind is quicker that way. weight: float32, contiguous, the caller's own.
  virtual void merge_into(Tensor& weight, double multiplier) const { weight = merge(weight, multiplier); }
  // Output rows can be merged a few at a time: merge_rows() adds to rows `first`, `first` + 1, … of the weight. rows: [n, columns] float32,
  // contiguous. Lets a large weight be merged inside the processor's cache.
  virtual bool merges_rows() const { return false; }
  virtual void merge_rows(Tensor& rows, int64_t first, double multiplier) const {}
  // The same for the bias (undefined: the layer has none; may come back defined). The default changes nothing.
  virtual Tensor merge_bias(const Tensor& bias, double multiplier) const { return bias; }
  virtual bool changes_bias() const { return false; }

  // merge() is W + multiplier · ΔW with a ΔW that does not depend on W.
  virtual bool additive() const { return true; }
  // There is a low-rank short cut for the run-time way. Additive kinds that leave the bias alone only.
  virtual bool has_residual() const { return false; }
  // The short cut: what is added to the layer's output for input x, in the layer's compute dtype: op(x, ΔW), times row_multipliers.
  // x: [B, …] the layer's input; row_multipliers: [B] float32 on the CPU, or undefined for 1. Nothing when there is no short cut.
  // Autograd flows to tensors that ask for it.
  virtual std::optional<Tensor> residual(const Layer& layer, const Tensor& x, const Tensor& row_multipliers = {}) const { return {}; }

  // 0 when the kind has no rank.
  virtual int64_t rank() const { return 0; }
  virtual double alpha() const { return 0; }
  // A copy cut to its first `rank` ranks, the scale left as it is (A1111's dyn); null when the kind cannot, or has no more ranks than that.
  virtual std::unique_ptr<Adapter> truncated(int64_t rank) const { return nullptr; }

  // What is saved is what is trained. The tensors are the adapter's own (float32), so they may be made leaves; "alpha" and flags are not.
  virtual std::vector<NamedTensor> tensors() const = 0;
};

// Names and shapes of one module's tensors: enough to tell its kind from a file's header.
using TensorShapes = std::map<std::string, Shape, std::less<>>;

// The tensors of one module, while kinds pick theirs; what nobody consumes is reported.
class TensorGroup {
 public:
  TensorGroup(std::string module, std::vector<NamedTensor> tensors);
  const std::string& module() const { return module_; }
  bool has(std::string_view name) const;     // present and not consumed
  Tensor peek(std::string_view name) const;  // undefined when absent
  // Undefined when absent; contiguous float32 otherwise. Error{bad_input} when it holds NaN or infinity.
  Tensor consume(std::string_view name);
  // The same, but Error{bad_input} when absent.
  Tensor require(std::string_view name);
  std::optional<double> consume_number(std::string_view name);
  TensorShapes shapes() const;  // of what is left

 private:
  std::string module_;
  std::vector<NamedTensor> tensors_;
};

struct AdapterOptions {
  int64_t rank = 4;
  double alpha = 4;
  // options that only single kinds know go here
};

struct AdapterKind {
  std::string_view name;  // "lora", "loha", …
  std::string_view summary;
  // The tensors are of this kind.
  bool (*recognise)(const TensorShapes& tensors);
  // Consumes its tensors. Throws Error{bad_input} when they do not fit the layer, naming the module, wanted and found.
  std::unique_ptr<Adapter> (*load)(TensorGroup& tensors, const Layer& layer);
  // Fresh for training: merge() returns the weight unchanged. Null pointer: the kind cannot be trained.
  std::unique_ptr<Adapter> (*create)(const Layer& layer, const AdapterOptions& options);
};

std::span<const AdapterKind> adapter_kinds();  // in the order in which they are asked

// The kind of a module with these tensors; null: no kind knows them.
const AdapterKind* recognise_kind(const TensorShapes& tensors);
// The adapter of one module for one layer; null: no kind knows the tensors. What it does not understand stays in `tensors`.
std::unique_ptr<Adapter> load_adapter(TensorGroup& tensors, const Layer& layer);

}  // namespace lorikeet
