// The run-time way of one layer: what its LoRAs add to its output, row by row of the batch and, with regions, place by place.
#pragma once
#include <vector>

#include "lora/apply.h"

namespace lorikeet {

// rows[i]: the terms of the i-th share of the batch; at least one has terms. Adapters with a low-rank short cut are computed beside the
// layer, in one pass over the rows that use them, times their region; a share with any other adapter gets op(x, W' − W) with W' − W kept,
// one for each part into which its regions divide the picture.
// The term throws Error{internal} when the batch is no multiple of rows.size().
RunTimeTerm run_time_term(const Layer& layer, std::vector<LoraTerms> rows);

// For a layer that reads the text: variant v of row i is what the layer adds in the v-th part of the picture, as regions[i] divide it. Two
// layers with the same `regions` (keys and values of one attention) have the same parts.
LayerVariants run_time_variants(const Layer& layer, const std::vector<LoraTerms>& rows, const std::vector<std::vector<Region>>& regions);

}  // namespace lorikeet
