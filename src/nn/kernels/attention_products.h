// The products that attention and its gradient are made of: "one number (or pair) of A times a vector of B", in float32 or, on CPUs that
// multiply pairs of bfloat16, in those. For the files that are compiled once per instruction set (see variants.h).
#pragma once
#include "nn/kernels/simd.h"

namespace lorikeet::kernels {
namespace {

constexpr int kTileRows = 6;  // 6 × 4 (of 32 registers) or 6 × 2 (of 16) sums
constexpr int kTileVectors = kLanes == 16 ? 4 : 2;
constexpr float kMasked = -1e30f;  // finite, so that no difference is NaN
constexpr float kLog2e = 1.44269504f;

// What the products are made of. Depth runs in steps of kPerStep numbers, which share an Element of 32 bits.
struct Singles {
  using Element = float;
  static constexpr int64_t kPerStep = 1;
  static LORIKEET_INLINE F multiply_add(F sum, float factor, F row) { return sum + all(factor) * row; }
};

#if defined(__AVX512BF16__)
struct Pairs {
  using Element = uint32_t;
  static constexpr int64_t kPerStep = 2;
  static LORIKEET_INLINE F multiply_add(F sum, uint32_t factor, F row) {
    return bits_as<F>(_mm512_dpbf16_ps(bits_as<__m512>(sum), bits_as<__m512bh>(U{} + factor), bits_as<__m512bh>(row)));
  }
};
#endif

LORIKEET_INLINE uint32_t pair_of(Bf16 low, Bf16 high) { return low.bits | static_cast<uint32_t>(high.bits) << 16; }
LORIKEET_INLINE int64_t steps(int64_t n, int64_t per_step) { return (n + per_step - 1) / per_step; }
LORIKEET_INLINE int64_t whole_vectors(int64_t n) { return steps(n, kLanes) * kLanes; }

// c[m][n] (+)= Σ_k a[m · a_row + k · a_step] · b[k · b_row + n]
template <class Kind>
struct Product {
  const typename Kind::Element* a;
  int64_t a_row, a_step;
  const float* b;
  int64_t b_row;
  float* c;
  int64_t c_row;
  int64_t rows, columns, depth;  // columns: whole vectors; depth: steps
  bool accumulate;
};

// Rows rows from m on, Vectors vectors from column n on.
template <class Kind, int Rows, int Vectors>
inline void tile(const Product<Kind>& p, int64_t m, int64_t n) {
  const auto* a = p.a + m * p.a_row;
  const float* b = p.b + n;
  float* c = p.c + m * p.c_row + n;
  const int64_t a_row = p.a_row, a_step = p.a_step, b_row = p.b_row, c_row = p.c_row;
  const bool accumulate = p.accumulate;
  F sums[Rows][Vectors];
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < Vectors; ++j) sums[i][j] = accumulate ? load(c + i * c_row + j * kLanes) : F{};
  }
  for (int64_t k = p.depth; k > 0; --k, a += a_step, b += b_row) {
    F row[Vectors];
#pragma GCC unroll 8
    for (int j = 0; j < Vectors; ++j) row[j] = load(b + j * kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) {
      const auto factor = a[i * a_row];
#pragma GCC unroll 8
      for (int j = 0; j < Vectors; ++j) sums[i][j] = Kind::multiply_add(sums[i][j], factor, row[j]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < Vectors; ++j) store(c + i * c_row + j * kLanes, sums[i][j]);
  }
}

// The last p.rows - m rows, at most Rows.
template <class Kind, int Rows, int Vectors>
LORIKEET_INLINE void last_rows(const Product<Kind>& p, int64_t m, int64_t n) {
  if constexpr (Rows > 0) {
    if (p.rows - m == Rows) {
      tile<Kind, Rows, Vectors>(p, m, n);
    } else {
      last_rows<Kind, Rows - 1, Vectors>(p, m, n);
    }
  }
}

// All rows of Vectors vectors. Where these are few, more rows keep the multipliers busy.
template <class Kind, int Vectors>
void strip(const Product<Kind>& p, int64_t n) {
  constexpr int kRows = Vectors * 2 <= kTileVectors ? 2 * kTileRows : kTileRows * kTileVectors / Vectors;
  int64_t m = 0;
  for (; m + kRows <= p.rows; m += kRows) tile<Kind, kRows, Vectors>(p, m, n);
  last_rows<Kind, kRows - 1, Vectors>(p, m, n);
}

template <class Kind, int Vectors>
LORIKEET_INLINE void last_strip(const Product<Kind>& p, int64_t n) {
  if constexpr (Vectors > 0) {
    if (p.columns - n == Vectors * kLanes) {
      strip<Kind, Vectors>(p, n);
    } else {
      last_strip<Kind, Vectors - 1>(p, n);
    }
  }
}

template <class Kind>
void multiply(const Product<Kind>& p) {
  int64_t n = 0;
  for (; n + kTileVectors * kLanes <= p.columns; n += kTileVectors * kLanes) strip<Kind, kTileVectors>(p, n);
  last_strip<Kind, kTileVectors - 1>(p, n);
}

}  // namespace
}  // namespace lorikeet::kernels
