// What the prompts of a request ask for: texts without tags, the LoRA files that the tags mean, and the encoded texts.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "generate/denoiser.h"
#include "generate/engine.h"
#include "generate/generate.h"
#include "generate/infotext.h"
#include "generate/lora_plan.h"

namespace lorikeet {

// A warning, once.
void warn(GenerateResult& result, const std::string& text);

// One prompt of the request.
struct ResolvedPrompt {
  std::string text;               // without tags
  std::vector<TaggedLora> loras;  // those that are off left out
  NamedHashes lora_hashes;        // for infotext, named as in the tags
};

// Takes the tags out and finds what they mean. Tags of other kinds than LoRA are named in result.warnings; a LoRA that is not there is
// Error{not_found} with the near names, or a warning with request.allow_missing. Fills result.loras, one report a file.
ResolvedPrompt resolve_prompt(Engine& engine, const std::string& prompt, const Request& request, GenerateResult& result);

// How the text of a pass is scheduled over its steps.
struct PassSteps {
  int steps;                        // U-Net calls a picture: steps, twice that for samplers of second order
  std::optional<int> hires_calls;   // second pass of hires fix: its own calls
};

// Embeddings of the folders that could not be read or do not fit the model, and whose name is a word of one of the texts: a warning each.
void warn_of_embeddings(Engine& engine, const std::vector<std::string>& texts, GenerateResult& result);

// Encodes a prompt and the negative prompt with the text encoders' part of its LoRAs put on, merged or at run time. `used` gains the
// embeddings. loras: of this prompt and pass.
PicturePrompts encode_prompts(Engine& engine, const ResolvedPrompt& prompt, const std::string& negative, const PassSteps& steps,
                              const Request& request, std::shared_ptr<const LoraSteps> loras, NamedHashes& used);

}  // namespace lorikeet
