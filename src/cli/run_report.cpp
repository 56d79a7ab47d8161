#include "cli/run_report.h"

#include <ostream>

namespace lorikeet {

void print_reports(std::span<const LoraReport> loras, std::span<const std::string> warnings, std::ostream& to) {
  for (const LoraReport& lora : loras) to << line_of(lora) << "\n";
  for (const std::string& warning : warnings) to << "warning: " << warning << "\n";
}

}  // namespace lorikeet
