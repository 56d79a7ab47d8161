// The kinds of adapters, one file each, and what they share. The list itself is adapter_kinds().
#pragma once
#include <memory>
#include <string>

#include "lora/adapter.h"

namespace lorikeet {

extern const AdapterKind kLoraKind, kDoraKind, kLohaKind, kLokrKind, kFullKind, kNormKind, kIa3Kind, kGloraKind, kOftKind, kBoftKind;

// A kind whose change of the weight does not depend on the weight.
class AdditiveAdapter : public Adapter {
 public:
  Tensor merge(const Tensor& weight, double multiplier) const override;
  void merge_into(Tensor& weight, double multiplier) const override;

 protected:
  // ΔW at multiplier 1, in the layer's shape, float32; autograd flows.
  virtual Tensor delta() const = 0;
};

// How a change that a file holds lies in the layer's weight: a linear layer stored as a 1×1 convolution or the other way
// round, and the 4-channel conv_in of a LoRA on the 9-channel one of an inpainting model (zeros on the mask and image channels).
class DeltaShape {
 public:
  // The file's change has `rows` × `columns` (columns: everything behind the output channels). Error{bad_input} names module, wanted,
  // found.
  DeltaShape(const std::string& module, const Layer& layer, int64_t rows, int64_t columns);
  Tensor fit(const Tensor& delta) const;  // any shape of rows × columns -> the layer's shape
  bool pads() const { return layer_ != delta_; }

 private:
  Shape layer_, delta_;
};

// The layer's weight has more input channels than the file's: an inpainting model's conv_in (9) under a LoRA for the usual one (4).
bool is_inpaint_conv_in(const Layer& layer, int64_t file_channels);

// alpha / rank, the alpha being the rank where the file has none; A1111's "scale" key wins. Error{bad_input} for NaN.
struct Scale {
  double alpha = 0, value = 1;
};
Scale consume_scale(TensorGroup& tensors, int64_t rank);

NamedTensor alpha_tensor(double alpha);

// --- fresh adapters: float32, where the layer computes ---

// The scale that the options ask for, with the alpha that is stored for it.
Scale fresh_scale(const AdapterOptions& options);
Tensor fresh_zeros(torch::IntArrayRef shape, const Layer& layer);
// Normal with that deviation, and uniform between -bound and bound, from the options' generator.
Tensor fresh_normal(torch::IntArrayRef shape, double deviation, const Layer& layer, const AdapterOptions& options);
Tensor fresh_uniform(torch::IntArrayRef shape, double bound, const Layer& layer, const AdapterOptions& options);

// A Tucker-decomposed factor (LyCORIS, arXiv 2309.14859, app. B.3): core: [i, j, kh, kw], a: [i, p], b: [j, r] -> [p, r, kh, kw].
Tensor tucker(const Tensor& core, const Tensor& a, const Tensor& b);

// The layer is a convolution that looks at one pixel at a time.
bool is_pointwise(const Layer& layer);
// Such a convolution as a product over the pixels, which in channels-last memory lie as rows: nothing is copied. x: [B, C, H, W];
// weight: [D, C] or [D, C, 1, 1] -> [B, D, H, W], channels-last.
Tensor pointwise(const Tensor& x, const Tensor& weight);

// y, row i of the batch times row_multipliers[i]. row_multipliers: [B] float32, undefined for 1.
Tensor rows_scaled(const Tensor& y, const Tensor& row_multipliers);

// Columns of a weight behind its first dimension: 1 for norms.
int64_t columns_of(const Tensor& weight);

// `adapter` and the module's diff_b on top, as some tools store a low-rank change of the weight beside a full one of the bias.
std::unique_ptr<Adapter> with_bias_difference(std::unique_ptr<Adapter> adapter, TensorGroup& tensors, const Layer& layer);
// diff_b or b_norm, checked against the layer; undefined when absent.
Tensor consume_bias(TensorGroup& tensors, std::string_view name, const Layer& layer);

}  // namespace lorikeet
