#include "generate/prompts.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "base/text.h"
#include "generate/region_masks.h"
#include "lora/block_presets.h"
#include "prompt/embedding_file.h"
#include "prompt/lora_tag.h"

namespace lorikeet {

namespace {

void report(GenerateResult& result, const LoraReport& lora) {
  const bool known = std::any_of(result.loras.begin(), result.loras.end(), [&](const auto& other) { return other.path == lora.path; });
  if (!known) result.loras.push_back(lora);
}

// A1111 keys the hashes by the name in the tag, without the characters that would break the list.
std::string hash_key(const std::string& name) { return replace_all(replace_all(name, ":", ""), ",", ""); }

// lbw=; null: 1 everywhere.
std::shared_ptr<const BlockWeights> block_weights(Engine& engine, const LoraTag& lora, GenerateResult& result) {
  if (lora.blocks.empty()) return nullptr;
  const auto weights = BlockPresets::in(engine.options().folders).weights(lora.blocks, engine.layers());
  if (const std::string note = misfit(weights, engine.layers()); !note.empty()) warn(result, lora.text + ": " + note);
  return std::make_shared<const BlockWeights>(weights);
}

void use_tag(Engine& engine, const ExtraNetworkTag& tag, ResolvedPrompt& prompt, const Request& request, GenerateResult& result) {
  const LoraTag lora = parse_lora_tag(tag);
  if (!lora.is_finite()) throw Error(ErrorKind::bad_input, "the multiplier in " + tag.text + " is not a finite number", "write a number such as 0.8");
  for (const auto& surplus : lora.surplus) warn(result, tag.text + ": '" + surplus + "' is one argument too many and was passed over");
  std::optional<FoundModel> found;
  try {
    found = engine.options().folders.find(ModelKind::lora, lora.name);
  } catch (const Error& error) {
    if (!request.allow_missing || error.kind() != ErrorKind::not_found) throw;
    warn(result, error.message() + "; the picture was made without it");
    return;
  }
  for (const auto& note : found->notes) warn(result, note);
  const auto loaded = engine.lora(found->file);
  report(result, loaded->report);
  TaggedLora tagged{loaded, lora};
  with_context("in " + tag.text, [&] {
    tagged.blocks = block_weights(engine, lora, result);
    if (!lora.mask.empty()) tagged.mask = region_mask(engine, request, lora.mask);
  });
  if (lora.is_off()) return;
  if (const int layers = placeless_layers(*loaded); lora.has_region() && layers > 0)
    warn(result, tag.text + ": " + std::to_string(layers) + " layers of the time step's embedding belong to no place and are left out of the region");
  prompt.loras.push_back(std::move(tagged));
  const auto key = std::make_pair(hash_key(lora.name), loaded->hash);
  if (std::find(prompt.lora_hashes.begin(), prompt.lora_hashes.end(), key) == prompt.lora_hashes.end()) prompt.lora_hashes.push_back(key);
}

// The folders' embeddings and those that the LoRAs bring along.
EmbeddingStore embeddings_for(Engine& engine, const ResolvedPrompt& prompt) {
  EmbeddingStore store = engine.embeddings();
  for (const auto& use : prompt.loras) {
    for (const auto& [name, tensors] : use.lora->embeddings) {
      std::vector<std::string> names;
      const std::string prefix = "bundle_emb." + name + ".";
      for (const auto& [tensor, value] : tensors) names.push_back(prefix + tensor);
      const auto read = [&, tensors = &tensors](const std::string& full) { return tensors->at(full.substr(prefix.size())); };
      for (auto& embedding : bundled_embeddings(names, {}, use.lora->report.name, read)) store.add(std::move(embedding));
    }
  }
  return store;
}

// Any case, as the tokenizer reads it, and not as a part of a longer word.
bool has_word(const std::string& text, const std::string& word) {
  const std::string in = lower(text), wanted = lower(word);
  const auto inside_word = [&](size_t at) { return at < in.size() && (std::isalnum(static_cast<unsigned char>(in[at])) || in[at] == '_'); };
  for (size_t at = in.find(wanted); !wanted.empty() && at != std::string::npos; at = in.find(wanted, at + 1)) {
    if ((at == 0 || !inside_word(at - 1)) && !inside_word(at + wanted.size())) return true;
  }
  return false;
}

// SDXL was trained with zeros in the place of an empty text.
void zero(ScheduledPrompt& prompt) {
  for (auto& part : prompt.parts) {
    for (auto& entry : part.schedule) {
      entry.conditioning.context = torch::zeros_like(entry.conditioning.context);
      if (entry.conditioning.pooled.defined()) entry.conditioning.pooled = torch::zeros_like(entry.conditioning.pooled);
    }
  }
}

}  // namespace

void warn(GenerateResult& result, const std::string& text) {
  if (std::find(result.warnings.begin(), result.warnings.end(), text) == result.warnings.end()) result.warnings.push_back(text);
}

ResolvedPrompt resolve_prompt(Engine& engine, const std::string& prompt, const Request& request, GenerateResult& result) {
  const TaggedPrompt tagged = take_extra_networks(prompt);
  ResolvedPrompt resolved{.text = tagged.text, .loras = {}, .lora_hashes = {}};
  for (const auto& tag : tagged.tags) {
    if (tag.is_lora()) {
      use_tag(engine, tag, resolved, request, result);
    } else {
      warn(result, "the tag " + tag.text + " is of a kind that is not supported ('" + tag.type + "') and was passed over");
    }
  }
  return resolved;
}

void warn_of_embeddings(Engine& engine, const std::vector<std::string>& texts, GenerateResult& result) {
  const EmbeddingStore& store = engine.embeddings();
  const auto check = [&](const std::string& name, const std::string& reason) {
    const bool asked = std::any_of(texts.begin(), texts.end(), [&](const auto& text) { return has_word(text, name); });
    if (asked) warn(result, "the embedding " + name + " was passed over: " + reason);
  };
  for (const auto& [name, reason] : store.skipped()) check(name, reason);
  for (const auto& [name, reason] : engine.embedding_errors()) check(name, reason);
}

PicturePrompts encode_prompts(Engine& engine, const ResolvedPrompt& prompt, const std::string& negative, const PassSteps& steps,
                              const Request& request, std::shared_ptr<const LoraSteps> loras, NamedHashes& used) {
  if (loras->merged) {
    engine.merge_loras(loras->text(), "text_encoder");
  } else {
    engine.lora_applier().attach(std::span(&loras->text(), 1), "text_encoder");
  }
  const EmbeddingStore store = embeddings_for(engine, prompt);
  std::vector<const ClipTextModel*> encoders;
  for (const auto& text : engine.text_encoders()) encoders.push_back(text.get());
  PromptEncoder encoder(encoders, store,
                        {.clip_skip = request.clip_skip ? std::optional(request.clip_skip) : std::nullopt, .device = engine.compute().text.device});
  const ScheduleSteps schedule{.steps = steps.steps, .hires_steps = steps.hires_calls};
  PicturePrompts prompts;
  ScheduledPrompts encoded = encoder.encode_scheduled(prompt.text, negative, schedule);
  if (engine.spec().zero_empty_negative && negative.empty()) zero(encoded.negative);
  prompts.prompt = std::make_shared<ScheduledPrompt>(std::move(encoded.prompt));
  prompts.negative = std::make_shared<ScheduledPrompt>(std::move(encoded.negative));
  prompts.loras = std::move(loras);
  for (const auto& embedding : encoder.used_embeddings()) {
    const auto key = std::make_pair(embedding->name, embedding->hash);
    if (std::find(used.begin(), used.end(), key) == used.end()) used.push_back(key);
  }
  return prompts;
}

}  // namespace lorikeet
