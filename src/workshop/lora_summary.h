// A LoRA's summary as people and programs read it; for "lora list" and "inspect".
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "lora/file.h"

namespace lorikeet {

std::string size_text(uintmax_t bytes);                // "37.9 MB" (10^6)
std::string kinds_text(const LoraSummary& summary);    // "lora 32", "lokr, full 4-16"
std::string trigger_text(const LoraSummary& summary);  // the phrase, else the most frequent tags
nlohmann::json json_of(const LoraSummary& summary);

}  // namespace lorikeet
