#include "generate/lora_plan.h"

#include <algorithm>

#include "base/error.h"

namespace lorikeet {

namespace {

bool works_at(const LoraTag& tag, int step, int steps) {
  return (!tag.start || tag.start->reached(step, steps)) && (!tag.stop || !tag.stop->reached(step, steps));
}

// How much of each of `count` places along a side lies within the span. -> [count]
Tensor covered(const SideSpan& span, int64_t count) {
  const auto size = static_cast<double>(count);
  const Tensor place = torch::arange(count, torch::kDouble);
  return ((place + 1).clamp_max(span.to * size) - place.clamp_min(span.from * size)).clamp(0, 1).to(torch::kFloat);
}

// Null: the whole picture.
Region region_of(const TaggedLora& lora, const ImageSize& size) {
  if (!lora.tag.has_region()) return nullptr;
  const int64_t height = size.height_px / 8, width = size.width_px / 8;
  Tensor mask = covered(lora.tag.y, height).unsqueeze(1) * covered(lora.tag.x, width).unsqueeze(0);
  if (lora.mask.defined()) mask = mask * torch::adaptive_avg_pool2d(lora.mask.unsqueeze(0), {height, width})[0];
  auto region = std::make_shared<const RegionMask>(mask);
  return region->is_everywhere() ? nullptr : region;
}

// The tags of one pass: everything but the U-Net's multiplier, which is the step's.
struct Prepared {
  LoraUse use;
  const LoraTag& tag;
  const MultiplierCurve& unet;
};

Prepared prepared(const TaggedLora& lora, const PassFacts& pass) {
  const LoraTag& tag = lora.tag;
  if (tag.dyn.value_or(1) < 1)
    throw Error(ErrorKind::bad_input, "a LoRA's tag asks for its first " + std::to_string(*tag.dyn) + " ranks (dyn)", "write dyn=1 or more, or leave it out for all");
  const MultiplierCurve& te = pass.hires && tag.hr_te ? *tag.hr_te : tag.te;
  const MultiplierCurve& unet = pass.hires && tag.hr_unet ? *tag.hr_unet : tag.unet;
  return {{lora.lora, te.first(), 0, tag.dyn, lora.blocks, region_of(lora, pass.size)}, tag, unet};
}

LoraSet set_at(const std::vector<Prepared>& loras, int step, int steps) {
  LoraSet set;
  for (const Prepared& lora : loras) {
    LoraUse use = lora.use;
    const bool nowhere = use.region && use.region->is_nowhere();
    use.unet = works_at(lora.tag, step, steps) && !nowhere ? lora.unet.at(step, steps) : 0;
    if (nowhere) use.region = nullptr;
    if (use.te != 0 || use.unet != 0) set.push_back(std::move(use));
  }
  return set;
}

void note_what_never_works(const std::vector<Prepared>& loras, const PassFacts& pass, LoraSteps& plan) {
  for (const Prepared& lora : loras) {
    bool works = false;
    for (int step = 0; step < std::max(pass.steps, 1); ++step) works = works || works_at(lora.tag, step, pass.steps);
    if (!works) plan.notes.push_back(lora.tag.text + " never works on the picture: there are " + std::to_string(pass.steps) + " steps");
    if (lora.use.region && lora.use.region->is_nowhere()) plan.notes.push_back(lora.tag.text + " works nowhere: its region is empty");
  }
}

bool low_rank(const LoraSteps& prompt) {
  return std::ranges::all_of(prompt.sets, [](const LoraSet& set) { return is_low_rank(set); });
}

// Alone in its batch.
bool merged_alone(const LoraSteps& prompt, const PassFacts& pass) {
  // Without company and changes a merge pays; where the rule says otherwise, for a very short run, the difference is small.
  if (prompt.changes() == 0) return !prompt.has_regions();
  return !prompt.has_regions() &&
         prefer_merged({.evaluations = pass.evaluations, .changes = prompt.changes(), .low_rank = low_rank(prompt)});
}

bool merged_together(std::span<const LoraSteps> prompts, const PassFacts& pass, int rows) {
  ApplyPlan plan{.evaluations = pass.evaluations, .pictures = rows};
  std::vector<const LoraSteps*> distinct;
  for (const LoraSteps& prompt : prompts) {
    if (prompt.has_regions()) return false;
    plan.low_rank = plan.low_rank && low_rank(prompt);
    plan.changes = std::max(plan.changes, prompt.changes());
    if (std::ranges::none_of(distinct, [&](const LoraSteps* other) { return other->sets == prompt.sets; })) distinct.push_back(&prompt);
  }
  plan.sets_in_batch = static_cast<int>(distinct.size());
  return prefer_merged(plan);
}

}  // namespace

const LoraSet& LoraSteps::at(int step) const { return sets[std::min(static_cast<size_t>(std::max(step, 0)), sets.size() - 1)]; }

int LoraSteps::changes() const {
  int count = 0;
  for (size_t i = 1; i < sets.size(); ++i) count += sets[i] == sets[i - 1] ? 0 : 1;
  return count;
}

bool LoraSteps::has_regions() const {
  return std::ranges::any_of(sets, [](const LoraSet& set) { return lorikeet::has_regions(set); });
}

LoraSteps plan_loras(std::span<const TaggedLora> loras, const PassFacts& pass) {
  std::vector<Prepared> all;
  for (const TaggedLora& lora : loras) all.push_back(prepared(lora, pass));
  LoraSteps plan;
  plan.sets.clear();
  for (int step = 0; step < std::max(pass.steps, 1); ++step) plan.sets.push_back(set_at(all, step, pass.steps));
  if (plan.changes() == 0) plan.sets.resize(1);
  note_what_never_works(all, pass, plan);
  return plan;
}

void choose_ways(std::span<LoraSteps> prompts, const PassFacts& pass, LoraApply asked, bool on_cpu, int rows) {
  const bool together = asked == LoraApply::automatic && !on_cpu && merged_together(prompts, pass, rows);
  for (LoraSteps& prompt : prompts) {
    if (asked == LoraApply::merged && prompt.has_regions())
      throw Error(ErrorKind::bad_input, "a LoRA that works in a part of the picture cannot be merged into the weights",
                  "leave out --lora-apply merged");
    prompt.merged = asked != LoraApply::automatic ? asked == LoraApply::merged : on_cpu ? merged_alone(prompt, pass) : together;
  }
}

}  // namespace lorikeet
