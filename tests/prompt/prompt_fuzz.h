// The fuzz entry of the prompt language (signature of LLVMFuzzerTestOneInput).
#pragma once
#include <cstddef>
#include <cstdint>

namespace lorikeet {

int fuzz_prompt(const uint8_t* data, size_t size);

}  // namespace lorikeet
