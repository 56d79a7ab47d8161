// One layer's part of a LoRA file. A kind (LoRA, LoHa, LoKr, OFT, DoRA, …) is one file below kinds/ with one formula: merge().
// Its formulas and their sources are listed in docs/formats.md.
#pragma once
#include <functional>
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

// A matrix of low rank: scale · up · down.
struct LowRank {
  Tensor up, down;  // [rows, r], [r, columns], float32
  double scale = 1;
  int64_t rank() const { return down.size(0); }
};

// The activations between a low-rank adapter's factors, changed. inner: [B, …, r], of convolutions [B, r, H', W'] -> the same shape.
using InnerChange = std::function<Tensor(const Tensor& inner)>;

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
  // inner: what becomes of the activations between the two factors (dropout), where the kind has such.
  // Autograd flows to tensors that ask for it.
  virtual std::optional<Tensor> residual(const Layer& layer, const Tensor& x, const Tensor& row_multipliers = {},
                                         const InnerChange& inner = {}) const {
    return {};
  }

  // ΔW at multiplier 1 as a matrix [out, in·kh·kw] of low rank, exactly. Nothing when the kind is not additive, or has no such form, or
  // only one that is no smaller than the matrix.
  virtual std::optional<LowRank> low_rank() const { return {}; }

  // 0 when the kind has no rank.
  virtual int64_t rank() const { return 0; }
  virtual double alpha() const { return 0; }
  // A copy cut to its first `rank` ranks, the scale left as it is (A1111's dyn); null when the kind cannot, or has no more ranks than that.
  virtual std::unique_ptr<Adapter> truncated(int64_t rank) const { return nullptr; }

  // What is saved is what is trained. The tensors are the adapter's own (float32, a fresh one's on the layer's device), so they may be made
  // leaves; "alpha" and flags are not.
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

// How the factor of a fresh lora or dora that does not start at zero is drawn; the other one is zero, so that nothing is changed yet.
enum class AdapterInit {
  kaiming,    // uniform ±1/√fan_in, as a fresh libtorch layer (kohya's and LyCORIS' start)
  normal,     // normal with deviation 1/rank (PEFT's "gaussian")
  orthogonal  // orthonormal rows (Saxe et al. 2013, arXiv 1312.6120), as long as kaiming's
};

// How a fresh adapter is made.
struct AdapterOptions {
  int64_t rank = 4;              // >= 1; full and ia3 have none
  double alpha = 4;              // the scale is alpha / rank
  bool rank_stabilised = false;  // the scale is alpha / √rank (Kalajdzievski 2023, arXiv 2312.03732, eq. 8); stored is alpha · √rank, so
                                 // that alpha / rank reads right everywhere (as LyCORIS)
  AdapterInit init = AdapterInit::kaiming;  // lora, dora
  int lokr_factor = -1;                     // lokr: size of the small factor's sides where it divides them; -1: as square as possible
  torch::Generator generator = {};          // of all that is drawn, on the CPU; undefined: torch's own
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
