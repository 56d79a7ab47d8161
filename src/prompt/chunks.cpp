#include "prompt/chunks.h"

#include <span>

#include "prompt/attention.h"
#include "prompt/tokenizer.h"

namespace lorikeet {

namespace {
class Chunker {
 public:
  Chunker(const EmbeddingStore& embeddings, int comma_backtrack) : embeddings_(embeddings), comma_backtrack_(comma_backtrack) {}

  void add(std::span<const int64_t> ids, double weight) {
    while (!ids.empty()) {
      if (ids[0] == kCommaToken) {
        comma_ = size();
      } else if (full() && comma_backtrack_ != 0 && comma_ >= 0 && size() - comma_ <= comma_backtrack_) {
        break_behind_comma();
      }
      if (full()) finish(false);
      const auto [embedding, length] = embeddings_.find(ids);
      if (embedding) {
        if (size() + embedding->count() > kChunkTokens) finish(false);
        chunk_.embeddings.push_back({size() + 1, embedding});  // + 1: behind the start token
        append(std::vector<int64_t>(static_cast<size_t>(embedding->count()), 0), weight);
      } else {
        append(ids.subspan(0, 1), weight);
      }
      ids = ids.subspan(embedding ? length : 1);
    }
  }

  // Ends the present chunk. The filling of the last one does not count.
  void finish(bool last) {
    result_.token_count += last ? size() : kChunkTokens;
    chunk_.ids.insert(chunk_.ids.begin(), kStartToken);
    chunk_.multipliers.insert(chunk_.multipliers.begin(), 1.0);
    chunk_.ids.resize(kChunkSize, kEndToken);
    chunk_.multipliers.resize(kChunkSize, 1.0);
    result_.chunks.push_back(std::move(chunk_));
    chunk_ = {};
    comma_ = -1;
  }

  ChunkedPrompt result() {
    if (size() > 0 || result_.chunks.empty()) finish(true);
    return std::move(result_);
  }

 private:
  int64_t size() const { return static_cast<int64_t>(chunk_.ids.size()); }
  bool full() const { return size() == kChunkTokens; }

  void append(std::span<const int64_t> ids, double weight) {
    chunk_.ids.insert(chunk_.ids.end(), ids.begin(), ids.end());
    chunk_.multipliers.insert(chunk_.multipliers.end(), ids.size(), weight);
  }

  // What stands behind the last comma moves to the next chunk, the embeddings among it too. (The webui moves the tokens and leaves
  // the embeddings behind, which puts them in the place of filling tokens.)
  void break_behind_comma() {
    const auto from = comma_ + 1;
    PromptChunk moved;
    moved.ids.assign(chunk_.ids.begin() + from, chunk_.ids.end());
    moved.multipliers.assign(chunk_.multipliers.begin() + from, chunk_.multipliers.end());
    for (const auto& [at, embedding] : chunk_.embeddings)
      if (at > from) moved.embeddings.push_back({at - from, embedding});
    std::erase_if(chunk_.embeddings, [&](const EmbeddingPlace& place) { return place.at > from; });
    chunk_.ids.resize(static_cast<size_t>(from));
    chunk_.multipliers.resize(static_cast<size_t>(from));
    finish(false);
    chunk_ = std::move(moved);
  }

  const EmbeddingStore& embeddings_;
  int comma_backtrack_;
  PromptChunk chunk_;  // without start and end token
  int64_t comma_ = -1;
  ChunkedPrompt result_;
};
}  // namespace

ChunkedPrompt chunk_prompt(std::string_view text, const EmbeddingStore& embeddings, int comma_backtrack) {
  Chunker chunker(embeddings, comma_backtrack);
  for (const auto& part : parse_attention(text)) {
    if (part.is_break()) {
      chunker.finish(false);
    } else {
      chunker.add(tokenize(part.text), part.weight);
    }
  }
  return chunker.result();
}

ChunkedPrompt chunk_plain(std::string_view text, const EmbeddingStore& embeddings, int comma_backtrack) {
  Chunker chunker(embeddings, comma_backtrack);
  chunker.add(tokenize(text), 1);
  return chunker.result();
}

}  // namespace lorikeet
