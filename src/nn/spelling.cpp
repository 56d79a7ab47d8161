#include "nn/spelling.h"

#include <array>
#include <optional>
#include <span>

#include "base/text.h"

namespace lorikeet {
namespace {

using Parts = std::vector<std::string_view>;

struct Rename {
  std::string_view from, to;
};

constexpr int64_t kBlocksPerLevel = 3;  // layers_per_block 2, and a down-sampler (or one more resnet on the way up)
constexpr int64_t kVaeLevels = 4;       // LDM counts the decoder's levels from the fine end

constexpr std::array<Rename, 6> kUnetResnet{{{"norm1", "in_layers.0"},
                                             {"conv1", "in_layers.2"},
                                             {"time_emb_proj", "emb_layers.1"},
                                             {"norm2", "out_layers.0"},
                                             {"conv2", "out_layers.3"},
                                             {"conv_shortcut", "skip_connection"}}};
constexpr std::array<Rename, 7> kUnetOutside{{{"conv_in", "input_blocks.0.0"},
                                              {"conv_norm_out", "out.0"},
                                              {"conv_out", "out.2"},
                                              {"time_embedding.linear_1", "time_embed.0"},
                                              {"time_embedding.linear_2", "time_embed.2"},
                                              {"add_embedding.linear_1", "label_emb.0.0"},
                                              {"add_embedding.linear_2", "label_emb.0.2"}}};
constexpr std::array<Rename, 1> kUnetDownSampler{{{"conv", "op"}}};
constexpr std::array<Rename, 1> kVaeResnet{{{"conv_shortcut", "nin_shortcut"}}};
constexpr std::array<Rename, 9> kVaeAttention{{{"group_norm", "norm"},
                                               {"to_q", "q"},
                                               {"to_k", "k"},
                                               {"to_v", "v"},
                                               {"to_out.0", "proj_out"},
                                               // diffusers before 0.15
                                               {"query", "q"},
                                               {"key", "k"},
                                               {"value", "v"},
                                               {"proj_attn", "proj_out"}}};
constexpr std::array<Rename, 8> kOpenClipLayer{{{"layer_norm1", "ln_1"},
                                                {"layer_norm2", "ln_2"},
                                                {"self_attn.q_proj", "attn.in_proj"},
                                                {"self_attn.k_proj", "attn.in_proj"},
                                                {"self_attn.v_proj", "attn.in_proj"},
                                                {"self_attn.out_proj", "attn.out_proj"},
                                                {"mlp.fc1", "mlp.c_fc"},
                                                {"mlp.fc2", "mlp.c_proj"}}};
constexpr std::array<Rename, 4> kOpenClipOutside{{{"text_model.embeddings.token_embedding", "token_embedding"},
                                                  {"text_model.embeddings.position_embedding", "positional_embedding"},
                                                  {"text_model.final_layer_norm", "ln_final"},
                                                  {"text_projection", "text_projection"}}};

// The renamed path when `path` is one of the table's names or lies below it.
std::optional<std::string> renamed(std::string_view path, std::span<const Rename> table) {
  for (const Rename& entry : table) {
    if (!starts_with(path, entry.from)) continue;
    const std::string_view rest = path.substr(entry.from.size());
    if (rest.empty() || rest.front() == '.') return std::string(entry.to) + std::string(rest);
  }
  return std::nullopt;
}

std::string rename_inside(std::string_view path, std::span<const Rename> table) { return renamed(path, table).value_or(std::string(path)); }

std::string below(std::string parent, std::string_view child) {
  return child.empty() ? parent : std::move(parent.append(".").append(child));
}

// What follows the first `count` parts of `path`.
std::string_view behind(std::string_view path, size_t count) {
  for (; count > 0; --count) {
    const size_t dot = path.find('.');
    if (dot == std::string_view::npos) return {};
    path.remove_prefix(dot + 1);
  }
  return path;
}

// "down_blocks.1.resnets.0…" taken apart; nothing when the path is not of that form.
struct BlockPlace {
  std::string_view kind;  // "resnets", "attentions", "downsamplers", "upsamplers"
  int64_t block = 0, index = 0;
  std::string_view inside;
};

std::optional<BlockPlace> block_place(std::string_view path, std::string_view blocks) {
  const Parts parts = split(path, '.');
  if (parts.size() < 4 || parts[0] != blocks) return std::nullopt;
  const auto block = parse_int(parts[1]), index = parse_int(parts[3]);
  if (!block || !index) return std::nullopt;
  return BlockPlace{parts[2], *block, *index, behind(path, 4)};
}

std::string place(std::string_view list, int64_t number, int64_t slot) {
  return std::string(list) + "." + std::to_string(number) + "." + std::to_string(slot);
}

std::optional<std::string> unet_down(const BlockPlace& at) {
  const int64_t first = kBlocksPerLevel * at.block + 1;  // input_blocks.0 is conv_in
  if (at.kind == "resnets") return below(place("input_blocks", first + at.index, 0), rename_inside(at.inside, kUnetResnet));
  if (at.kind == "attentions") return below(place("input_blocks", first + at.index, 1), at.inside);
  if (at.kind == "downsamplers") return below(place("input_blocks", first + 2, 0), rename_inside(at.inside, kUnetDownSampler));
  return std::nullopt;
}

std::vector<std::string> unet_up(const BlockPlace& at) {
  const int64_t first = kBlocksPerLevel * at.block;
  if (at.kind == "resnets") return {below(place("output_blocks", first + at.index, 0), rename_inside(at.inside, kUnetResnet))};
  if (at.kind == "attentions") return {below(place("output_blocks", first + at.index, 1), at.inside)};
  if (at.kind == "upsamplers")
    return {below(place("output_blocks", first + 2, 2), at.inside), below(place("output_blocks", first + 2, 1), at.inside)};
  return {};
}

// "mid_block.resnets.0…" and "mid_block.attentions.0…"
std::optional<std::string> unet_mid(std::string_view path) {
  const Parts parts = split(path, '.');
  if (parts.size() < 3 || parts[0] != "mid_block") return std::nullopt;
  const auto index = parse_int(parts[2]);
  if (!index) return std::nullopt;
  if (parts[1] == "resnets") return below("middle_block." + std::to_string(2 * *index), rename_inside(behind(path, 3), kUnetResnet));
  if (parts[1] == "attentions") return below("middle_block." + std::to_string(2 * *index + 1), behind(path, 3));
  return std::nullopt;
}

// `path` below "encoder." or "decoder.", of which `side` is the name.
std::optional<std::string> vae_inside(std::string_view side, std::string_view path) {
  const Parts parts = split(path, '.');
  const std::string root(side);
  if (const auto down = block_place(path, "down_blocks")) {
    const std::string level = root + ".down." + std::to_string(down->block);
    if (down->kind == "resnets") return below(level + ".block." + std::to_string(down->index), rename_inside(down->inside, kVaeResnet));
    if (down->kind == "downsamplers") return below(level + ".downsample", down->inside);
  }
  if (const auto up = block_place(path, "up_blocks")) {
    const std::string level = root + ".up." + std::to_string(kVaeLevels - 1 - up->block);
    if (up->kind == "resnets") return below(level + ".block." + std::to_string(up->index), rename_inside(up->inside, kVaeResnet));
    if (up->kind == "upsamplers") return below(level + ".upsample", up->inside);
  }
  if (parts.size() >= 3 && parts[0] == "mid_block") {
    const auto index = parse_int(parts[2]);
    if (index && parts[1] == "resnets")
      return below(root + ".mid.block_" + std::to_string(*index + 1), rename_inside(behind(path, 3), kVaeResnet));
    if (index && parts[1] == "attentions")
      return below(root + ".mid.attn_" + std::to_string(*index + 1), rename_inside(behind(path, 3), kVaeAttention));
  }
  if (parts[0] == "conv_norm_out") return below(root + ".norm_out", behind(path, 1));
  return std::nullopt;
}

}  // namespace

std::vector<std::string> ldm_unet_spellings(std::string_view path) {
  if (const auto down = block_place(path, "down_blocks")) {
    if (auto spelled = unet_down(*down)) return {*spelled};
  }
  if (const auto up = block_place(path, "up_blocks")) {
    if (auto spelled = unet_up(*up); !spelled.empty()) return spelled;
  }
  if (auto spelled = unet_mid(path)) return {*spelled};
  return {rename_inside(path, kUnetOutside)};
}

std::string ldm_vae_spelling(std::string_view path) {
  for (std::string_view side : {"encoder", "decoder"}) {
    if (split(path, '.').front() != side) continue;
    if (auto spelled = vae_inside(side, behind(path, 1))) return *spelled;
  }
  return std::string(path);
}

std::string open_clip_spelling(std::string_view path) {
  constexpr std::string_view kLayers = "text_model.encoder.layers.";
  if (!starts_with(path, kLayers)) {
    std::string spelled = rename_inside(path, kOpenClipOutside);
    // OpenCLIP keeps these two as bare parameters.
    for (std::string_view bare : {"positional_embedding", "text_projection"})
      if (spelled == std::string(bare) + ".weight") return std::string(bare);
    return spelled;
  }
  const std::string_view number = split(path, '.')[3];
  std::string spelled = below("transformer.resblocks." + std::string(number), rename_inside(behind(path, 4), kOpenClipLayer));
  // The fused projection's parameters are joined by '_': "attn.in_proj_weight".
  return replace_all(std::move(spelled), "attn.in_proj.", "attn.in_proj_");
}

}  // namespace lorikeet
