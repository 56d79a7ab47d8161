// Textual-inversion embeddings (Gal et al. 2022, arXiv 2208.01618): learned vectors that stand for a word, and their look-up in a prompt.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/torch.h"

namespace lorikeet {

struct Embedding {
  std::string name;  // the word that calls it
  std::string hash;  // first 12 hexadecimal digits of the file's sha256, or what stands in its place in the infotext; "" unknown
  // [n, D], float32: n vectors for the text encoder of width D. An embedding for SDXL holds two. Every tensor has the same n.
  std::vector<Tensor> vectors;

  int64_t count() const { return vectors.empty() ? 0 : vectors[0].size(0); }
  Tensor vectors_for(int64_t width) const;  // undefined when there are none for that width
};

// The embeddings that fit a model, found by the token ids of their names. Cheap to copy.
class EmbeddingStore {
 public:
  struct Skipped {
    std::string name, reason;
  };

  EmbeddingStore() = default;
  // widths: of the model's text encoders. An embedding that lacks vectors for one of them, or that the tokenizer makes nothing of, is
  // skipped.
  explicit EmbeddingStore(std::vector<int64_t> widths) : widths_(std::move(widths)) {}

  // A later embedding of the same name replaces the earlier one.
  void add(Embedding embedding);

  struct Match {
    std::shared_ptr<const Embedding> embedding;
    size_t length = 0;  // token ids that its name takes
  };
  // The embedding whose name begins at ids[0], of several the one with the longest name; null: none.
  Match find(std::span<const int64_t> ids) const;

  const std::vector<Skipped>& skipped() const { return skipped_; }
  bool empty() const { return by_first_id_.empty(); }

 private:
  struct Entry {
    std::vector<int64_t> ids;
    std::shared_ptr<const Embedding> embedding;
  };
  std::vector<int64_t> widths_;
  std::map<int64_t, std::vector<Entry>> by_first_id_;  // longest first
  std::vector<Skipped> skipped_;
};

}  // namespace lorikeet
