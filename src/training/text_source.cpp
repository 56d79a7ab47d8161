#include "training/text_source.h"

#include <algorithm>

#include "base/error.h"
#include "io/hash.h"
#include "prompt/chunks.h"

namespace lorikeet {

namespace fs = std::filesystem;

namespace {

constexpr int64_t kMostStoredBytes = int64_t{4} << 30;

std::vector<PromptChunk> chunks_of(const std::string& text, const EmbeddingStore& embeddings) {
  std::vector<PromptChunk> chunks = chunk_plain(text, embeddings).chunks;
  chunks.resize(std::min(chunks.size(), kMostCaptionChunks));
  return chunks;
}

std::optional<int> chosen_skip(const TrainConfig& config) { return config.clip_skip > 0 ? std::optional(config.clip_skip) : std::nullopt; }

fs::path texts_folder(const Networks& networks, const TrainConfig& config, const fs::path& folder) {
  if (folder.empty() || !config.cache_text) return {};
  std::vector<std::string> encoders;
  std::string identity;
  for (const auto& encoder : networks.text_encoders) {
    const ClipConfig& clip = encoder->config();
    encoders.push_back(clip.component + ".");
    const bool acts = clip_skip_acts(clip) && config.clip_skip > 0;
    identity += clip.component + " skip " + std::to_string(acts ? config.clip_skip : clip.skip) + "\n";
    // The one weight that is no layer's.
    const Tensor positions = networks.checkpoint->find(clip.component + ".text_model.embeddings.position_embedding.weight");
    if (positions.defined()) {
      const Tensor flat = positions.contiguous();
      identity += sha256({static_cast<const char*>(flat.data_ptr()), static_cast<size_t>(flat.nbytes())});
    }
  }
  identity += weights_identity(networks.layers, encoders, networks.compute.text.dtype);
  networks.checkpoint->release_pages();
  return folder / ("text-" + sha256(identity).substr(0, kFolderDigits));
}

// The rows of a batch: which chunks of `hidden` each text has.
struct ChunkRows {
  std::vector<PromptChunk> chunks;                 // of all texts, one after another; "" behind them when padding is needed
  std::vector<std::pair<int64_t, int64_t>> texts;  // first chunk and count
  int64_t longest = 1;
};

ChunkRows chunk_rows(std::span<const std::string> texts, const EmbeddingStore& embeddings) {
  ChunkRows rows;
  bool ragged = false;
  for (const std::string& text : texts) {
    const std::vector<PromptChunk> chunks = chunks_of(text, embeddings);
    const auto count = static_cast<int64_t>(chunks.size());
    ragged = ragged || (!rows.texts.empty() && count != rows.texts.front().second);
    rows.texts.emplace_back(static_cast<int64_t>(rows.chunks.size()), count);
    rows.longest = std::max(rows.longest, count);
    rows.chunks.insert(rows.chunks.end(), chunks.begin(), chunks.end());
  }
  if (ragged) rows.chunks.push_back(chunks_of("", embeddings).front());
  return rows;
}

// hidden: [N, 77, D] -> [B, 77·longest, D]
Tensor contexts_of(const ChunkRows& rows, const Tensor& hidden) {
  std::vector<Tensor> contexts;
  for (const auto& [first, count] : rows.texts) {
    std::vector<Tensor> parts{hidden.slice(0, first, first + count).flatten(0, 1)};
    for (int64_t i = count; i < rows.longest; ++i) parts.push_back(hidden[-1]);
    contexts.push_back(torch::cat(parts));
  }
  return torch::stack(contexts);
}

}  // namespace

EncodedTexts encode_texts(const Networks& networks, std::span<const std::string> texts, const EmbeddingStore& embeddings,
                          std::optional<int> clip_skip) {
  const ChunkRows rows = chunk_rows(texts, embeddings);
  std::vector<int64_t> firsts;
  for (const auto& [first, count] : rows.texts) firsts.push_back(first);
  const Device device = networks.compute.text.device;
  std::vector<Tensor> contexts;
  EncodedTexts result;
  for (const auto& encoder : networks.text_encoders) {
    const ClipOutput output = encode_chunks(*encoder, rows.chunks, clip_skip, device);
    contexts.push_back(contexts_of(rows, output.hidden.to(torch::kFloat)));
    if (encoder->config().projection) result.pooled = output.pooled.to(torch::kFloat).index_select(0, torch::tensor(firsts).to(device));
  }
  result.context = torch::cat(contexts, 2);
  return result;
}

bool is_too_long(const std::string& caption) { return chunk_plain(caption).chunks.size() > kMostCaptionChunks; }

TextSource::TextSource(const Networks& networks, const TrainConfig& config, const fs::path& folder)
    : networks_(networks),
      clip_skip_(chosen_skip(config)),
      cached_(config.cache_text),
      cache_({.folder = texts_folder(networks, config, folder)}) {}

Conditioning TextSource::one(const std::string& text) {
  const std::string key = sha256(text);
  const std::string pooled_key = key + ".pooled";
  if (cached_) {
    if (const Tensor context = cache_.find(key); context.defined()) return {context, cache_.find(pooled_key)};
  }
  const torch::NoGradGuard no_gradients;
  const EncodedTexts encoded = encode_texts(networks_, std::span(&text, 1), {}, clip_skip_);
  const Conditioning result{encoded.context[0].to(torch::kCPU), encoded.pooled.defined() ? encoded.pooled[0].to(torch::kCPU) : Tensor()};
  if (!result.context.isfinite().all().item<bool>()) {
    throw Error(ErrorKind::bad_input, "the text encoder gives numbers that are not finite for the caption \"" + text + "\"",
                "the checkpoint is damaged");
  }
  if (cached_ && stored_bytes_ < kMostStoredBytes) {
    if (result.pooled.defined()) cache_.add(pooled_key, result.pooled);
    cache_.add(key, result.context);
    stored_bytes_ += static_cast<int64_t>(result.context.nbytes());
  }
  return result;
}

void TextSource::prepare(std::span<const std::string> texts, Progress& progress) {
  if (!cached_) return;
  progress.stage("encoding captions", static_cast<int>(texts.size()));
  for (size_t i = 0; i < texts.size() && stored_bytes_ < kMostStoredBytes; ++i) {
    progress.check();
    if (!cache_.contains(sha256(texts[i]))) one(texts[i]);
    progress.step(static_cast<int>(i + 1));
  }
  cache_.flush();
}

EncodedTexts TextSource::encode(std::span<const std::string> texts) {
  std::vector<Conditioning> rows;
  int64_t longest = 1;
  for (const std::string& text : texts) {
    rows.push_back(one(text));
    longest = std::max(longest, rows.back().chunks());
  }
  std::vector<Tensor> contexts, pooled;
  for (const Conditioning& row : rows) {
    contexts.push_back(row.chunks() == longest ? row.context : pad_to(row, longest, one("")).context);
    if (row.pooled.defined()) pooled.push_back(row.pooled);
  }
  return {torch::stack(contexts), pooled.empty() ? Tensor() : torch::stack(pooled)};
}

}  // namespace lorikeet
