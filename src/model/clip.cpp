#include "model/clip.h"

#include "base/error.h"
#include "nn/functional.h"
#include "nn/recompute.h"

namespace lorikeet {

// A pre-norm transformer block. x: [B, T, D].
struct ClipTextModel::Block {
  int64_t heads;
  bool quick;
  std::shared_ptr<Layer> norm1, q, k, v, out, norm2, fc1, fc2;

  Block(const ClipConfig& c, const Weights& w) : heads(c.heads), quick(c.quick_gelu) {
    const auto attn = w / "self_attn";
    norm1 = (w / "layer_norm1").layer_norm(c.width);
    q = (attn / "q_proj").linear(c.width, c.width);
    k = (attn / "k_proj").linear(c.width, c.width);
    v = (attn / "v_proj").linear(c.width, c.width);
    out = (attn / "out_proj").linear(c.width, c.width);
    norm2 = (w / "layer_norm2").layer_norm(c.width);
    fc1 = (w / "mlp" / "fc1").linear(c.width, c.intermediate);
    fc2 = (w / "mlp" / "fc2").linear(c.intermediate, c.width);
  }

  Tensor operator()(const Tensor& x) const {
    const Tensor n = (*norm1)(x);
    const Tensor y = (*out)(attention((*q)(n), (*k)(n), (*v)(n), heads, /*causal=*/true), x);
    const Tensor h = (*fc1)((*norm2)(y));
    return (*fc2)(quick ? quick_gelu(h) : lorikeet::gelu(h), y);
  }
};

ClipTextModel::ClipTextModel(const ClipConfig& config, const Weights& weights) : config_(config) {
  const auto text = weights / "text_model";
  const auto embeddings = text / "embeddings";
  tokens_ = (embeddings / "token_embedding").embedding(config.vocabulary, config.width);
  positions_ = (embeddings / "position_embedding").take_converted("weight", {config.positions, config.width});
  for (int64_t i = 0; i < config.layers; ++i) blocks_.push_back(std::make_shared<Block>(config, text / "encoder" / "layers" / i));
  final_norm_ = (text / "final_layer_norm").layer_norm(config.width);
  if (config.projection) projection_ = (weights / "text_projection").linear(config.width, -1, /*bias=*/false);
}

Tensor ClipTextModel::embed(const Tensor& ids) const { return (*tokens_)(ids); }

std::vector<Tensor> ClipTextModel::hidden_states(const Tensor& embedded) const {
  std::vector<Tensor> states{embedded + positions_.slice(0, 0, embedded.size(1))};
  for (const auto& block : blocks_) {
    states.push_back(piece(recompute, [block](const std::vector<Tensor>& in) { return (*block)(in[0]); }, {states.back()}));
  }
  return states;
}

Tensor ClipTextModel::final_norm(const Tensor& hidden) const { return (*final_norm_)(hidden); }

ClipOutput ClipTextModel::forward(const Tensor& embedded, const Tensor& end, int skip) const {
  if (skip < 1 || skip > config_.layers) {
    throw Error(ErrorKind::bad_input, "clip skip " + std::to_string(skip) + " is out of range",
                "this text encoder has " + std::to_string(config_.layers) + " layers; 1 is the last");
  }
  const auto states = hidden_states(embedded);
  const Tensor last = final_norm(states.back());
  const Tensor& chosen = states[states.size() - static_cast<size_t>(skip)];
  const Tensor rows = torch::arange(embedded.size(0), end.options());
  const Tensor pooled = last.index({rows, end});
  return {config_.final_norm ? (skip == 1 ? last : final_norm(chosen)) : chosen, projection_ ? (*projection_)(pooled) : pooled};
}

}  // namespace lorikeet
