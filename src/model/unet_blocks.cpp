#include "model/unet_blocks.h"

#include "nn/functional.h"
#include "nn/recompute.h"

namespace lorikeet {

namespace {

// Under LoRAs that work in a part of the picture the text says different things to different places: attention for each variant of keys and
// values, blended at the queries. q: [B, T, D], context: [B, S, E] -> [B, T, D]
Tensor attention_by_place(const Tensor& q, const Layer& k, const Layer& v, const Tensor& context, int64_t heads) {
  const LayerVariants& variants = k.variants() ? *k.variants() : *v.variants();
  Tensor y;
  for (size_t i = 0; i < variants.terms.size(); ++i) {
    const Tensor seen = attention(q, k.forward_variant(i, context), v.forward_variant(i, context), heads) * variants.share(i, q);
    y = y.defined() ? y + seen : seen;
  }
  return y;
}

}  // namespace

ResnetBlock::ResnetBlock(const Weights& w, int64_t in, int64_t out, int64_t time_width, int groups)
    : norm1_((w / "norm1").group_norm(in, groups, 1e-5)),
      conv1_((w / "conv1").conv2d(in, out, 3)),
      time_((w / "time_emb_proj").linear(time_width, out)),
      norm2_((w / "norm2").group_norm(out, groups, 1e-5)),
      conv2_((w / "conv2").conv2d(out, out, 3)),
      shortcut_(in != out ? (w / "conv_shortcut").conv2d(in, out, 1) : nullptr) {}

Tensor ResnetBlock::operator()(const Tensor& x, const Tensor& time) const {
  const Tensor h = (*conv1_)(norm1_->forward_silu(x));
  return (*conv2_)(norm2_->forward_silu(h, (*time_)(time)), shortcut_ ? (*shortcut_)(x) : x);
}

TransformerBlock::Attention::Attention(const Weights& w, int64_t width, int64_t context, int64_t heads)
    : q((w / "to_q").linear(width, width, false)),
      k((w / "to_k").linear(context, width, false)),
      v((w / "to_v").linear(context, width, false)),
      out((w / "to_out" / 0).linear(width, width)),
      heads(heads) {}

Tensor TransformerBlock::Attention::operator()(const Tensor& x, const Tensor& context, const Tensor& residual) const {
  if (k->variants() || v->variants()) return (*out)(attention_by_place((*q)(x), *k, *v, context, heads), residual);
  return (*out)(attention((*q)(x), (*k)(context), (*v)(context), heads), residual);
}

TransformerBlock::TransformerBlock(const Weights& w, int64_t width, int64_t context, int64_t heads)
    : norm1_((w / "norm1").layer_norm(width)),
      norm2_((w / "norm2").layer_norm(width)),
      norm3_((w / "norm3").layer_norm(width)),
      ff_in_((w / "ff" / "net" / 0 / "proj").linear(width, 8 * width)),
      ff_out_((w / "ff" / "net" / 2).linear(4 * width, width)),
      self_(std::make_unique<Attention>(w / "attn1", width, width, heads)),
      cross_(std::make_unique<Attention>(w / "attn2", width, context, heads)) {}

Tensor TransformerBlock::operator()(const Tensor& x, const Tensor& context) const {
  const Tensor n1 = (*norm1_)(x);
  const Tensor h1 = (*self_)(n1, n1, x);
  const Tensor h2 = (*cross_)((*norm2_)(h1), context, h1);
  return (*ff_out_)(geglu((*ff_in_)((*norm3_)(h2))), h2);
}

SpatialTransformer::SpatialTransformer(const Weights& w, const UNetConfig& config, int64_t channels, int64_t heads, int64_t depth)
    : norm_((w / "norm").group_norm(channels, static_cast<int>(config.groups), 1e-6)) {
  // The projections are linears over the pixels or 1×1 convolutions: the same product, but a LoRA file tells them apart.
  const auto projection = [&](const Weights& at) {
    return config.linear_projection ? at.linear(channels, channels) : at.conv2d(channels, channels, 1);
  };
  proj_in_ = projection(w / "proj_in");
  for (int64_t i = 0; i < depth; ++i) blocks_.emplace_back(w / "transformer_blocks" / i, channels, config.context, heads);
  proj_out_ = projection(w / "proj_out");
}

Tensor SpatialTransformer::operator()(const Tensor& x, const Tensor& context, bool recompute) const {
  const bool linear = proj_in_->geometry().op == LayerOp::linear;
  const int64_t height = x.size(2), width = x.size(3);
  Tensor tokens = linear ? (*proj_in_)(to_tokens((*norm_)(x))) : to_tokens((*proj_in_)((*norm_)(x)));  // [B, H·W, C]
  for (const auto& block : blocks_) {
    tokens = piece(recompute, [&block](const std::vector<Tensor>& in) { return block(in[0], in[1]); }, {tokens, context});
  }
  return linear ? from_tokens((*proj_out_)(tokens, to_tokens(x)), height, width) : (*proj_out_)(from_tokens(tokens, height, width), x);
}

}  // namespace lorikeet
