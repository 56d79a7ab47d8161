// Captions through the text encoders: with gradients where these are trained, else encoded once and kept.
#pragma once
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/progress.h"
#include "model/networks.h"
#include "prompt/conditioning.h"
#include "prompt/embeddings.h"
#include "training/config.h"
#include "training/tensor_cache.h"

namespace lorikeet {

constexpr size_t kMostCaptionChunks = 3;  // 225 tokens, kohya's largest max_token_length; what is beyond is not trained

struct EncodedTexts {
  Tensor context;  // [B, T, D] float32, T a multiple of 77: rows with fewer chunks have the encoded "" behind (pad_to() of
                   // prompt/conditioning.h)
  Tensor pooled;   // [B, P] float32; undefined when no encoder has a projection
};

// Texts taken literally (chunk_plain()), in one pass of each encoder; gradients flow, if they are on, into what the encoders train and into
// the vectors of `embeddings`, which stand in for their words. clip_skip: nothing = each encoder's own.
EncodedTexts encode_texts(const Networks& networks, std::span<const std::string> texts, const EmbeddingStore& embeddings,
                          std::optional<int> clip_skip);

// More tokens than kMostCaptionChunks hold.
bool is_too_long(const std::string& caption);

// For text encoders that do not change. Every text is encoded alone, so that its bits are the same in whatever batch it stands; they are
// kept in float32, as the encoder gives them: a run that encodes anew and one that finds them stored agree to the bit.
class TextSource {
 public:
  // folder: as LatentSource. With config.cache_text off nothing is kept.
  TextSource(const Networks& networks, const TrainConfig& config, const std::filesystem::path& folder);

  // Encodes and stores what is missing, as long as all that is stored stays below 4 GiB; the rest is encoded when it is needed.
  void prepare(std::span<const std::string> texts, Progress& progress);

  EncodedTexts encode(std::span<const std::string> texts);

  const std::vector<std::string>& warnings() const { return cache_.warnings(); }

 private:
  Conditioning one(const std::string& text);

  const Networks& networks_;
  std::optional<int> clip_skip_;
  bool cached_;
  int64_t stored_bytes_ = 0;
  TensorCache cache_;
};

}  // namespace lorikeet
