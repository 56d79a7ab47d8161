// Gradient checkpointing (Chen et al. 2016, arXiv 1604.06174, sec. 4.1): activations are computed a second time instead of kept.
#pragma once
#include <functional>
#include <vector>

#include "base/torch.h"

namespace lorikeet {

using RecomputedBlock = std::function<Tensor(const std::vector<Tensor>& inputs)>;

// block(inputs), of which nothing is kept for backward but the inputs: backward runs the block again, with gradients, and goes through
// that. Gradients reach the inputs, and the .grad of leaves that the block captures (adapter factors). Where nothing needs a gradient the
// block just runs. May be nested.
//
// block: gives the same whenever it is run (random masks come from counters, not from a generator), changes nothing, and lives with all
// that it captures until backward is through; what it captures and wants a gradient of must be a leaf. Meant for backward():
// torch::autograd::grad() does not see captured leaves, but adds to their .grad. With create_graph, or a second time without retain_graph,
// backward throws Error.
Tensor recomputed(RecomputedBlock block, const std::vector<Tensor>& inputs);

// A piece of a network, recomputed or not, with the same bits either way: what the uses of an input within the block give to its gradient
// is summed up before it leaves the block.
Tensor piece(bool recompute, const RecomputedBlock& block, const std::vector<Tensor>& inputs);

}  // namespace lorikeet
