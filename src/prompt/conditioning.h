// Text -> what the U-Net is conditioned on: chunks, embeddings, emphasis and schedules through the model's text encoders.
// As in AUTOMATIC1111's webui (modules/sd_hijack_clip.py, sd_emphasis.py "Original", prompt_parser.py).
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/torch.h"
#include "model/clip.h"
#include "prompt/chunks.h"
#include "prompt/embeddings.h"
#include "prompt/schedule.h"

namespace lorikeet {

struct Conditioning {
  Tensor context;  // [T, D] float32, T a multiple of 77, D the sum of the encoders' widths
  Tensor pooled;   // [P] float32, of the last encoder that has a projection, first chunk only; undefined when none has one

  int64_t chunks() const { return context.size(0) / kChunkSize; }
};

// The conditioning with `count` chunks (at least its own): the encoded "" is put behind, so that two prompts of different length
// can share a batch. (By default the webui does not do this to prompt and negative prompt, but runs them apart.)
Conditioning pad_to(const Conditioning& conditioning, int64_t count, const Conditioning& empty);

// A whole prompt: parts that AND divides, each with its schedule.
struct ScheduledPrompt {
  struct Entry {
    int end_step;
    Conditioning conditioning;
  };
  struct Part {
    double weight = 1;
    std::vector<Entry> schedule;  // rising end_step
  };
  struct Current {
    double weight;
    Conditioning conditioning;
  };
  std::vector<Part> parts;  // at least one

  // The conditioning of each part at a step: that of the first entry with step <= end_step (of the first one behind the end).
  // The contexts are as long as the longest: shorter ones repeat their last row, as in the webui.
  // The webui counts the steps (calls of the model, for samplers that call it twice) from 0 here, so that [a:b:5] shows a six times.
  std::vector<Current> current(int step) const;
  bool changes() const;  // any part has more than one entry
};

// Clip skip acts on CLIP-L as Stable Diffusion 1 uses it; the other families take the layer that they were trained on (as in the webui).
bool clip_skip_acts(const ClipConfig& config);

// Chunks as one batch through one encoder, without emphasis; vectors of embeddings stand in for their tokens, and gradients flow into them and
// into whatever is trained. clip_skip: as PromptEncoder::Options has it. -> hidden [N, 77, D], pooled [N, P], in the encoder's dtype.
ClipOutput encode_chunks(const ClipTextModel& encoder, std::span<const PromptChunk> chunks, std::optional<int> clip_skip, Device device);

// A picture's two prompts.
struct ScheduledPrompts {
  ScheduledPrompt prompt, negative;
};

// Encodes the prompts of one picture. Every distinct text is encoded once; the encoders (with their LoRAs) and embeddings must not
// change while it lives, and must outlive it.
class PromptEncoder {
 public:
  struct Options {
    std::optional<int> clip_skip = {};  // 1 = last layer, 2 = the one before …; nothing = each model's own
    int comma_backtrack = kCommaBacktrack;
    Device device = torch::kCPU;  // where the encoders are, and the results
  };
  PromptEncoder(std::vector<const ClipTextModel*> encoders, const EmbeddingStore& embeddings, Options options);

  // A text without schedule and AND. Throws Error{bad_input}: malformed emphasis, clip skip out of range, weights that overflow.
  const Conditioning& encode(const std::string& text);

  // Prompts without extra-network tags (take_extra_networks() comes before). AND divides the prompt alone: in a negative prompt the webui
  // reads it as a word. All their texts go through an encoder together, so that its weights are read once.
  ScheduledPrompts encode_scheduled(std::string_view prompt, std::string_view negative, const ScheduleSteps& steps);

  // In the order of their first use, for the infotext's "TI hashes".
  const std::vector<std::shared_ptr<const Embedding>>& used_embeddings() const { return used_; }

 private:
  void encode_all(const std::vector<std::string>& texts);
  void encode_with(const ClipTextModel& encoder, const std::vector<PromptChunk>& chunks, std::vector<Tensor>& contexts, std::vector<Tensor>& pooled) const;
  void note_use(const std::vector<PromptChunk>& chunks);

  std::vector<const ClipTextModel*> encoders_;
  const EmbeddingStore& embeddings_;
  Options options_;
  std::map<std::string, Conditioning> encoded_;
  std::vector<std::shared_ptr<const Embedding>> used_;
};

}  // namespace lorikeet
