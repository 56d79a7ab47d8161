// What became of a run's LoRAs, for people and for programs.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "lora/apply.h"

namespace lorikeet {

// "fox: 264 of 264 modules (lora, sd1); no layer for …"
std::string line_of(const LoraReport& report);
nlohmann::json json_of(const LoraReport& report);

}  // namespace lorikeet
