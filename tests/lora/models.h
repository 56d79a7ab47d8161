// Layers to put LoRAs on: the tiny models' with and without their weights, and single ones.
#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "nn/layer.h"

namespace lorikeet::testing {

std::string golden(const std::string& path);        // a file below tests/golden
nlohmann::json read_json(const std::string& path);  // of tests/golden

// One Layer for each weight of U-Net and text encoders. sd1 has the oracle's weights; the others (tests/golden/shapes) zeros.
LayerMap tiny_model(const std::string& name);
// Layers of these parameter names and shapes, all weights 0. `only_shapes`: they cannot be run, and take no memory at any size.
LayerMap shaped_model(const nlohmann::json& shapes, bool only_shapes = false);

std::shared_ptr<Layer> layer_for(const std::string& path, const Tensor& weight, const Tensor& bias);

// max |a - b| / max |b|
double relative_error(const Tensor& a, const Tensor& b);

}  // namespace lorikeet::testing
