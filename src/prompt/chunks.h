// A prompt of any length as chunks of 77 token ids, each with its own start and end token, as the text encoders take them.
// As in AUTOMATIC1111's webui.
#pragma once
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "prompt/embeddings.h"

namespace lorikeet {

constexpr int64_t kChunkTokens = 75;              // of the prompt
constexpr int64_t kChunkSize = kChunkTokens + 2;  // with start and end token
constexpr int kCommaBacktrack = 20;               // the webui's default

struct EmbeddingPlace {
  int64_t at;  // the first vector replaces ids[at], the next ids[at + 1], …
  std::shared_ptr<const Embedding> embedding;
};

struct PromptChunk {
  std::vector<int64_t> ids;         // 77; filled up with end tokens
  std::vector<double> multipliers;  // 77: emphasis of each place, 1 for start, end and filling
  std::vector<EmbeddingPlace> embeddings;
};

struct ChunkedPrompt {
  std::vector<PromptChunk> chunks;  // at least one
  int64_t token_count = 0;          // as the webui counts: a full 75 for each chunk but the last
};

// Parses emphasis and BREAK. A chunk that is full ends at its last comma, if that is at most `comma_backtrack` tokens back (0: never).
// Throws Error{bad_input} as parse_attention does.
ChunkedPrompt chunk_prompt(std::string_view text, const EmbeddingStore& embeddings = {}, int comma_backtrack = kCommaBacktrack);

// The text as it stands: brackets, backslashes and BREAK are words. What captions of training pictures want: "fate (series)" is a name there.
ChunkedPrompt chunk_plain(std::string_view text, const EmbeddingStore& embeddings = {}, int comma_backtrack = kCommaBacktrack);

}  // namespace lorikeet
