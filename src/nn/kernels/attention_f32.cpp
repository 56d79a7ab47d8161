// Attention in float32 arithmetic (bfloat16 in memory is widened while packing), compiled once per instruction set.
//
// Everything is held transposed, queries side by side in the vector lanes: scores Sᵀ = K Qᵀ [keys, 64], result Oᵀ += Vᵀ Pᵀ [d, 64].
// So a product is "one number of K or V times a vector of queries", no width d needs padding, and the running maximum and sum of
// the online softmax (Dao et al. 2022, arXiv 2205.14135, algorithm 1) are plain vertical operations.
#include "nn/kernels/simd.h"

namespace lorikeet::kernels {
namespace {

constexpr int64_t kQueries = 64;
constexpr int64_t kKeys = 96;                      // 96 × 64 scores fit into the first-level cache beside a strip of K
constexpr int kTileRows = 6;                       // 6 × 4 (of 32 registers) or 6 × 2 (of 16) sums
constexpr int kTileVectors = kLanes == 16 ? 4 : 2;
constexpr float kMasked = -1e30f;                  // finite, so that no difference is NaN

struct Scratch {
  float *q, *scores, *out, *top, *total;
};

LORIKEET_INLINE Scratch divide(void* memory, int64_t width) {
  Scratch s;
  s.q = static_cast<float*>(memory);
  s.scores = s.q + width * kQueries;
  s.out = s.scores + kKeys * kQueries;
  s.top = s.out + width * kQueries;
  s.total = s.top + kQueries;
  return s;
}

// c[m][·] (+)= Σ_k a[m · a_row + k · a_step] · b[k][·] for Rows rows and kTileVectors vectors; rows of b and c are kQueries long.
template <int Rows>
inline void tile(const float* a, int64_t a_row, int64_t a_step, const float* b, int64_t depth, float* c, bool accumulate) {
  F sums[Rows][kTileVectors];
#pragma GCC unroll 8
  for (int m = 0; m < Rows; ++m) {
#pragma GCC unroll 8
    for (int n = 0; n < kTileVectors; ++n) sums[m][n] = accumulate ? load(c + m * kQueries + n * kLanes) : F{};
  }
  for (int64_t k = 0; k < depth; ++k, a += a_step, b += kQueries) {
    F row[kTileVectors];
#pragma GCC unroll 8
    for (int n = 0; n < kTileVectors; ++n) row[n] = load(b + n * kLanes);
#pragma GCC unroll 8
    for (int m = 0; m < Rows; ++m) {
      const F factor = all(a[m * a_row]);
#pragma GCC unroll 8
      for (int n = 0; n < kTileVectors; ++n) sums[m][n] += factor * row[n];
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < Rows; ++m) {
#pragma GCC unroll 8
    for (int n = 0; n < kTileVectors; ++n) store(c + m * kQueries + n * kLanes, sums[m][n]);
  }
}

void product(const float* a, int64_t a_row, int64_t a_step, const float* b, int64_t rows, int64_t depth, float* c, bool accumulate) {
  for (int64_t n = 0; n < kQueries; n += kTileVectors * kLanes) {
    int64_t m = 0;
    for (; m + kTileRows <= rows; m += kTileRows) {
      tile<kTileRows>(a + m * a_row, a_row, a_step, b + n, depth, c + m * kQueries + n, accumulate);
    }
    const float* rest = a + m * a_row;
    float* to = c + m * kQueries + n;
    switch (rows - m) {
      case 5: tile<5>(rest, a_row, a_step, b + n, depth, to, accumulate); break;
      case 4: tile<4>(rest, a_row, a_step, b + n, depth, to, accumulate); break;
      case 3: tile<3>(rest, a_row, a_step, b + n, depth, to, accumulate); break;
      case 2: tile<2>(rest, a_row, a_step, b + n, depth, to, accumulate); break;
      case 1: tile<1>(rest, a_row, a_step, b + n, depth, to, accumulate); break;
      default: break;
    }
  }
}

// Scores (base-2 logarithms) -> weights relative to the running maximum; sums and results so far follow the maximum.
template <int Degree>
void softmax_block(const Scratch& s, int64_t keys, int64_t width, bool first) {
  for (int64_t n = 0; n < kQueries; n += kTileVectors * kLanes) {
    F top[kTileVectors], total[kTileVectors];
    for (int j = 0; j < kTileVectors; ++j) top[j] = first ? all(kMasked) : load(s.top + n + j * kLanes);
    for (int64_t k = 0; k < keys; ++k) {
      for (int j = 0; j < kTileVectors; ++j) top[j] = max(top[j], load(s.scores + k * kQueries + n + j * kLanes));
    }
    for (int j = 0; j < kTileVectors; ++j) {
      total[j] = F{};
      if (!first) {
        const F change = exp2<Degree>(load(s.top + n + j * kLanes) - top[j]);
        total[j] = load(s.total + n + j * kLanes) * change;
        float* out = s.out + n + j * kLanes;
        for (int64_t c = 0; c < width; ++c) store(out + c * kQueries, load(out + c * kQueries) * change);
      }
      store(s.top + n + j * kLanes, top[j]);
    }
    for (int64_t k = 0; k < keys; ++k) {
      for (int j = 0; j < kTileVectors; ++j) {
        float* p = s.scores + k * kQueries + n + j * kLanes;
        const F weight = exp2<Degree>(load(p) - top[j]);
        total[j] += weight;
        store(p, weight);
      }
    }
    for (int j = 0; j < kTileVectors; ++j) store(s.total + n + j * kLanes, total[j]);
  }
}

// Key `first_key + k` is hidden from the queries before it.
void mask_block(float* scores, int64_t first_key, int64_t keys, int64_t first_query) {
  for (int64_t k = 0; k < keys; ++k) {
    const int64_t hidden = min(kQueries, first_key + k - first_query);
    for (int64_t t = 0; t < hidden; ++t) scores[k * kQueries + t] = kMasked;
  }
}

template <class T>
void run(const AttentionShape& shape, int64_t first, const void* q, const void* packed, void* scratch, void* out) {
  const int64_t width = shape.width;
  const Scratch s = divide(scratch, width);
  const int64_t queries = min(kQueries, shape.queries - first);
  const float to_log2 = shape.scale * 1.44269504f;
  for (int64_t t = 0; t < kQueries; ++t) {
    const T* row = static_cast<const T*>(q) + (first + t) * shape.q_stride;
    for (int64_t c = 0; c < width; ++c) s.q[c * kQueries + t] = t < queries ? to_float(row[c]) * to_log2 : 0.f;
  }
  const float* k_packed = static_cast<const float*>(packed);
  const float* v_packed = k_packed + shape.keys * width;
  const int64_t end = shape.causal ? min(shape.keys, first + queries) : shape.keys;
  for (int64_t key = 0; key < end; key += kKeys) {
    const int64_t keys = min(kKeys, end - key);
    product(k_packed + key * width, width, 1, s.q, keys, width, s.scores, false);
    if (shape.causal && key + keys > first) mask_block(s.scores, key, keys, first);
    softmax_block<degree_for<T>()>(s, keys, width, key == 0);
    product(v_packed + key * width, 1, width, s.scores, width, keys, s.out, key != 0);
  }
  for (int64_t t = 0; t < queries; ++t) {
    T* row = static_cast<T*>(out) + (first + t) * shape.out_stride;
    const float share = 1.f / s.total[t];
    for (int64_t c = 0; c < width; ++c) row[c] = from_float<T>(s.out[c * kQueries + t] * share);
  }
}

template <class T>
void pack(const AttentionShape& shape, const void* k, const void* v, void* packed) {
  float* k_packed = static_cast<float*>(packed);
  float* v_packed = k_packed + shape.keys * shape.width;
  for (int64_t s = 0; s < shape.keys; ++s) {
    const T* k_row = static_cast<const T*>(k) + s * shape.k_stride;
    const T* v_row = static_cast<const T*>(v) + s * shape.v_stride;
    each(shape.width, [&](int64_t c, auto part) {
      store(k_packed + s * shape.width + c, load(k_row + c, part), part);
      store(v_packed + s * shape.width + c, load(v_row + c, part), part);
    });
  }
}

int64_t query_block(const AttentionShape&) { return kQueries; }
int64_t packed_bytes(const AttentionShape& shape) { return (shape.keys * shape.width * 2 * 4 + 63) / 64 * 64; }
int64_t scratch_bytes(const AttentionShape& shape) { return (2 * shape.width + kKeys + 2) * kQueries * 4; }

}  // namespace

extern const AttentionKernel LORIKEET_VARIANT(kAttentionF32);
const AttentionKernel LORIKEET_VARIANT(kAttentionF32) = {query_block, packed_bytes, scratch_bytes, pack<float>, run<float>};
extern const AttentionKernel LORIKEET_VARIANT(kAttentionWide);
const AttentionKernel LORIKEET_VARIANT(kAttentionWide) = {query_block, packed_bytes, scratch_bytes, pack<Bf16>, run<Bf16>};

}  // namespace lorikeet::kernels
