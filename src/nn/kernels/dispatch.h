// From a tensor's dtype to the row kernels on raw memory; for this folder's drivers only.
#pragma once
#include "base/error.h"
#include "base/torch.h"
#include "nn/kernels/parallel.h"
#include "nn/kernels/variants.h"

namespace lorikeet::kernels {

inline float* data(const Tensor& x, float) { return x.data_ptr<float>(); }
inline Bf16* data(const Tensor& x, Bf16) { return static_cast<Bf16*>(x.data_ptr()); }

// Whether the kernels take it; whoever calls with something else (float64, another device) gets libtorch's own operations.
inline bool supported(const Tensor& x) {
  return x.device().is_cpu() && (x.scalar_type() == torch::kFloat || x.scalar_type() == torch::kBFloat16);
}

inline Tensor channels_last(const Tensor& x) { return x.contiguous(at::MemoryFormat::ChannelsLast); }
// An undefined tensor stays one.
inline Tensor as_floats(const Tensor& x) { return x.defined() ? x.to(torch::kFloat).contiguous() : x; }

// body(row kernels of x's dtype, an element of that type)
template <class Body>
void with_rows(const Tensor& x, Body body) {
  if (x.scalar_type() == torch::kBFloat16) {
    body(rows().bf16, Bf16{});
  } else {
    body(rows().f32, float{});
  }
}

template <class Body>
void with_row_gradients(const Tensor& x, Body body) {
  if (x.scalar_type() == torch::kBFloat16) {
    body(row_gradients().bf16, Bf16{});
  } else {
    body(row_gradients().f32, float{});
  }
}

// Work is cut into pieces of about this many bytes: small enough for the second-level cache, large enough to be worth a thread.
constexpr int64_t kPieceBytes = 1 << 16;

}  // namespace lorikeet::kernels
