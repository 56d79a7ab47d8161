// Fuzz target: any text is read as infotext, and what was read can be written and read again with the same meaning.
#include "generate/infotext.h"

namespace lorikeet {

int fuzz_infotext(const uint8_t* data, size_t size) {
  const Infotext first = parse_infotext({reinterpret_cast<const char*>(data), size});
  Request request = first.request;
  InfotextFacts facts;
  facts.seed = request.seed;
  facts.subseed = request.subseed;
  const Request second = parse_infotext(write_infotext(request, facts)).request;
  if (second.prompts != request.prompts || second.negative_prompt != request.negative_prompt || second.steps != request.steps)
    __builtin_trap();
  return 0;
}

}  // namespace lorikeet
