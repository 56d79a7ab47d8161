#include "prompt/conditioning.h"

#include <algorithm>

#include "base/error.h"
#include "prompt/composition.h"
#include "prompt/tokenizer.h"

namespace lorikeet {

namespace {
constexpr size_t kChunksAtOnce = 8;  // bounds the memory that a very long prompt takes

// The chunk's end token: the first one, whether it ends the text, or stands in it.
int64_t end_place(const PromptChunk& chunk) { return std::find(chunk.ids.begin(), chunk.ids.end(), kEndToken) - chunk.ids.begin(); }

// ids: [B, 77] for an encoder that fills chunks with `padding` behind the end token.
Tensor id_tensor(std::span<const PromptChunk> chunks, int64_t padding) {
  Tensor ids = torch::empty({static_cast<int64_t>(chunks.size()), kChunkSize}, torch::kLong);
  auto* row = ids.data_ptr<int64_t>();
  for (const PromptChunk& chunk : chunks) {
    const auto end = end_place(chunk);
    for (int64_t i = 0; i < kChunkSize; ++i) *row++ = i > end ? padding : chunk.ids[static_cast<size_t>(i)];
  }
  return ids;
}

Tensor end_tensor(std::span<const PromptChunk> chunks) {
  std::vector<int64_t> ends;
  for (const PromptChunk& chunk : chunks) ends.push_back(end_place(chunk));
  return torch::tensor(ends, torch::kLong);
}

// embedded: [B, 77, D], written to.
void put_embeddings(Tensor& embedded, std::span<const PromptChunk> chunks) {
  for (size_t b = 0; b < chunks.size(); ++b) {
    for (const auto& [at, embedding] : chunks[b].embeddings) {
      const Tensor vectors = embedding->vectors_for(embedded.size(2));
      embedded[static_cast<int64_t>(b)].slice(0, at, at + vectors.size(0)).copy_(vectors);
    }
  }
}

// Multiplies each place of z and gives it back the mean that it had. z: [77, D].
Tensor emphasise(const Tensor& z, const std::vector<double>& multipliers) {
  if (std::all_of(multipliers.begin(), multipliers.end(), [](double m) { return m == 1; })) return z;
  const Tensor factors = torch::tensor(multipliers, torch::kDouble).to(z.options()).unsqueeze(1);
  const Tensor weighted = z * factors;
  return weighted * (z.mean() / weighted.mean());
}

Tensor repeat_last_row(const Tensor& context, int64_t length) {
  const auto missing = length - context.size(0);
  return missing <= 0 ? context : torch::cat({context, context.slice(0, -1).expand({missing, context.size(1)})});
}
}  // namespace

Conditioning pad_to(const Conditioning& conditioning, int64_t count, const Conditioning& empty) {
  std::vector<Tensor> parts{conditioning.context};
  for (auto i = conditioning.chunks(); i < count; ++i) parts.push_back(empty.context);
  return {torch::cat(parts), conditioning.pooled};
}

std::vector<ScheduledPrompt::Current> ScheduledPrompt::current(int step) const {
  std::vector<Current> result;
  int64_t longest = 0;
  for (const Part& part : parts) {
    auto entry = std::find_if(part.schedule.begin(), part.schedule.end(), [step](const Entry& e) { return step <= e.end_step; });
    if (entry == part.schedule.end()) entry = part.schedule.begin();
    result.push_back({part.weight, entry->conditioning});
    longest = std::max(longest, entry->conditioning.context.size(0));
  }
  for (Current& one : result) one.conditioning.context = repeat_last_row(one.conditioning.context, longest);
  return result;
}

bool ScheduledPrompt::changes() const {
  return std::any_of(parts.begin(), parts.end(), [](const Part& part) { return part.schedule.size() > 1; });
}

bool clip_skip_acts(const ClipConfig& config) { return config.quick_gelu && config.final_norm; }

PromptEncoder::PromptEncoder(std::vector<const ClipTextModel*> encoders, const EmbeddingStore& embeddings, Options options)
    : encoders_(std::move(encoders)), embeddings_(embeddings), options_(options) {}

ClipOutput encode_chunks(const ClipTextModel& encoder, std::span<const PromptChunk> chunks, std::optional<int> clip_skip, Device device) {
  const ClipConfig& config = encoder.config();
  const int skip = clip_skip && clip_skip_acts(config) ? *clip_skip : config.skip;
  Tensor embedded = encoder.embed(id_tensor(chunks, config.padding_id).to(device));
  put_embeddings(embedded, chunks);
  return encoder.forward(embedded, end_tensor(chunks).to(device), skip);
}

// contexts: of each chunk gains [77, D] float32; pooled: [P] float32 of each.
void PromptEncoder::encode_with(const ClipTextModel& encoder, const std::vector<PromptChunk>& chunks, std::vector<Tensor>& contexts,
                                std::vector<Tensor>& pooled) const {
  for (size_t begin = 0; begin < chunks.size(); begin += kChunksAtOnce) {
    const auto some = std::span(chunks).subspan(begin, std::min(kChunksAtOnce, chunks.size() - begin));
    const ClipOutput output = encode_chunks(encoder, some, options_.clip_skip, options_.device);
    const Tensor hidden = output.hidden.to(torch::kFloat), ends = output.pooled.to(torch::kFloat);
    for (size_t i = 0; i < some.size(); ++i) {
      const auto row = static_cast<int64_t>(i);
      contexts.push_back(emphasise(hidden[row], some[i].multipliers));
      pooled.push_back(ends[row]);
    }
  }
}

void PromptEncoder::note_use(const std::vector<PromptChunk>& chunks) {
  for (const PromptChunk& chunk : chunks)
    for (const auto& place : chunk.embeddings)
      if (std::find(used_.begin(), used_.end(), place.embedding) == used_.end()) used_.push_back(place.embedding);
}

// Those that are not known yet, the chunks of all of them one behind the other.
void PromptEncoder::encode_all(const std::vector<std::string>& texts) {
  const torch::NoGradGuard no_gradients;
  std::vector<PromptChunk> chunks;
  std::vector<std::pair<std::string, size_t>> wanted;  // and the number of its chunks
  for (const std::string& text : texts) {
    if (encoded_.contains(text) || std::any_of(wanted.begin(), wanted.end(), [&](const auto& other) { return other.first == text; })) continue;
    const auto own = chunk_prompt(text, embeddings_, options_.comma_backtrack).chunks;
    note_use(own);
    chunks.insert(chunks.end(), own.begin(), own.end());
    wanted.emplace_back(text, own.size());
  }
  std::vector<Conditioning> results(wanted.size());
  std::vector<std::vector<Tensor>> sides(wanted.size());  // of each text the contexts of the encoders, which stand side by side
  for (const ClipTextModel* encoder : encoders_) {
    std::vector<Tensor> contexts, pooled;
    encode_with(*encoder, chunks, contexts, pooled);
    size_t at = 0;
    for (size_t i = 0; i < wanted.size(); at += wanted[i++].second) {
      sides[i].push_back(torch::cat(std::vector<Tensor>(contexts.begin() + at, contexts.begin() + at + wanted[i].second)));
      if (encoder->config().projection) results[i].pooled = pooled[at];
    }
  }
  for (size_t i = 0; i < wanted.size(); ++i) {
    results[i].context = torch::cat(sides[i], 1);
    if (!results[i].context.isfinite().all().item<bool>()) {
      throw Error(ErrorKind::bad_input, "the prompt gives numbers that are not finite",
                  "a weight in it is too large (weights near 1 are usual), or the text encoder or an embedding is damaged");
    }
    encoded_.emplace(wanted[i].first, std::move(results[i]));
  }
}

const Conditioning& PromptEncoder::encode(const std::string& text) {
  encode_all({text});
  return encoded_.at(text);
}

ScheduledPrompts PromptEncoder::encode_scheduled(std::string_view prompt, std::string_view negative, const ScheduleSteps& steps) {
  struct Part {
    double weight;
    std::vector<ScheduledText> schedule;
  };
  std::vector<std::string> texts;
  const auto read = [&](const std::vector<PromptPart>& parts) {
    std::vector<Part> result;
    for (const PromptPart& part : parts) {
      result.push_back({part.weight, parse_schedule(part.text, steps)});
      for (const ScheduledText& scheduled : result.back().schedule) texts.push_back(scheduled.text);
    }
    return result;
  };
  const auto with_conditionings = [&](const std::vector<Part>& parts) {
    ScheduledPrompt result;
    for (const Part& part : parts) {
      auto& schedule = result.parts.emplace_back(ScheduledPrompt::Part{part.weight, {}}).schedule;
      for (const auto& [end_step, text] : part.schedule) schedule.push_back({end_step, encoded_.at(text)});
    }
    return result;
  };
  const auto parts = read(split_composition(prompt)), negative_parts = read({{std::string(negative), 1}});
  encode_all(texts);
  return {with_conditionings(parts), with_conditionings(negative_parts)};
}

}  // namespace lorikeet
