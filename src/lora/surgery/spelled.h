// From a draft's modules and words to the keys, tensors and metadata of a file in one spelling. For draft.cpp.
#pragma once
#include <string>
#include <vector>

#include "lora/surgery/draft.h"

namespace lorikeet {

struct SpelledLora {
  std::vector<DraftTensor> tensors;  // by key
  Metadata metadata;
  std::string peft_config;  // adapter_config.json; "" when the naming has none
  WrittenLora written;      // what is known about it before writing
};

SpelledLora spell_draft(LoraDraft draft, const LoraNaming& naming);

}  // namespace lorikeet
