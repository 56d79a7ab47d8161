// The run-time way of one layer: what its LoRAs add to its output, row by row of the batch.
#pragma once
#include <vector>

#include "lora/apply.h"

namespace lorikeet {

// rows[i]: the terms of the i-th share of the batch; at least one has terms. Adapters with a low-rank short cut are computed beside the
// layer, in one pass over the rows that use them; a share with any other adapter gets op(x, W' − W) with W' − W kept.
// The term throws Error{internal} when the batch is no multiple of rows.size().
RunTimeTerm run_time_term(const Layer& layer, std::vector<LoraTerms> rows);

}  // namespace lorikeet
