// What a LoRA file's header tells about it: the family it is made for, kinds and ranks, trigger words.
#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/text.h"
#include "lora/file.h"
#include "lora/naming.h"

namespace lorikeet {
namespace {

bool holds(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

bool is_text_module(std::string_view module) {
  return holds(module, "lora_te") || holds(module, "text_model") || starts_with(module, "text_encoder") || starts_with(module, "clip_") ||
         holds(module, "resblocks");
}

// Cross-attention's key or value projection: its inputs are as wide as the text encoders' output.
bool is_context_projection(std::string_view module) {
  if (const auto number = starts_with(module, "unet:") ? parse_int(module.substr(5)) : std::nullopt)
    return *number % 9 == 6 || *number % 9 == 7;  // see the numbered naming
  return holds(module, "attn2") && (ends_with(module, "to_k") || ends_with(module, "to_v"));
}

std::optional<int64_t> size(const TensorShapes& shapes, std::string_view name, size_t dimension) {
  const auto found = shapes.find(name);
  if (found == shapes.end() || found->second.size() <= dimension) return std::nullopt;
  return found->second[dimension];
}

// The number of inputs of the layer that the module is for.
std::optional<int64_t> input_width(const TensorShapes& shapes) {
  for (std::string_view name : {"lora_down.weight", "hada_w1_b", "diff"})
    if (const auto width = size(shapes, name, 1)) return width;
  const auto either = [&](std::string_view whole, std::string_view split) {
    const auto width = size(shapes, whole, 1);
    return width ? width : size(shapes, split, 1);
  };
  const auto first = either("lokr_w1", "lokr_w1_b"), second = either("lokr_w2", "lokr_w2_b");
  if (first && second) return *first * *second;
  return std::nullopt;
}

std::optional<int64_t> rank_of(const TensorShapes& shapes) {
  for (std::string_view name : {"lora_down.weight", "hada_w1_b", "lokr_w2_b", "lokr_w1_b", "lora_embedding_A"})
    if (const auto rank = size(shapes, name, 0)) return rank;
  return std::nullopt;
}

// Width of the text encoders' output: SD1's CLIP-L, SD2's OpenCLIP-H, both of SDXL's side by side.
std::string family_of_width(int64_t width) { return width == 768 ? "sd1" : width == 1024 ? "sd2" : width == 2048 ? "sdxl" : ""; }

std::string family_of_name(std::string_view module) {
  for (std::string_view part : {"lora_te1_", "lora_te2_", "text_encoder_2.", "clip_g.", "label_emb", "add_embedding",
                                "transformer_blocks_1_", "transformer_blocks.1."})
    if (holds(module, part) && !holds(module, "single_transformer")) return "sdxl";
  for (std::string_view part : {"double_blocks", "single_blocks", "single_transformer_blocks"})
    if (holds(module, part)) return "flux";
  return holds(module, "joint_blocks") ? "sd3" : "";
}

std::string text_of(const std::map<std::string, std::string>& metadata, const std::string& key) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? "" : valid_utf8(found->second);
}

std::string family_of_claim(std::string_view base, bool v2) {
  if (holds(base, "sdxl") || holds(base, "stable-diffusion-xl")) return "sdxl";
  if (holds(base, "flux")) return "flux";
  if (holds(base, "sd3") || holds(base, "stable-diffusion-3")) return "sd3";
  if (v2 || holds(base, "sd_v2") || holds(base, "stable-diffusion-v2")) return "sd2";
  return holds(base, "sd_v1") || holds(base, "stable-diffusion-v1") ? "sd1" : "";
}

using TagCounts = std::map<std::string, int64_t>;

// Captions that are sentences make "tags" that nobody looks for. A1111 (extensions-builtin/Lora/ui_edit_user_metadata.py) counts their words
// instead: where tags have 16 letters on average, words of three letters and more.
TagCounts words_of_sentences(const TagCounts& tags) {
  constexpr size_t kSentence = 16, kShortest = 3;
  size_t letters = 0;
  for (const auto& [tag, count] : tags) letters += tag.size();
  if (tags.empty() || letters < kSentence * tags.size()) return tags;
  TagCounts words;
  for (const auto& [tag, count] : tags) {
    std::string word;
    for (const char c : tag + " ") {
      const auto byte = static_cast<unsigned char>(c);
      if (byte >= 0x80 || std::isalnum(byte) != 0 || c == '_') {
        word += c;
        continue;
      }
      if (word.size() >= kShortest) words[word] += count;
      word.clear();
    }
  }
  return words;
}

// {"10_fox": {"a red fox": 10, "snow": 4}, …}, summed over the folders.
std::vector<std::pair<std::string, int64_t>> tag_frequency(const std::string& text) {
  constexpr size_t kMost = 50;
  TagCounts counts;
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (json.is_object())
    for (const auto& folder : json)
      if (folder.is_object())
        for (const auto& [tag, count] : folder.items())
          if (count.is_number()) counts[std::string(trim(tag))] += count.get<int64_t>();
  counts = words_of_sentences(counts);
  std::vector<std::pair<std::string, int64_t>> tags(counts.begin(), counts.end());
  std::ranges::stable_sort(tags, [](const auto& a, const auto& b) { return a.second > b.second; });
  if (tags.size() > kMost) tags.resize(kMost);
  return tags;
}

}  // namespace

std::string guess_family(const LoraFile& file) {
  std::string by_name, by_text;
  for (const auto& [module, entries] : file.modules()) {
    const auto width = input_width(file.shapes(module));
    if (width && is_context_projection(module))
      if (std::string family = family_of_width(*width); !family.empty()) return family;
    if (by_name.empty()) by_name = family_of_name(module);
    if (width && by_text.empty() && is_text_module(module) && (ends_with(module, "mlp_fc1") || ends_with(module, "q_proj")))
      by_text = family_of_width(*width);
  }
  return by_name.empty() ? by_text : by_name;
}

LoraSummary LoraFile::summary() const {
  LoraSummary summary;
  summary.name = name();
  summary.alias = text_of(metadata(), "ss_output_name");
  if (summary.alias.empty()) summary.alias = summary.name;
  summary.family = guess_family(*this);
  summary.claimed_base = text_of(metadata(), "ss_base_model_version");
  if (summary.claimed_base.empty()) summary.claimed_base = text_of(metadata(), "modelspec.architecture");
  summary.claimed_family = family_of_claim(lower(summary.claimed_base), text_of(metadata(), "ss_v2") == "True");
  summary.modules = static_cast<int>(modules_.size());
  for (const auto& [module, entries] : modules_) {
    (is_text_module(module) ? summary.text_encoder : summary.unet) = true;
    const TensorShapes shapes = this->shapes(module);
    const AdapterKind* kind = recognise_kind(shapes);
    ++summary.kinds[kind ? std::string(kind->name) : "unknown"];
    if (const auto rank = rank_of(shapes)) ++summary.ranks[*rank];
  }
  for (const auto& [name, tensors] : embeddings_) summary.embeddings.push_back(name);
  summary.trigger_phrase = text_of(metadata(), "modelspec.trigger_phrase");
  summary.tags = tag_frequency(text_of(metadata(), "ss_tag_frequency"));
  return summary;
}

}  // namespace lorikeet
