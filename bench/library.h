// The library of models with 10,000 LoRAs: scan, start, search. The files are sparse: real headers, holes for data.
#pragma once
#include <filesystem>
#include <functional>
#include <string>

namespace lorikeet {

// Files, index and all lie below `folder` and are removed at the end. `add` is called with each row: name, value, unit.
void measure_library(const std::filesystem::path& folder, const std::function<void(const std::string&, double, const std::string&)>& add);

}  // namespace lorikeet
