// Fuzz targets of what people type or paste: prompts, infotext, requests as JSON, sidecars of models; and pictures. Their functions lie beside
// the tests of the folder that they try.
#pragma once
#include "targets.h"

namespace lorikeet {

int fuzz_prompt(const uint8_t* data, size_t size);    // tests/prompt/prompt_fuzz.cpp
int fuzz_infotext(const uint8_t* data, size_t size);  // tests/generate/infotext_fuzz.cpp
int fuzz_picture(const uint8_t* data, size_t size);   // tests/io/picture_fuzz.cpp
int fuzz_request(const uint8_t* data, size_t size);
int fuzz_sidecar(const uint8_t* data, size_t size);  // tests/library/sidecar_fuzz.cpp

std::vector<std::string> prompt_seeds();
std::vector<std::string> infotext_seeds();
std::vector<std::string> picture_seeds();
std::vector<std::string> request_seeds();
std::vector<std::string> sidecar_seeds();

}  // namespace lorikeet
