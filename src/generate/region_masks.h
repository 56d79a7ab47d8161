// The pictures that mask= in a LoRA's tag means.
#pragma once
#include <string>

#include "base/torch.h"
#include "generate/engine.h"
#include "generate/request.h"

namespace lorikeet {

// White: the LoRA works here (transparent pictures: where they are opaque). -> [H, W] float32 in 0…1.
// Looked for among request.region_masks, then, where paths are allowed, as a file, then in the folders of LoRAs. Error{not_found} says
// where; Error{bad_input}: a name that leads out of the folders, or no picture.
Tensor region_mask(const Engine& engine, const Request& request, const std::string& name);

}  // namespace lorikeet
