// Every parser of the prompt language on any bytes: nothing but Error{bad_input} may come out, and each answer keeps its promises.
#include "prompt/prompt_fuzz.h"

#include <cstdlib>
#include <string>

#include "base/error.h"
#include "prompt/attention.h"
#include "prompt/composition.h"
#include "prompt/lora_tag.h"
#include "prompt/schedule.h"
#include "prompt/tokenizer.h"

namespace lorikeet {

namespace {
void require(bool holds) {
  if (!holds) std::abort();
}

template <class Work>
void tolerate_bad_input(Work work) {
  try {
    work();
  } catch (const Error& error) {
    require(error.kind() == ErrorKind::bad_input);
  }
}
}  // namespace

int fuzz_prompt(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto prompt = take_extra_networks(text);
  for (const auto& tag : prompt.tags) tolerate_bad_input([&] { parse_lora_tag(tag); });
  for (const auto& part : split_composition(prompt.text)) {
    for (const ScheduleSteps& steps : {ScheduleSteps{.steps = 7}, ScheduleSteps{.steps = 7, .hires_steps = 3}}) {
      const auto schedule = parse_schedule(part.text, steps);
      require(!schedule.empty() && schedule.back().end_step == steps.hires_steps.value_or(steps.steps));
      tolerate_bad_input([&] { require(!parse_attention(schedule[0].text).empty()); });
    }
  }
  for (const int64_t id : tokenize(text)) require(id >= 0 && id < kVocabularySize);
  return 0;
}

}  // namespace lorikeet
