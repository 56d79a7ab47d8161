// What OFT and BOFT share: blocks of numbers that become rotations by Cayley's transform.
#pragma once
#include "base/torch.h"
#include "lora/adapter.h"

namespace lorikeet {

// blocks: […, b, b] -> R = (I + Q)(I − Q)⁻¹ with Q = blocks − blocksᵀ, of the same shape. limit > 0: all of Q together is first scaled
// to a norm of at most `limit` (Qiu et al. 2023, arXiv 2306.07280, sec. 4, as kohya's trainer does it).
Tensor cayley_rotation(const Tensor& blocks, double limit);

// The row factors that LyCORIS trains beside the rotation: undefined, or [out, 1, …] for the layer's weight.
Tensor consume_rescale(TensorGroup& tensors, const Layer& layer);

}  // namespace lorikeet
