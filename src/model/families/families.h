// One function per file of this folder.
#pragma once
#include "model/spec.h"

namespace lorikeet {

std::optional<ModelSpec> recognise_sd1(const Checkpoint& checkpoint);
std::optional<ModelSpec> recognise_sd2(const Checkpoint& checkpoint);
std::optional<ModelSpec> recognise_sdxl(const Checkpoint& checkpoint);

}  // namespace lorikeet
