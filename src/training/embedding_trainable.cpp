#include "training/embedding_trainable.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/text.h"
#include "lora/write.h"
#include "prompt/chunks.h"
#include "prompt/tokenizer.h"
#include "training/adapter_trainable.h"

namespace lorikeet {
namespace {

std::string word_of(const TrainConfig& config) {
  std::string word(trim(config.token.empty() ? config.trigger : config.token));
  if (word.empty()) throw Error(ErrorKind::bad_input, "the new word has no name", "give --token, or a --trigger");
  if (tokenize(word).empty()) throw Error(ErrorKind::bad_input, "'" + word + "' makes no token", "choose a word of letters or digits");
  return word;
}

// -> [n, D] float32. ids: the tokens of the initial text.
Tensor initial_vectors(const ClipTextModel& encoder, const Device& device, std::vector<int64_t> ids, int count) {
  const size_t tokens = ids.size();
  if (count > 1) ids.resize(static_cast<size_t>(count));
  for (size_t i = tokens; i < ids.size(); ++i) ids[i] = ids[i % tokens];
  const Tensor rows = encoder.embed(torch::tensor(ids, torch::kLong).unsqueeze(0).to(device)).to(torch::kFloat)[0];
  return count == 1 ? rows.mean(0, true) : rows;
}

}  // namespace

EmbeddingTrainable::EmbeddingTrainable(const Networks& networks, const TrainConfig& config) : config_(config) {
  torch::NoGradGuard no_grad;
  if (config.vectors < 1 || config.vectors > kChunkTokens)
    throw Error(ErrorKind::bad_input, std::to_string(config.vectors) + " vectors are not possible", "a chunk of the prompt holds 1 to 75");
  const std::string text = config.initial_text.empty() ? "*" : config.initial_text;
  const std::vector<int64_t> ids = tokenize(text);
  if (ids.empty())
    throw Error(ErrorKind::bad_input, "the initial text '" + text + "' makes no token",
                "give a word or two that are near to what is meant");
  Embedding embedding{word_of(config), "", {}};
  for (const auto& encoder : networks.text_encoders) {
    embedding.vectors.push_back(
        initial_vectors(*encoder, networks.compute.text.device, ids, config.vectors).clone().set_requires_grad(true));
    components_.push_back(encoder->config().component);
  }
  embedding_ = std::make_shared<const Embedding>(std::move(embedding));
}

std::vector<ParameterGroup> EmbeddingTrainable::groups() const {
  // As in the original, steps of some thousandths; without decay, as a shorter vector means nothing in particular.
  constexpr double kUsualRate = 5e-3;
  ParameterGroup group{"embedding", {}, config_.embedding_learning_rate.value_or(kUsualRate), 0};
  for (size_t i = 0; i < components_.size(); ++i) group.parameters.push_back({"embedding." + components_[i], embedding_->vectors[i]});
  return {group};
}

std::map<std::string, Tensor> EmbeddingTrainable::tensors() const {
  if (embedding_->vectors.size() == 1) return {{"emb_params", embedding_->vectors[0]}};
  return {{"clip_l", embedding_->vectors[0]}, {"clip_g", embedding_->vectors[1]}};
}

void EmbeddingTrainable::save(const std::filesystem::path& path, std::map<std::string, std::string> metadata) const {
  with_context("while writing embedding " + path.string(), [&] {
    write_with_hashes(path, tensors(), std::move(metadata), [&](const std::string&) { return dtype_of(config_.save_dtype); });
  });
}

std::string EmbeddingTrainable::describe() const {
  const int64_t count = embedding_->count();
  int64_t numbers = 0;
  for (const Tensor& vectors : embedding_->vectors) numbers += vectors.numel();
  return "'" + embedding_->name + "' as " + std::to_string(count) + (count == 1 ? " vector, " : " vectors, ") + count_text(numbers) +
         " parameters";
}

}  // namespace lorikeet
