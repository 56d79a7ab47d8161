#include "model/unet.h"

#include "model/unet_blocks.h"
#include "nn/functional.h"
#include "nn/recompute.h"

namespace lorikeet {

// One resolution on the way down or up: residual blocks, an attention behind each (or none), then the change of size.
struct UNet::Level {
  std::vector<ResnetBlock> resnets;
  std::vector<SpatialTransformer> attentions;
  std::shared_ptr<Layer> resize;
  std::string path;
};

struct UNet::Parts {
  std::shared_ptr<Layer> time1, time2, added1, added2, conv_in, norm_out, conv_out;
  std::vector<Level> down, up;
  std::vector<ResnetBlock> middle_resnets;
  std::vector<SpatialTransformer> middle_attention;
};

UNet::UNet(const UNetConfig& c, const Weights& w) : config_(c), compute_(w.compute()), parts_(std::make_unique<Parts>()) {
  Parts& p = *parts_;
  const auto levels = static_cast<int64_t>(c.channels.size());
  const int64_t first = c.channels.front(), last = c.channels.back(), time = 4 * first;
  const int groups = static_cast<int>(c.groups);

  p.conv_in = (w / "conv_in").conv2d(c.in_channels, first, 3);
  p.time1 = (w / "time_embedding" / "linear_1").linear(first, time);
  p.time2 = (w / "time_embedding" / "linear_2").linear(time, time);
  if (c.added_width) {
    p.added1 = (w / "add_embedding" / "linear_1").linear(c.added_width, time);
    p.added2 = (w / "add_embedding" / "linear_2").linear(time, time);
  }

  std::vector<int64_t> skips{first};  // channels of what the way down leaves for the way up
  int64_t channels = first;
  for (int64_t i = 0; i < levels; ++i) {
    const auto at = w / "down_blocks" / i;
    Level level;
    level.path = at.path();
    for (int64_t j = 0; j < c.layers; ++j) {
      level.resnets.emplace_back(at / "resnets" / j, channels, c.channels[i], time, groups);
      channels = c.channels[i];
      if (c.depth[i]) level.attentions.emplace_back(at / "attentions" / j, c, channels, c.heads[i], c.depth[i]);
      skips.push_back(channels);
    }
    if (i + 1 < levels) {
      level.resize = (at / "downsamplers" / 0 / "conv").conv2d(channels, channels, 3, 2);
      skips.push_back(channels);
    }
    p.down.push_back(std::move(level));
  }

  const auto middle = w / "mid_block";
  p.middle_resnets.emplace_back(middle / "resnets" / 0, last, last, time, groups);
  if (c.middle_depth) p.middle_attention.emplace_back(middle / "attentions" / 0, c, last, c.heads.back(), c.middle_depth);
  p.middle_resnets.emplace_back(middle / "resnets" / 1, last, last, time, groups);

  for (int64_t i = 0; i < levels; ++i) {
    const auto at = w / "up_blocks" / i;
    const int64_t mirrored = levels - 1 - i;
    Level level;
    level.path = at.path();
    for (int64_t j = 0; j <= c.layers; ++j) {
      level.resnets.emplace_back(at / "resnets" / j, channels + skips.back(), c.channels[mirrored], time, groups);
      skips.pop_back();
      channels = c.channels[mirrored];
      if (c.depth[mirrored]) level.attentions.emplace_back(at / "attentions" / j, c, channels, c.heads[mirrored], c.depth[mirrored]);
    }
    if (i + 1 < levels) level.resize = (at / "upsamplers" / 0 / "conv").conv2d(channels, channels, 3);
    p.up.push_back(std::move(level));
  }
  p.norm_out = (w / "conv_norm_out").group_norm(first, groups, 1e-5);
  p.conv_out = (w / "conv_out").conv2d(first, c.out_channels, 3);
}

UNet::~UNet() = default;

// [B, 4·channels[0]], through SiLU as every residual block wants it.
Tensor UNet::time_embedding(const UNetInput& input) const {
  const Parts& p = *parts_;
  const Tensor sinusoid = timestep_embedding(input.timestep, config_.channels.front()).to(compute_.dtype);
  Tensor time = (*p.time2)(lorikeet::silu((*p.time1)(sinusoid)));
  if (p.added1) {
    const Tensor ids = timestep_embedding(input.time_ids.flatten(), config_.time_id_width).view({input.x.size(0), -1});
    const Tensor added = torch::cat({input.pooled.to(torch::kFloat), ids}, 1).to(compute_.dtype);
    time = time + (*p.added2)(lorikeet::silu((*p.added1)(added)));
  }
  return lorikeet::silu(time);
}

Tensor UNet::forward(const UNetInput& input) const {
  const Parts& p = *parts_;
  const Tensor time = time_embedding(input);
  const Tensor context = input.context.to(compute_.dtype).contiguous();
  const auto resnet = [&](const ResnetBlock& block, const Tensor& x) {
    return piece(recompute, [&block](const std::vector<Tensor>& in) { return block(in[0], in[1]); }, {x, time});
  };
  const auto traced = [&](const std::string& name, Tensor y) {
    if (trace) trace(name, y);
    return y;
  };

  Tensor h = traced("unet.conv_in", (*p.conv_in)(input.x.to(compute_.dtype).contiguous(torch::MemoryFormat::ChannelsLast)));
  std::vector<Tensor> skips{h};
  for (const Level& level : p.down) {
    for (size_t j = 0; j < level.resnets.size(); ++j) {
      h = traced(level.path + ".resnets." + std::to_string(j), resnet(level.resnets[j], h));
      if (!level.attentions.empty())
        h = traced(level.path + ".attentions." + std::to_string(j), level.attentions[j](h, context, recompute));
      skips.push_back(h);
    }
    if (level.resize) skips.push_back(h = (*level.resize)(h));
    traced(level.path, h);
  }

  h = traced("unet.mid_block.resnets.0", resnet(p.middle_resnets[0], h));
  if (!p.middle_attention.empty()) h = traced("unet.mid_block.attentions.0", p.middle_attention[0](h, context, recompute));
  h = traced("unet.mid_block", resnet(p.middle_resnets[1], h));

  for (const Level& level : p.up) {
    for (size_t j = 0; j < level.resnets.size(); ++j) {
      h = concat_channels(h, skips.back());
      skips.pop_back();
      h = traced(level.path + ".resnets." + std::to_string(j), resnet(level.resnets[j], h));
      if (!level.attentions.empty())
        h = traced(level.path + ".attentions." + std::to_string(j), level.attentions[j](h, context, recompute));
    }
    if (level.resize) h = (*level.resize)(upsample_nearest(h, skips.back().size(2), skips.back().size(3)));
    traced(level.path, h);
  }
  return (*p.conv_out)(p.norm_out->forward_silu(h));
}

}  // namespace lorikeet
