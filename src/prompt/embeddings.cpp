#include "prompt/embeddings.h"

#include <algorithm>

#include "prompt/chunks.h"
#include "prompt/tokenizer.h"

namespace lorikeet {

namespace {
// Why the embedding does not fit encoders of these widths; "" when it does.
std::string misfit(const Embedding& embedding, const std::vector<int64_t>& widths) {
  if (embedding.count() < 1) return "it holds no vectors";
  if (embedding.count() > kChunkTokens) return "it has " + std::to_string(embedding.count()) + " vectors; a chunk of the prompt holds 75";
  for (const int64_t width : widths) {
    if (embedding.vectors_for(width).defined()) continue;
    std::string found;
    for (const Tensor& vectors : embedding.vectors) found += (found.empty() ? "" : " and ") + std::to_string(vectors.size(1));
    return "its vectors are " + found + " wide, this model's text encoder wants " + std::to_string(width);
  }
  return "";
}
}  // namespace

Tensor Embedding::vectors_for(int64_t width) const {
  for (const Tensor& one : vectors)
    if (one.size(1) == width) return one;
  return {};
}

void EmbeddingStore::add(Embedding embedding) {
  std::vector<int64_t> ids = tokenize(embedding.name);
  std::string reason = misfit(embedding, widths_);
  if (ids.empty()) reason = "its name makes no token";
  if (!reason.empty()) {
    skipped_.push_back({embedding.name, reason});
    return;
  }
  auto& entries = by_first_id_[ids[0]];
  std::erase_if(entries, [&](const Entry& entry) { return entry.ids == ids; });
  const auto place = std::find_if(entries.begin(), entries.end(), [&](const Entry& entry) { return entry.ids.size() < ids.size(); });
  entries.insert(place, {std::move(ids), std::make_shared<const Embedding>(std::move(embedding))});
}

EmbeddingStore::Match EmbeddingStore::find(std::span<const int64_t> ids) const {
  const auto entries = ids.empty() ? by_first_id_.end() : by_first_id_.find(ids[0]);
  if (entries == by_first_id_.end()) return {};
  for (const Entry& entry : entries->second)
    if (entry.ids.size() <= ids.size() && std::equal(entry.ids.begin(), entry.ids.end(), ids.begin()))
      return {entry.embedding, entry.ids.size()};
  return {};
}

}  // namespace lorikeet
