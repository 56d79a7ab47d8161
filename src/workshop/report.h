// What tools on LoRA files found, as JSON and in a line: for `lorikeet lora … --json` and the server.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "lora/surgery/compare.h"
#include "lora/surgery/describe.h"

namespace lorikeet {

nlohmann::ordered_json json_of(const LoraDescription& description);
nlohmann::ordered_json json_of(const Comparison& comparison);
nlohmann::ordered_json json_of(const std::vector<LayerResult>& layers);

// "264 layers, rank 128 -> 32, relative error 0.012 (largest 0.03 at …)"
std::string line_of(const std::vector<LayerResult>& layers);

}  // namespace lorikeet
