// A layer whose weight a LoRA may change: the base weight as the checkpoint has it, what is merged into it, and what is
// added beside it at run time. All that lora/ and training/ see of a model is a LayerMap.
//
// The base weight is a read-only view of the memory-mapped file; an effective weight is always computed afresh from it,
// so nothing drifts and "no LoRA" is exactly the base. Gradients flow through every layer to its input; the weight itself has one
// only while it is live (set_live).
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/torch.h"

namespace lorikeet {

class Layer;

// Where and how the arithmetic is done: device, and the dtype of activations and prepared weights.
struct Compute {
  Device device = torch::kCPU;
  Dtype dtype = torch::kFloat;
};

enum class LayerOp { linear, conv2d, group_norm, layer_norm, embedding };

struct LayerGeometry {
  LayerOp op = LayerOp::linear;
  int stride = 1, padding = 0;  // conv2d
  bool circular = false;        // conv2d: padding by the other side's pixels
  int groups = 1;               // group_norm: number of groups
  double eps = 1e-5;            // norms
};

// What is added to a layer's output at run time. x: the layer's input; the result has the shape of its output, or is undefined: nothing.
using RunTimeTerm = std::function<Tensor(const Layer& layer, const Tensor& x)>;

// A weight that is computed at each forward pass, where training needs gradients through it. Any floating dtype.
struct LiveWeight {
  Tensor weight, bias;  // of the base's shapes; bias may be undefined
};

// A layer that answers differently to different places of the picture: keys and values of the text under LoRAs that work in a part of the
// picture only. Attention is computed once for each variant, and the results are blended at the places that ask.
struct LayerVariants {
  std::vector<RunTimeTerm> terms;                                        // what each adds to the output; empty: nothing
  std::function<Tensor(size_t variant, const Tensor& asking)> share;     // asking: [B, T, D] -> [B or 1, T, 1], in its dtype; sum to 1
};

class Layer {
 public:
  // weight: linear [out, in], conv2d [out, in, kh, kw], norms [C], embedding [N, D]; bias: [out] or undefined; any floating dtype, on the CPU.
  Layer(std::string path, LayerGeometry geometry, Tensor weight, Tensor bias, Compute compute);
  ~Layer();

  const std::string& path() const { return path_; }               // diffusers' module path, e.g. "unet.mid_block.attentions.0.proj_in"
  const LayerGeometry& geometry() const { return geometry_; }
  const Compute& compute() const { return compute_; }
  const Tensor& base_weight() const { return weight_; }           // as stored; never write to it
  const Tensor& base_bias() const { return bias_; }               // may be undefined

  // y = op(x, effective weight, effective bias) + sum of the run-time terms [+ residual, of y's shape].
  // linear: [..., in] -> [..., out]; conv2d: [B, in, H, W] -> [B, out, H', W'] (channels-last in memory); norms keep the shape;
  // embedding: int64 [...] -> [..., D].
  // Autograd flows to x, to the residual, and through what the terms and a live weight capture. Of a frozen linear or convolution
  // nothing is kept for backward but shapes, and no gradient of a frozen weight is ever computed. Backward goes through the weight that
  // forward had, whatever becomes of the layer in between. On the CPU backward with create_graph throws Error{unsupported}.
  Tensor forward(const Tensor& x, const Tensor& residual = {}) const;
  Tensor operator()(const Tensor& x, const Tensor& residual = {}) const { return forward(x, residual); }

  // silu(forward(x)) in one pass; group_norm only. shift: [B, C], added to x beforehand (a time embedding), or undefined.
  Tensor forward_silu(const Tensor& x, const Tensor& shift = {}) const;

  // The bare operation with any weight and bias (undefined: none), in their dtype; autograd flows. This is the definition that
  // forward()'s fast paths must meet.
  Tensor plain(const Tensor& x, const Tensor& weight, const Tensor& bias) const;

  // Replaces the effective weight and bias (undefined: the base one). Any floating dtype, on the CPU; converted and packed here.
  void set_merged(Tensor weight, Tensor bias);
  // Back to the base, bit for bit.
  void clear_merged();
  bool is_merged() const { return merged_; }

  // conv2d: the borders wrap round instead of being padded with zeros (seamless pictures). Others: nothing changes. Not while merged.
  void set_circular(bool circular);

  // Training of the weight itself: `live` is called at each forward pass, and its weight and bias take the place of the effective ones, in
  // the compute dtype, with gradients. An empty function: back to what was before, bit for bit. Meanwhile the layer's packed weight is
  // given up, unless it is merged.
  void set_live(std::function<LiveWeight()> live);
  bool is_live() const { return static_cast<bool>(live_); }

  void set_run_time_terms(std::vector<RunTimeTerm> terms) { terms_ = std::move(terms); }
  const std::vector<RunTimeTerm>& run_time_terms() const { return terms_; }

  // Null: none. Meanwhile forward() throws Error{internal}: only those who know of variants can use the layer.
  void set_variants(std::shared_ptr<const LayerVariants> variants) { variants_ = std::move(variants); }
  const LayerVariants* variants() const { return variants_.get(); }
  // forward() as variant i has it; without variants forward() itself.
  Tensor forward_variant(size_t i, const Tensor& x) const;

 private:
  struct Prepared;  // weight and bias in the compute dtype, on the device, packed for the fast path
  void prepare(const Tensor& weight, const Tensor& bias);
  // What the operation is to be computed with where no packed form serves.
  LiveWeight effective() const;
  Tensor packed(const Tensor& x, const Tensor& residual) const;
  Tensor unpacked(const Tensor& x) const;
  Tensor norm(const Tensor& x, bool silu, const Tensor& shift) const;
  Tensor without_variants(const Tensor& x, const Tensor& residual) const;

  std::string path_;
  LayerGeometry geometry_;
  Tensor weight_, bias_;
  Compute compute_;
  std::unique_ptr<Prepared> prepared_;  // null: live, and not merged
  bool merged_ = false;
  std::vector<RunTimeTerm> terms_;
  std::function<LiveWeight()> live_;
  std::shared_ptr<const LayerVariants> variants_;
};

// Keyed by path; the first part names the component: "unet.", "text_encoder.", "text_encoder_2.", "vae.".
using LayerMap = std::map<std::string, std::shared_ptr<Layer>>;

}  // namespace lorikeet
