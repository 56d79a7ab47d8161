// What one instruction set offers: tables of plain functions on raw memory. The files behind them (rows.cpp, rows_gradient.cpp,
// attention_vector.cpp, attention_gradient.cpp, attention_amx.cpp) are compiled once per instruction set with its own flags, so they and
// this header keep away from libtorch and from library templates: an inline function compiled there for AVX-512 could otherwise be the copy
// that the linker keeps for everybody.
#pragma once
#include <stdint.h>

namespace lorikeet::kernels {

struct Bf16 {
  uint16_t bits;
};

// Rows of `channels` elements, one after another in memory.
template <class T>
struct RowKernels {
  // Per channel, over `rows` rows: sum[c] = Σ (x - pivot[c]), squares[c] = Σ (x - pivot[c])². pivot: one row, usually x's own first.
  void (*moments)(const T* x, int64_t rows, int64_t channels, const T* pivot, float* sum, float* squares);
  // y = x · scale[c] + shift[c], then SiLU where asked.
  void (*affine)(const T* x, T* y, int64_t rows, int64_t channels, const float* scale, const float* shift, bool silu);
  void (*layer_norm)(const T* x, T* y, int64_t rows, int64_t channels, const float* weight, const float* bias, float eps);
  // x: rows of 2·channels -> y: rows of channels.
  void (*geglu)(const T* x, T* y, int64_t rows, int64_t channels);
  void (*silu)(const T* x, T* y, int64_t n);
  void (*quick_gelu)(const T* x, T* y, int64_t n);
  void (*gelu)(const T* x, T* y, int64_t n);
  void (*add)(const T* a, const T* b, T* y, int64_t n);
};

struct Rows {
  RowKernels<float> f32;
  RowKernels<Bf16> bf16;
};

// The coefficients of a GroupNorm's gradient for one picture, each [C].
struct GroupNormLines {
  const float *scale, *offset;          // forward: y = x · scale + offset
  const float* centre;                  // what x has as its group's mean
  const float *of_g, *of_x, *constant;  // backward: dx = g · of_g + x · of_x + constant
  bool silu;                            // g = dy · silu'(y), else dy
};

struct LayerNormRow {
  const float* weight;
  float eps;
  float* sums;  // [2][C], to which Σ dy · x̂ and Σ dy are added, or null
};

// The gradients of the above. dy: the gradient of the result, dx: that of x.
template <class T>
struct RowGradientKernels {
  // Over `rows` rows, per channel: sums[0][c] = Σ g, sums[1][c] = Σ g · (x - centre), sums[2][c] = Σ (x - centre).
  void (*group_norm_sums)(const T* dy, const T* x, int64_t rows, int64_t channels, const GroupNormLines& lines, float* sums);
  void (*group_norm)(const T* dy, const T* x, T* dx, int64_t rows, int64_t channels, const GroupNormLines& lines);
  // dx may be null.
  void (*layer_norm)(const T* dy, const T* x, T* dx, int64_t rows, int64_t channels, const LayerNormRow& norm);
  void (*geglu)(const T* dy, const T* x, T* dx, int64_t rows, int64_t channels);
  void (*silu)(const T* dy, const T* x, T* dx, int64_t n);
  void (*quick_gelu)(const T* dy, const T* x, T* dx, int64_t n);
  void (*gelu)(const T* dy, const T* x, T* dx, int64_t n);
  // Two rows of 2·width pixels -> one of width pixels: the sum of each four.
  void (*sum_of_four)(const T* dy, T* dx, int64_t width, int64_t channels);
};

struct RowGradients {
  RowGradientKernels<float> f32;
  RowGradientKernels<Bf16> bf16;
};

// One head of attention. Strides are in elements, from one token to the next.
struct AttentionShape {
  int64_t queries, keys, width;  // T, S, d
  int64_t q_stride, k_stride, v_stride, out_stride;
  float scale;
  bool causal;
};

// packed and scratch: 64-byte aligned. lse: [T], log Σ_s exp(scale · score) of each query, or null.
struct AttentionHead {
  const void *q, *packed;
  void *scratch, *out;
  float* lse;
};

// The queries of a head go in blocks of query_block(shape); keys and values are packed once per head.
struct AttentionKernel {
  int64_t (*query_block)(const AttentionShape&);
  int64_t (*packed_bytes)(const AttentionShape&);   // per head, a multiple of 64
  int64_t (*scratch_bytes)(const AttentionShape&);  // per thread
  void (*pack)(const AttentionShape&, const void* k, const void* v, void* packed);
  // queries [first, first + query_block) of the head, cut at its end.
  void (*run)(const AttentionShape&, int64_t first, const AttentionHead&);
};

// The gradient of one head. Strides as above; gradients of a kind that nobody wants are not computed.
struct AttentionGradientShape {
  int64_t queries, keys, width;
  int64_t q_stride, k_stride, v_stride, out_stride, dout_stride;
  float scale;
  bool causal, wants_q, wants_kv;
};

// What is known of a head's queries; packed once per head for all that follows.
struct AttentionGradientInputs {
  const void *q, *out, *dout;
  const float* lse;
};

// A rectangle of the T×S matrix. Queries begin at a multiple of query_block, keys of key_block; both end there or at the head's end.
struct AttentionGradientPiece {
  int64_t first_query, queries, first_key, keys;
  const void *k, *v, *packed;  // of the head
  void* scratch;
  float *dq, *dkv;  // the sums of this piece, where wanted: dq_row(shape) floats per query; dkv_floats(shape) per block of keys
};

// One part of the sums after another, `stride` floats apart, are added in this order, rounded and written to rows [first, first + rows).
struct AttentionGradientSums {
  const float* sums;
  int64_t parts, stride, first, rows;
};

struct AttentionGradientKernel {
  int64_t query_block, key_block;
  int64_t (*packed_bytes)(const AttentionGradientShape&);   // per head, a multiple of 64
  int64_t (*scratch_bytes)(const AttentionGradientShape&);  // per thread
  int64_t (*dq_row)(const AttentionGradientShape&);
  int64_t (*dkv_floats)(const AttentionGradientShape&);
  void (*pack)(const AttentionGradientShape&, const AttentionGradientInputs&, void* packed);
  void (*run)(const AttentionGradientShape&, const AttentionGradientPiece&);
  // dq, dk, dv: rows of the head's width, `to_stride` elements apart.
  void (*finish_q)(const AttentionGradientShape&, const AttentionGradientSums&, void* dq, int64_t to_stride);
  void (*finish_kv)(const AttentionGradientShape&, const AttentionGradientSums&, void* dk, void* dv, int64_t to_stride);
};

// Defined by the object files of each instruction set. Wide: bfloat16 in memory, float32 arithmetic.
#define LORIKEET_DECLARE_VARIANT(name)                               \
  extern const Rows kRows_##name;                                    \
  extern const RowGradients kRowGradients_##name;                    \
  extern const AttentionKernel kAttentionF32_##name;                 \
  extern const AttentionKernel kAttentionWide_##name;                \
  extern const AttentionGradientKernel kAttentionGradientF32_##name; \
  extern const AttentionGradientKernel kAttentionGradientWide_##name;
LORIKEET_DECLARE_VARIANT(portable)
LORIKEET_DECLARE_VARIANT(avx2)
LORIKEET_DECLARE_VARIANT(avx512)
LORIKEET_DECLARE_VARIANT(avx512_bf16)
#undef LORIKEET_DECLARE_VARIANT
extern const AttentionKernel kAttentionBf16;  // AVX512-BF16
extern const AttentionKernel kAttentionAmx;   // bfloat16 as well
extern const AttentionGradientKernel kAttentionGradientBf16;

// The tables of isa(); variants.cpp.
const Rows& rows();
const RowGradients& row_gradients();
const AttentionKernel& attention_kernel(bool bf16);
const AttentionGradientKernel& attention_gradient_kernel(bool bf16);

}  // namespace lorikeet::kernels
