// What an adapter does to its layer, as numbers: ΔW by its factors or whole, and the change of the bias.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lora/adapter.h"
#include "lora/reader.h"
#include "lora/surgery/decomposition.h"
#include "lora/surgery/draft.h"
#include "lora/surgery/ranks.h"

namespace lorikeet {

// ΔW and Δb at a multiplier of 1.
struct Change {
  std::optional<LowRank> low_rank;
  Tensor whole;  // where low_rank is absent: float32, the layer's shape; undefined: the weight does not change
  Tensor bias;   // undefined: does not change
  Shape shape;   // of the layer's weight

  bool has_kernel() const { return shape.size() == 4 && shape[2] * shape[3] > 1; }  // a convolution larger than 1×1
  bool is_matrix() const { return shape.size() >= 2; }
  bool changes_weight() const { return low_rank || whole.defined(); }
  // [out, in·kh·kw], whichever form it has; norms [C, 1]; zeros when the weight does not change.
  Tensor matrix() const;
  double norm() const;  // ‖ΔW‖, Frobenius
};

// with_weights: the layer's weight is a model's. Kinds that are not additive (DoRA, GLoRA, OFT, BOFT, IA3) need it: Error{bad_input} names
// the layer and asks for the checkpoint. `multiplier` is what those are evaluated at; ΔW is what they change there.
Change change_of(const Adapter& adapter, const Layer& layer, bool with_weights, double multiplier = 1);
// Throws as LoraReader::load() and change_of(); a module that no kind knows is Error{unsupported}.
Change read_change(const LoraReader& reader, const std::string& path, double multiplier = 1);

// Singular values of a matrix's change; exact.
Decomposition decompose(const Change& change);

// A plain LoRA's tensors: lora_down [r, in(, kh, kw)], lora_up [out, r(, 1, 1)], alpha = scale · rank.
std::vector<DraftTensor> plain_lora(const LowRank& factors, const Shape& shape, Dtype dtype);
// Whole differences: diff and diff_b, w_norm and b_norm.
std::vector<DraftTensor> whole_difference(const Change& change, Dtype dtype);
// What stands beside a plain LoRA: diff_b, where the bias changes.
void add_bias(std::vector<DraftTensor>& tensors, const Change& change, Dtype dtype);

// What became of one layer.
struct LayerResult {
  std::string path, block;
  int64_t rank_before = 0, rank = 0;  // 0: none
  double norm = 0;                    // ‖ΔW‖ of what was wanted
  double error = 0;                   // ‖ΔW − result‖ / ‖ΔW‖
};

// Of a whole file: the error over all layers, √Σ(error·norm)² / √Σnorm².
double total_error(const std::vector<LayerResult>& layers);

// work(path) for each, on all cores. Reports the steps of `stage`; checks for cancellation. An Error gains the layer as context.
void for_each_layer(const std::vector<std::string>& paths, const std::string& stage, Progress& progress,
                    const std::function<void(size_t index, const std::string& path)>& work);
std::vector<std::string> paths_of(const LoraReader& reader);

// The most ranks that a weight of this shape can have; 0 for norms.
int64_t longest_rank(torch::IntArrayRef shape);
// Of all layers of the file.
int64_t longest_rank(const LoraReader& reader);

}  // namespace lorikeet
