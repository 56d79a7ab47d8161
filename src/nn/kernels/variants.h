// What one instruction set offers: tables of plain functions on raw memory. The files behind them (rows.cpp, attention_vector.cpp,
// attention_amx.cpp) are compiled once per instruction set with its own flags, so they and this header keep away from libtorch and from
// library templates: an inline function compiled there for AVX-512 could otherwise be the copy that the linker keeps for everybody.
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

// One head of attention. Strides are in elements, from one token to the next.
struct AttentionShape {
  int64_t queries, keys, width;  // T, S, d
  int64_t q_stride, k_stride, v_stride, out_stride;
  float scale;
  bool causal;
};

// The queries of a head go in blocks of query_block(shape); keys and values are packed once per head.
struct AttentionKernel {
  int64_t (*query_block)(const AttentionShape&);
  int64_t (*packed_bytes)(const AttentionShape&);   // per head, a multiple of 64
  int64_t (*scratch_bytes)(const AttentionShape&);  // per thread
  void (*pack)(const AttentionShape&, const void* k, const void* v, void* packed);
  // queries [first, first + query_block) of the head, cut at its end. packed and scratch: 64-byte aligned.
  void (*run)(const AttentionShape&, int64_t first, const void* q, const void* packed, void* scratch, void* out);
};

// Defined by the object files of each instruction set. Wide: bfloat16 in memory, float32 arithmetic.
#define LORIKEET_DECLARE_VARIANT(name)               \
  extern const Rows kRows_##name;                    \
  extern const AttentionKernel kAttentionF32_##name; \
  extern const AttentionKernel kAttentionWide_##name;
LORIKEET_DECLARE_VARIANT(portable)
LORIKEET_DECLARE_VARIANT(avx2)
LORIKEET_DECLARE_VARIANT(avx512)
LORIKEET_DECLARE_VARIANT(avx512_bf16)
#undef LORIKEET_DECLARE_VARIANT
extern const AttentionKernel kAttentionBf16;  // AVX512-BF16
extern const AttentionKernel kAttentionAmx;   // bfloat16 as well

// The tables of isa(); variants.cpp.
const Rows& rows();
const AttentionKernel& attention_kernel(bool bf16);

}  // namespace lorikeet::kernels
