// The LoRAs of a prompt over the steps of a pass: what the tags ask for, as sets that lora/ can put on, and the way of putting them on.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "generate/request.h"
#include "lora/apply.h"
#include "model/spec.h"
#include "prompt/lora_tag.h"

namespace lorikeet {

// A tag whose file is found.
struct TaggedLora {
  std::shared_ptr<const LoadedLora> lora;
  LoraTag tag;
  std::shared_ptr<const BlockWeights> blocks = {};  // null: 1 everywhere
  Tensor mask = {};                                 // [H, W] float32 in 0…1, of any size; undefined: none
};

// What of a pass the LoRAs depend on.
struct PassFacts {
  int steps = 1;
  ImageSize size;
  bool hires = false;   // the second pass of hires fix
  int evaluations = 1;  // of the U-Net for a picture, prompt and negative prompt counted apart
};

struct LoraSteps {
  std::vector<LoraSet> sets = {
      LoraSet{}};      // one for each step of the pass; a single one where nothing changes. The text encoders' part never changes
  bool merged = true;  // into the weights, anew where the set changes; else beside the layers at run time
  std::vector<std::string> notes = {};  // for people

  const LoraSet& at(int step) const;  // from 0; behind the end the last one
  const LoraSet& text() const { return sets.front(); }
  int changes() const;
  bool has_regions() const;
  bool same_as(const LoraSteps& other) const { return merged == other.merged && sets == other.sets; }
};

// Multipliers are told by the curves, by start and stop; a region that covers the picture is none. `merged` is left open.
LoraSteps plan_loras(std::span<const TaggedLora> loras, const PassFacts& pass);

// Settles `merged` for the prompts of one pass, `rows` pictures to a batch. On the CPU it depends on nothing but the prompt itself, so that
// a picture does not depend on its company; on a GPU it is the same for all of a batch. Error{bad_input}: merged is asked for, and a LoRA
// works in a part of the picture.
void choose_ways(std::span<LoraSteps> prompts, const PassFacts& pass, LoraApply asked, bool on_cpu, int rows);

}  // namespace lorikeet
