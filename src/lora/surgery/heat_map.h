// How much a LoRA changes where, at a glance: blocks from top to bottom in a picture's way through the model, kinds of layers from left to
// right; light is little, dark is much.
#pragma once
#include "lora/surgery/describe.h"
#include "lora/surgery/drawing.h"

namespace lorikeet {

// With a checkpoint a cell is ‖ΔW‖ / ‖W‖ of its layers together, in per cent; without one the root mean square of the entries of ΔW, in
// thousandths of the largest cell.
Drawing heat_map(const LoraDescription& description);

}  // namespace lorikeet
