// What a run that makes pictures tells besides them: which LoRAs fitted, what was changed or passed over.
#pragma once
#include <iosfwd>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>

#include "lora/apply.h"

namespace lorikeet {

std::string line_of(const LoraReport& report);  // "monet: 264 of 264 modules (lora, sd1)"
nlohmann::json json_of(const LoraReport& report);
void print_reports(std::span<const LoraReport> loras, std::span<const std::string> warnings, std::ostream& to);

}  // namespace lorikeet
