// What a run that makes pictures prints besides them: which LoRAs fitted, what was changed or passed over.
#pragma once
#include <iosfwd>
#include <span>
#include <string>

#include "generate/report.h"

namespace lorikeet {

void print_reports(std::span<const LoraReport> loras, std::span<const std::string> warnings, std::ostream& to);

}  // namespace lorikeet
