// Attention on vector registers, compiled once per instruction set: in float32 (bfloat16 in memory is widened while packing), and on
// CPUs that multiply pairs of bfloat16, in those.
//
// Everything is held transposed, queries side by side in the vector lanes: scores Sᵀ = K Qᵀ [keys, 64], result Oᵀ += Vᵀ Pᵀ [d, 64].
// So a product is "one number (or pair) of K or V times a vector of queries", no width d needs padding, and the running maximum and
// sum of the online softmax (Dao et al. 2022, arXiv 2205.14135, algorithm 1) are plain vertical operations.
#include "nn/kernels/attention_products.h"

namespace lorikeet::kernels {
namespace {

constexpr int64_t kQueries = 64;
constexpr int64_t kKeys = 96;  // 96 × 64 scores fit into the first-level cache beside a strip of K; even

struct Scratch {
  float *q, *scores, *out, *top, *total;  // q: [steps of d][64] elements; scores: [kKeys][64]; out: [d][64]; top, total: [64]
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

// Scores -> weights 2^(to_log2 · (score - maximum)) relative to the running maximum; sums and results so far follow the maximum. Of the
// queries in Vectors vectors from n on.
template <int Degree, int Vectors>
void softmax_tile(const Scratch& s, int64_t n, int64_t keys, int64_t width, float to_log2, bool first) {
  F top[Vectors], total[Vectors];
  for (int j = 0; j < Vectors; ++j) top[j] = first ? all(kMasked) : load(s.top + n + j * kLanes);
  for (int64_t k = 0; k < keys; ++k) {
    for (int j = 0; j < Vectors; ++j) top[j] = max(top[j], load(s.scores + k * kQueries + n + j * kLanes));
  }
  for (int j = 0; j < Vectors; ++j) {
    total[j] = F{};
    if (!first) {
      const F change = exp2<Degree>((load(s.top + n + j * kLanes) - top[j]) * to_log2);
      total[j] = load(s.total + n + j * kLanes) * change;
      float* out = s.out + n + j * kLanes;
      for (int64_t c = 0; c < width; ++c) store(out + c * kQueries, load(out + c * kQueries) * change);
    }
    store(s.top + n + j * kLanes, top[j]);
  }
  for (int64_t k = 0; k < keys; ++k) {
    for (int j = 0; j < Vectors; ++j) {
      float* p = s.scores + k * kQueries + n + j * kLanes;
      const F weight = exp2<Degree>((load(p) - top[j]) * to_log2);
      total[j] += weight;
      store(p, weight);
    }
  }
  for (int j = 0; j < Vectors; ++j) store(s.total + n + j * kLanes, total[j]);
}

// columns: the queries, rounded up to whole vectors.
template <int Degree>
void softmax_block(const Scratch& s, int64_t columns, int64_t keys, int64_t width, float to_log2, bool first) {
  int64_t n = 0;
  for (; n + kTileVectors * kLanes <= columns; n += kTileVectors * kLanes) softmax_tile<Degree, kTileVectors>(s, n, keys, width, to_log2, first);
  for (; n < columns; n += kLanes) softmax_tile<Degree, 1>(s, n, keys, width, to_log2, first);
}

// Key `first_key + k` is hidden from the queries before it.
void mask_block(float* scores, int64_t first_key, int64_t keys, int64_t first_query) {
  for (int64_t k = 0; k < keys; ++k) {
    const int64_t hidden = min(kQueries, first_key + k - first_query);
    for (int64_t t = 0; t < hidden; ++t) scores[k * kQueries + t] = kMasked;
  }
}

#if defined(__AVX512BF16__)
// Weights [keys][64] -> [keys / 2][64] pairs, over their own beginning.
void pair_rows(float* weights, int64_t columns, int64_t keys) {
  for (int64_t k = 0; k < keys; k += 2) {
    for (int64_t n = 0; n < columns; n += kLanes) {
      const F low = load(weights + k * kQueries + n), high = k + 1 < keys ? load(weights + (k + 1) * kQueries + n) : F{};
      store(weights + k / 2 * kQueries + n, bits_as<F>(rounded_to_bf16(low) | rounded_to_bf16(high) << 16));
    }
  }
}
#endif

template <class Kind, class T>
void pack_queries(const AttentionShape& shape, const T* q, int64_t queries, int64_t columns, float* to) {
  for (int64_t t = 0; t < columns; ++t, q += shape.q_stride) {
    for (int64_t c = 0; c < shape.width; c += Kind::kPerStep) {
      float* at = to + c / Kind::kPerStep * kQueries + t;
      if (t >= queries) {
        *at = 0;
      } else if constexpr (Kind::kPerStep == 1) {
        *at = to_float(q[c]);
      } else {
        *at = bits_as<float>(pair_of(q[c], c + 1 < shape.width ? q[c + 1] : Bf16{0}));
      }
    }
  }
}

// The packed head: K [keys][steps of d], then V [steps of keys][d].
template <class Kind, class T>
void run(const AttentionShape& shape, int64_t first, const AttentionHead& head) {
  constexpr int64_t kStep = Kind::kPerStep;
  const int64_t width = shape.width, depth = steps(width, kStep);
  const Scratch s = divide(head.scratch, width);
  const int64_t queries = min(kQueries, shape.queries - first), columns = whole_vectors(queries);
  pack_queries<Kind>(shape, static_cast<const T*>(head.q) + first * shape.q_stride, queries, columns, s.q);
  const auto* k_packed = static_cast<const typename Kind::Element*>(head.packed);
  const auto* v_packed = k_packed + shape.keys * depth;
  const int64_t end = shape.causal ? min(shape.keys, first + queries) : shape.keys;
  for (int64_t key = 0; key < end; key += kKeys) {
    const int64_t keys = min(kKeys, end - key);
    multiply<Kind>({k_packed + key * depth, depth, 1, s.q, kQueries, s.scores, kQueries, keys, columns, depth, /*accumulate=*/false});
    if (shape.causal && key + keys > first) mask_block(s.scores, key, keys, first);
    softmax_block<degree_for<T>()>(s, columns, keys, width, shape.scale * kLog2e, key == 0);
#if defined(__AVX512BF16__)
    if constexpr (kStep == 2) pair_rows(s.scores, columns, keys);
#endif
    multiply<Kind>({v_packed + key / kStep * width, 1, width, s.scores, kQueries, s.out, kQueries, width, columns, steps(keys, kStep),
                    /*accumulate=*/key != 0});
  }
  for (int64_t t = 0; t < queries; ++t) {
    T* row = static_cast<T*>(head.out) + (first + t) * shape.out_stride;
    const float share = 1.f / s.total[t];
    for (int64_t c = 0; c < width; ++c) row[c] = from_float<T>(s.out[c * kQueries + t] * share);
    if (head.lse) head.lse[first + t] = s.top[t] * shape.scale + __builtin_logf(s.total[t]);
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

#if defined(__AVX512BF16__)
void pack_pairs(const AttentionShape& shape, const void* k, const void* v, void* packed) {
  const int64_t width = shape.width;
  uint32_t* to = static_cast<uint32_t*>(packed);
  for (int64_t s = 0; s < shape.keys; ++s) {
    const Bf16* row = static_cast<const Bf16*>(k) + s * shape.k_stride;
    for (int64_t c = 0; c < width; c += 2) *to++ = pair_of(row[c], c + 1 < width ? row[c + 1] : Bf16{0});
  }
  for (int64_t s = 0; s < shape.keys; s += 2) {
    const Bf16* row = static_cast<const Bf16*>(v) + s * shape.v_stride;
    const Bf16* next = row + shape.v_stride;
    for (int64_t c = 0; c < width; ++c) *to++ = pair_of(row[c], s + 1 < shape.keys ? next[c] : Bf16{0});
  }
}
#endif

int64_t query_block(const AttentionShape&) { return kQueries; }
int64_t packed_bytes(const AttentionShape& shape) { return ((shape.keys + 1) * (shape.width + 1) * 2 * 4 + 63) / 64 * 64; }
int64_t scratch_bytes(const AttentionShape& shape) { return (2 * shape.width + kKeys + 2) * kQueries * 4; }

}  // namespace

#if defined(__AVX512BF16__)
extern const AttentionKernel kAttentionBf16;
const AttentionKernel kAttentionBf16 = {query_block, packed_bytes, scratch_bytes, pack_pairs, run<Pairs, Bf16>};
#else
extern const AttentionKernel LORIKEET_VARIANT(kAttentionF32);
const AttentionKernel LORIKEET_VARIANT(kAttentionF32) = {query_block, packed_bytes, scratch_bytes, pack<float>, run<Singles, float>};
extern const AttentionKernel LORIKEET_VARIANT(kAttentionWide);
const AttentionKernel LORIKEET_VARIANT(kAttentionWide) = {query_block, packed_bytes, scratch_bytes, pack<Bf16>, run<Singles, Bf16>};
#endif

}  // namespace lorikeet::kernels
