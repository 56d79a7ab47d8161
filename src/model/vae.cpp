#include "model/vae.h"

#include "nn/functional.h"

namespace lorikeet {

namespace {

constexpr double kEps = 1e-6;  // of the autoencoder's norms (latent-diffusion's Normalize)

// x: [B, in, H, W] -> [B, out, H, W].
struct Resnet {
  std::shared_ptr<Layer> norm1, conv1, norm2, conv2, shortcut;

  Resnet(const Weights& w, int64_t in, int64_t out, int groups)
      : norm1((w / "norm1").group_norm(in, groups, kEps)),
        conv1((w / "conv1").conv2d(in, out, 3)),
        norm2((w / "norm2").group_norm(out, groups, kEps)),
        conv2((w / "conv2").conv2d(out, out, 3)),
        shortcut(in != out ? (w / "conv_shortcut").conv2d(in, out, 1) : nullptr) {}

  Tensor operator()(const Tensor& x) const {
    const Tensor h = (*conv1)(norm1->forward_silu(x));
    return (*conv2)(norm2->forward_silu(h), shortcut ? (*shortcut)(x) : x);
  }
};

// Residual block, single-head self-attention over the pixels, residual block.
struct Middle {
  Resnet first, second;
  std::shared_ptr<Layer> norm, q, k, v, out;

  Middle(const Weights& w, int64_t channels, int groups)
      : first(w / "resnets" / 0, channels, channels, groups), second(w / "resnets" / 1, channels, channels, groups) {
    const auto attention = w / "attentions" / 0;
    norm = (attention / "group_norm").group_norm(channels, groups, kEps);
    q = (attention / "to_q").linear(channels, channels);
    k = (attention / "to_k").linear(channels, channels);
    v = (attention / "to_v").linear(channels, channels);
    out = (attention / "to_out" / 0).linear(channels, channels);
  }

  Tensor operator()(const Tensor& x) const {
    const Tensor h = first(x);
    const Tensor n = to_tokens((*norm)(h));
    const Tensor y = (*out)(attention((*q)(n), (*k)(n), (*v)(n), /*heads=*/1), to_tokens(h));
    return second(from_tokens(y, h.size(2), h.size(3)));
  }
};

struct Level {
  std::vector<Resnet> resnets;
  std::shared_ptr<Layer> resize;
};

// Halves the size; the picture is padded on the right and below only.
Tensor downsample(const Layer& conv, const Tensor& x) {
  return conv(torch::constant_pad_nd(x, {0, 1, 0, 1}).contiguous(torch::MemoryFormat::ChannelsLast));
}

}  // namespace

struct Vae::Parts {
  std::shared_ptr<Layer> quant, post_quant;
  std::shared_ptr<Layer> encoder_in, encoder_norm, encoder_out, decoder_in, decoder_norm, decoder_out;
  std::vector<Level> down, up;
  std::unique_ptr<Middle> encoder_middle, decoder_middle;
};

Vae::Vae(const VaeConfig& c, const Weights& w) : config_(c), compute_(w.compute()), parts_(std::make_unique<Parts>()) {
  Parts& p = *parts_;
  const auto levels = static_cast<int64_t>(c.channels.size());
  const int groups = static_cast<int>(c.groups);
  const int64_t first = c.channels.front(), last = c.channels.back(), z = c.latent_channels;
  const auto encoder = w / "encoder", decoder = w / "decoder";

  p.encoder_in = (encoder / "conv_in").conv2d(3, first, 3);
  int64_t channels = first;
  for (int64_t i = 0; i < levels; ++i) {
    const auto at = encoder / "down_blocks" / i;
    Level level;
    for (int64_t j = 0; j < c.layers; ++j) {
      level.resnets.emplace_back(at / "resnets" / j, channels, c.channels[i], groups);
      channels = c.channels[i];
    }
    if (i + 1 < levels) level.resize = (at / "downsamplers" / 0 / "conv").conv2d(channels, channels, 3, 2, 0);
    p.down.push_back(std::move(level));
  }
  p.encoder_middle = std::make_unique<Middle>(encoder / "mid_block", last, groups);
  p.encoder_norm = (encoder / "conv_norm_out").group_norm(last, groups, kEps);
  p.encoder_out = (encoder / "conv_out").conv2d(last, 2 * z, 3);
  p.quant = (w / "quant_conv").conv2d(2 * z, 2 * z, 1);

  p.post_quant = (w / "post_quant_conv").conv2d(z, z, 1);
  p.decoder_in = (decoder / "conv_in").conv2d(z, last, 3);
  p.decoder_middle = std::make_unique<Middle>(decoder / "mid_block", last, groups);
  channels = last;
  for (int64_t i = 0; i < levels; ++i) {
    const auto at = decoder / "up_blocks" / i;
    const int64_t width = c.channels[levels - 1 - i];
    Level level;
    for (int64_t j = 0; j <= c.layers; ++j) {
      level.resnets.emplace_back(at / "resnets" / j, channels, width, groups);
      channels = width;
    }
    if (i + 1 < levels) level.resize = (at / "upsamplers" / 0 / "conv").conv2d(channels, channels, 3);
    p.up.push_back(std::move(level));
  }
  p.decoder_norm = (decoder / "conv_norm_out").group_norm(first, groups, kEps);
  p.decoder_out = (decoder / "conv_out").conv2d(first, 3, 3);
}

Vae::~Vae() = default;

VaeEncoding Vae::encode(const Tensor& pixels) const {
  const Parts& p = *parts_;
  Tensor h = (*p.encoder_in)(pixels.to(compute_.device, compute_.dtype).contiguous(torch::MemoryFormat::ChannelsLast));
  for (const Level& level : p.down) {
    for (const auto& resnet : level.resnets) h = resnet(h);
    if (level.resize) h = downsample(*level.resize, h);
  }
  h = (*p.quant)((*p.encoder_out)(p.encoder_norm->forward_silu((*p.encoder_middle)(h))));
  const auto halves = h.to(torch::kFloat).chunk(2, 1);
  return {halves[0].contiguous(), halves[1].clamp(-30, 20).contiguous()};
}

Tensor Vae::decode(const Tensor& latent) const {
  const Parts& p = *parts_;
  Tensor h = (*p.post_quant)(latent.to(compute_.device, compute_.dtype).contiguous(torch::MemoryFormat::ChannelsLast));
  h = (*p.decoder_middle)((*p.decoder_in)(h));
  for (const Level& level : p.up) {
    for (const auto& resnet : level.resnets) h = resnet(h);
    if (level.resize) h = (*level.resize)(upsample_nearest(h, 2 * h.size(2), 2 * h.size(3)));
  }
  return (*p.decoder_out)(p.decoder_norm->forward_silu(h)).to(torch::kFloat).contiguous();
}

}  // namespace lorikeet
