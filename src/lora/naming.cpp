#include "lora/naming.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <optional>

#include "base/text.h"
#include "nn/spelling.h"

namespace lorikeet {
namespace {

using Keys = std::vector<LoraKey>;

enum class Part { unet, text_encoder, text_encoder_2, other };

// "unet.mid_block.…" -> unet, "mid_block.…"
struct Place {
  Part part = Part::other;
  std::string_view body;
};

Place place_of(std::string_view path) {
  for (const auto& [prefix, part] : {std::pair<std::string_view, Part>{"unet.", Part::unet},
                                     {"text_encoder.", Part::text_encoder},
                                     {"text_encoder_2.", Part::text_encoder_2}})
    if (starts_with(path, prefix)) return {part, path.substr(prefix.size())};
  return {};
}

std::string underscored(std::string_view path) { return replace_all(std::string(path), ".", "_"); }

// The layer's place in OpenCLIP's fused projection.
int fused_part(std::string_view body) {
  constexpr std::array<std::string_view, 3> kProjections{".q_proj", ".k_proj", ".v_proj"};
  for (size_t i = 0; i < kProjections.size(); ++i)
    if (ends_with(body, kProjections[i])) return static_cast<int>(i);
  return -1;
}

// The layer in the words of the original checkpoints: LDM's U-Net, OpenCLIP's text encoders.
Keys original_bodies(const Place& place) {
  Keys keys;
  if (place.part == Part::unet) {
    for (std::string& body : ldm_unet_spellings(place.body)) keys.push_back({std::move(body), -1});
  } else if (place.part != Part::other) {
    keys.push_back({open_clip_spelling(place.body), fused_part(place.body)});
  }
  return keys;
}

using Words = std::initializer_list<std::string_view>;

void add(Keys& keys, std::span<const std::string_view> prefixes, std::string_view body, int part = -1) {
  for (std::string_view prefix : prefixes) keys.push_back({std::string(prefix) + std::string(body), part});
}
void add(Keys& keys, Words prefixes, std::string_view body, int part = -1) {
  add(keys, std::span(prefixes.begin(), prefixes.size()), body, part);
}

// kohya's sd-scripts: a prefix, then the path with underscores. oft_unet: its OFT; lycoris: LyCORIS' own wrapper.
constexpr std::array<std::string_view, 2> kUnderscoredUnet{"lora_unet_", "oft_unet_"};
constexpr std::array<std::string_view, 4> kUnderscoredText{"lora_te_", "lora_te1_", "oft_te_", "oft_te1_"};
constexpr std::array<std::string_view, 2> kUnderscoredText2{"lora_te2_", "oft_te2_"};

Keys kohya(std::string_view path) {
  const Place place = place_of(path);
  const std::string body = underscored(place.body);
  Keys keys;
  if (place.part == Part::unet) {
    add(keys, kUnderscoredUnet, body);
    add(keys, {"lycoris_", "lycoris_unet_"}, body);
  }
  if (place.part == Part::text_encoder) add(keys, kUnderscoredText, body);
  if (place.part == Part::text_encoder_2) add(keys, kUnderscoredText2, body);
  return keys;
}

Keys kohya_original(std::string_view path) {
  const Place place = place_of(path);
  Keys keys;
  for (const auto& [original, part] : original_bodies(place)) {
    const std::string body = underscored(original);
    if (place.part == Part::unet) add(keys, kUnderscoredUnet, body, part);
    if (place.part == Part::text_encoder) add(keys, {"lora_te_", "lora_te1_", "lora_te_model_"}, body, part);
    if (place.part == Part::text_encoder_2) add(keys, {"lora_te2_", "lora_te2_model_", "lora_g_"}, body, part);
  }
  return keys;
}

// diffusers' attention processors (before 0.22): "….attn1.processor.to_q", "…self_attn.to_q" in the text encoders.
Keys attention_processors(std::string_view path) {
  const Place place = place_of(path);
  Keys keys;
  const size_t dot = place.body.rfind(".to_");
  if (place.part == Part::unet && dot != std::string_view::npos) {
    std::string_view projection = place.body.substr(dot + 1);
    if (projection == "to_out.0") projection = "to_out";
    add(keys, {"unet.", ""}, std::string(place.body.substr(0, dot)) + ".processor." + std::string(projection));
  }
  if (place.part != Part::text_encoder && place.part != Part::text_encoder_2) return keys;
  for (std::string_view letter : {"q", "k", "v", "out"}) {
    const std::string projection = std::string(letter) + "_proj";
    if (!ends_with(place.body, "self_attn." + projection)) continue;
    const std::string body = std::string(place.body.substr(0, place.body.size() - projection.size())) + "to_" + std::string(letter);
    add(keys, {place.part == Part::text_encoder ? "text_encoder." : "text_encoder_2."}, body);
  }
  return keys;
}

// diffusers now, and PEFT inside of it: the path itself.
Keys diffusers(std::string_view path) {
  const Place place = place_of(path);
  Keys keys;
  if (place.part == Part::other) return keys;
  add(keys, {""}, path);
  if (place.part == Part::unet) add(keys, {""}, place.body);
  return keys;
}

// PEFT's save_pretrained(): of one component, whose name the file does not say; a text encoder then is the first one.
Keys peft(std::string_view path) {
  const Place place = place_of(path);
  Keys keys;
  if (place.part == Part::unet) add(keys, {"base_model.model.", "unet.base_model.model."}, place.body);
  if (place.part == Part::text_encoder) add(keys, {"base_model.model.", "text_encoder.base_model.model."}, place.body);
  if (place.part == Part::text_encoder_2) add(keys, {"text_encoder_2.base_model.model."}, place.body);
  if (place.part != Part::other) add(keys, {"base_model.model."}, path);
  return keys;
}

// ComfyUI's and OneTrainer's: the original checkpoint's own dotted names.
Keys original_dotted(std::string_view path) {
  const Place place = place_of(path);
  Keys keys;
  for (const auto& [body, part] : original_bodies(place)) {
    if (place.part == Part::unet) add(keys, {"diffusion_model.", "model.diffusion_model.", "lora_unet."}, body, part);
    if (place.part == Part::text_encoder) add(keys, {"clip_l.transformer.", "clip_h.transformer.", "cond_stage_model.model."}, body, part);
    if (place.part == Part::text_encoder_2) add(keys, {"clip_g.transformer.", "conditioner.embedders.1.model."}, body, part);
  }
  if (place.part == Part::text_encoder)
    add(keys,
        {"clip_l.", "clip_h.", "clip_l.transformer.", "clip_h.transformer.", "text_encoders.clip_l.transformer.",
         "text_encoders.clip_h.transformer.", "cond_stage_model.transformer.", "conditioner.embedders.0.transformer."},
        place.body);
  if (place.part == Part::text_encoder_2) add(keys, {"clip_g.", "clip_g.transformer.", "text_encoders.clip_g.transformer."}, place.body);
  return keys;
}

std::optional<int64_t> index_of(std::string_view word, Words words) {
  const auto* found = std::ranges::find(words, word);
  return found == words.end() ? std::nullopt : std::optional<int64_t>(found - words.begin());
}

// The number of an attention block in the module order of diffusers 0.9 to 0.12, of an SD1 or SD2 U-Net: down, up, mid.
std::optional<int64_t> attention_number(std::string_view body) {
  const auto parts = split(body, '.');
  if (starts_with(body, "mid_block.attentions.0.")) return 15;
  if (parts.size() < 4 || parts[2] != "attentions") return std::nullopt;
  const int64_t block = parse_int(parts[1]).value_or(-1), index = parse_int(parts[3]).value_or(-1);
  if (parts[0] == "down_blocks" && block >= 0 && block < 3 && index >= 0 && index < 2) return 2 * block + index;
  if (parts[0] == "up_blocks" && block >= 1 && block < 4 && index >= 0 && index < 3) return 6 + 3 * (block - 1) + index;
  return std::nullopt;
}

// cloneofsimo's lora files number the layers in module order: "unet:17", "text_encoder:3".
Keys numbered(std::string_view path) {
  const Place place = place_of(path);
  if (place.part == Part::unet) {
    constexpr std::string_view kBlock = ".transformer_blocks.0.";
    const size_t at = place.body.find(kBlock);
    const auto attention = attention_number(place.body);
    if (at == std::string_view::npos || !attention) return {};
    const auto slot =
        index_of(place.body.substr(at + kBlock.size()), {"attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0", "ff.net.0.proj",
                                                         "attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0"});
    if (slot) return {{"unet:" + std::to_string(9 * *attention + *slot), -1}};
  }
  const auto parts = split(place.body, '.');
  if (place.part == Part::text_encoder && starts_with(place.body, "text_model.encoder.layers.") && parts.size() == 6) {
    const auto layer = parse_int(parts[3]);
    const auto slot = index_of(parts[5], {"k_proj", "v_proj", "q_proj", "out_proj"});
    if (layer && slot) return {{"text_encoder:" + std::to_string(4 * *layer + *slot), -1}};
  }
  return {};
}

struct SuffixSpelling {
  std::string_view in_file, tensor;
};

// Every way in which a tensor's own name ends a key. A separator stands in front, or is part of the spelling ("_lora.down.weight").
constexpr auto kSuffixes = std::to_array<SuffixSpelling>({
    {".lora_down.weight", "lora_down.weight"},
    {".lora_up.weight", "lora_up.weight"},
    {".lora_mid.weight", "lora_mid.weight"},
    {".lora_down", "lora_down.weight"},
    {".lora_up", "lora_up.weight"},
    {"_lora.down.weight", "lora_down.weight"},
    {"_lora.up.weight", "lora_up.weight"},
    {"_lora.mid.weight", "lora_mid.weight"},
    {"_lora.alpha", "alpha"},
    {".lora.down.weight", "lora_down.weight"},
    {".lora.up.weight", "lora_up.weight"},
    {".lora.alpha", "alpha"},
    {".lora_linear_layer.down.weight", "lora_down.weight"},
    {".lora_linear_layer.up.weight", "lora_up.weight"},
    {".lora_linear_layer.alpha", "alpha"},
    {".lora_A.weight", "lora_down.weight"},
    {".lora_B.weight", "lora_up.weight"},
    {".lora_A", "lora_down.weight"},
    {".lora_B", "lora_up.weight"},
    {".lora_embedding_A", "lora_embedding_A"},
    {".lora_embedding_B", "lora_embedding_B"},
    {".lora_magnitude_vector.weight", "lora_magnitude_vector"},
    {".lora_magnitude_vector", "lora_magnitude_vector"},
    {":down", "lora_down.weight"},
    {":up", "lora_up.weight"},
    {".alpha", "alpha"},
    {".scale", "scale"},
    {".dora_scale", "dora_scale"},
    {".hada_w1_a", "hada_w1_a"},
    {".hada_w1_b", "hada_w1_b"},
    {".hada_w2_a", "hada_w2_a"},
    {".hada_w2_b", "hada_w2_b"},
    {".hada_t1", "hada_t1"},
    {".hada_t2", "hada_t2"},
    {".lokr_w1", "lokr_w1"},
    {".lokr_w1_a", "lokr_w1_a"},
    {".lokr_w1_b", "lokr_w1_b"},
    {".lokr_w2", "lokr_w2"},
    {".lokr_w2_a", "lokr_w2_a"},
    {".lokr_w2_b", "lokr_w2_b"},
    {".lokr_t1", "lokr_t1"},
    {".lokr_t2", "lokr_t2"},
    {".diff", "diff"},
    {".diff_b", "diff_b"},
    {".w_norm", "w_norm"},
    {".b_norm", "b_norm"},
    {".on_input", "on_input"},
    {".a1.weight", "a1.weight"},
    {".a2.weight", "a2.weight"},
    {".b1.weight", "b1.weight"},
    {".b2.weight", "b2.weight"},
    {".oft_blocks", "oft_blocks"},
    {".oft_diag", "oft_diag"},
    {".rescale", "rescale"},
    {".weight", "weight"},
});

// PEFT puts the adapter's name ("default", any word) between: ".lora_A.default.weight", ".lora_magnitude_vector.default".
LoraKeyParts split_peft_key(std::string_view key) {
  for (const auto& [marker, tensor] : {SuffixSpelling{".lora_A.", "lora_down.weight"},
                                       {".lora_B.", "lora_up.weight"},
                                       {".lora_embedding_A.", "lora_embedding_A"},
                                       {".lora_embedding_B.", "lora_embedding_B"},
                                       {".lora_magnitude_vector.", "lora_magnitude_vector"}}) {
    const size_t at = key.rfind(marker);
    if (at == std::string_view::npos) continue;
    std::string_view adapter = key.substr(at + marker.size());
    if (ends_with(adapter, ".weight")) adapter.remove_suffix(7);
    if (!adapter.empty() && adapter.find('.') == std::string_view::npos) return {std::string(key.substr(0, at)), std::string(tensor)};
  }
  return {};
}

}  // namespace

std::span<const LoraNaming> lora_namings() {
  constexpr std::string_view kDown = ".lora_down.weight", kUp = ".lora_up.weight", kA = ".lora_A.weight", kB = ".lora_B.weight";
  using enum AlphaPlace;
  static constexpr std::array<LoraNaming, 7> kNamings{{
      {"kohya", "kohya's sd-scripts: diffusers' paths with underscores", kohya, kDown, kUp, tensor},
      {"kohya-ldm", "kohya's sd-scripts: the original checkpoint's paths with underscores", kohya_original, kDown, kUp, tensor},
      {"attention-processors", "diffusers before 0.22", attention_processors, "_lora.down.weight", "_lora.up.weight", none},
      {"diffusers", "diffusers' own paths", diffusers, kA, kB, none},
      {"peft", "PEFT's save_pretrained()", peft, kA, kB, config},
      {"ldm", "ComfyUI and OneTrainer: the original checkpoint's paths", original_dotted, kDown, kUp, tensor},
      {"numbered", "cloneofsimo's lora: numbers in module order", numbered, ":down", ":up", none},
  }};
  return kNamings;
}

LoraKeyTable::LoraKeyTable(const LayerMap& layers) {
  places_.reserve(layers.size() * 16);
  for (const auto& [path, layer] : layers) {
    for (const LoraNaming& naming : lora_namings()) {
      for (LoraKey& key : naming.spell(path)) {
        auto& places = places_[std::move(key.key)];
        const bool known = std::ranges::any_of(places, [&](const LoraPlace& place) { return place.path == path; });
        if (!known) places.push_back({path, key.part, &naming});
      }
    }
  }
}

std::span<const LoraPlace> LoraKeyTable::find(const std::string& key) const {
  const auto found = places_.find(key);
  return found == places_.end() ? std::span<const LoraPlace>() : found->second;
}

LoraKeyParts split_lora_key(std::string_view key) {
  if (LoraKeyParts parts = split_peft_key(key); !parts.tensor.empty()) return parts;
  const SuffixSpelling* longest = nullptr;
  for (const SuffixSpelling& suffix : kSuffixes)
    if (ends_with(key, suffix.in_file) && key.size() > suffix.in_file.size() &&
        (!longest || suffix.in_file.size() > longest->in_file.size()))
      longest = &suffix;
  if (!longest) return {std::string(key), ""};
  return {std::string(key.substr(0, key.size() - longest->in_file.size())), std::string(longest->tensor)};
}

}  // namespace lorikeet
