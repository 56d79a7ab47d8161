// Fuzz targets of model files.
#pragma once
#include "targets.h"

namespace lorikeet {

int fuzz_tensor_file(const uint8_t* data, size_t size);
int fuzz_pickle(const uint8_t* data, size_t size);
int fuzz_lora(const uint8_t* data, size_t size);
std::vector<std::string> pickle_seeds();

}  // namespace lorikeet
