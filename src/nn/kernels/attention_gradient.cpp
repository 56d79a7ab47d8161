// The gradient of attention, compiled once per instruction set (FlashAttention: Dao et al. 2022, arXiv 2205.14135, algorithm 4). No T×S
// matrix is kept: the weights P = exp(scale · Q Kᵀ - lse) of a block are computed again from the forward's log-sum-exp. With dP = dO Vᵀ
// and D = Σ_c dO ∘ O per query, dS = P ∘ (dP - D), and
//   dV = Pᵀ dO,  dK = scale · dSᵀ Q,  dQ = scale · dS K.
//
// Keys lie side by side in the vector lanes: S and dP are [96 queries, 128 keys], dK and dV are summed transposed, [d, 128 keys],
// while the queries go by, so that only dQ needs the width d padded to whole vectors.
#include "nn/kernels/attention_products.h"

namespace lorikeet::kernels {
namespace {

// The scores of a block and as many dP are 96 KiB: with Q, K and what is summed within the second-level cache, and long enough for the
// products not to spend their time on reading and writing sums. Whole tiles, even.
constexpr int64_t kQueries = 96, kKeys = 128;

LORIKEET_INLINE void zero(void* memory, int64_t bytes) { __builtin_memset(memory, 0, static_cast<uint64_t>(bytes)); }

template <class Element>
LORIKEET_INLINE Element* take(char*& memory, int64_t n) {
  Element* first = reinterpret_cast<Element*>(memory);
  memory += (n * static_cast<int64_t>(sizeof(Element)) + 63) / 64 * 64;
  return first;
}

// A head's Q and dO: along the width [T][steps of d], for the scores, and along the queries [steps of T][d], for dK and dV. Where a step
// is one number both are the same. lse counts in powers of 2; share is D.
template <class Kind>
struct Packed {
  using Element = typename Kind::Element;
  Element *q, *dout, *q_down, *dout_down;
  float *lse, *share;
  char* end;

  Packed(const AttentionGradientShape& shape, void* memory) {
    char* at = static_cast<char*>(memory);
    const int64_t row = shape.queries * steps(shape.width, Kind::kPerStep), down = steps(shape.queries, Kind::kPerStep) * shape.width;
    q = take<Element>(at, row);
    dout = take<Element>(at, row);
    q_down = Kind::kPerStep == 1 ? q : take<Element>(at, down);
    dout_down = Kind::kPerStep == 1 ? dout : take<Element>(at, down);
    lse = take<float>(at, shape.queries);
    share = take<float>(at, shape.queries);
    end = at;
  }
};

LORIKEET_INLINE int64_t padded_width(const AttentionGradientShape& shape) { return whole_vectors(shape.width); }

// What is at hand of one block of keys, and of one block of queries against it. Where a step is a pair, ds_rows holds dS with pairs of keys
// (the factors of dQ) while weights and ds hold pairs of queries; else ds_rows is ds.
template <class Kind>
struct Block {
  using Element = typename Kind::Element;
  Element *k, *v, *k_down;  // [steps of d][kKeys], the same, [steps of keys][padded d]
  float *weights, *ds;      // [kQueries][kKeys]: first the scores and dP
  Element* ds_rows;         // [kQueries][steps of kKeys]
  char* end;

  Block(const AttentionGradientShape& shape, void* memory) {
    char* at = static_cast<char*>(memory);
    const int64_t depth = steps(shape.width, Kind::kPerStep);
    k = take<Element>(at, depth * kKeys);
    v = take<Element>(at, depth * kKeys);
    k_down = take<Element>(at, steps(kKeys, Kind::kPerStep) * padded_width(shape));
    weights = take<float>(at, kQueries * kKeys);
    ds = take<float>(at, kQueries * kKeys);
    ds_rows = Kind::kPerStep == 1 ? reinterpret_cast<Element*>(ds) : take<Element>(at, kQueries * steps(kKeys, Kind::kPerStep));
    end = at;
  }
};

// Element c of a row whose numbers lie `next` apart; `more`: whether there is a second one.
template <class Kind, class T>
LORIKEET_INLINE typename Kind::Element element(const T* at, int64_t next, bool more) {
  if constexpr (Kind::kPerStep == 1) {
    return to_float(*at);
  } else {
    return pair_of(*at, more ? at[next] : Bf16{0});
  }
}

// rows of `width` numbers, `stride` apart -> [rows][steps of width]
template <class Kind, class T>
void pack_rows(const T* from, int64_t stride, int64_t rows, int64_t width, typename Kind::Element* to) {
  const int64_t to_row = steps(width, Kind::kPerStep);
  for (int64_t r = 0; r < rows; ++r, from += stride, to += to_row) {
    if constexpr (Kind::kPerStep == 1) {
      each(width, [&](int64_t c, auto part) { store(to + c, load(from + c, part), part); });
    } else {  // pairs of neighbours are what lies there already
      if (width % 2 != 0) to[to_row - 1] = 0;
      __builtin_memcpy(to, from, static_cast<uint64_t>(width) * 2);
    }
  }
}

// -> [steps of rows][to_row]
template <class Kind, class T>
void pack_down(const T* from, int64_t stride, int64_t rows, int64_t width, typename Kind::Element* to, int64_t to_row) {
  constexpr int64_t kStep = Kind::kPerStep;
  int64_t r = 0;
  for (; r + kStep <= rows; r += kStep, from += kStep * stride, to += to_row) {
    for (int64_t c = 0; c < width; ++c) to[c] = element<Kind>(from + c, stride, true);
  }
  for (int64_t c = 0; r < rows && c < width; ++c) to[c] = element<Kind>(from + c, stride, false);
}

// -> [steps of width][kKeys]
template <class Kind, class T>
void pack_turned(const T* from, int64_t stride, int64_t rows, int64_t width, typename Kind::Element* to) {
  constexpr int64_t kStep = Kind::kPerStep;
  for (int64_t r = 0; r < rows; ++r, from += stride, ++to) {
    int64_t c = 0;
    for (; c + kStep <= width; c += kStep) to[c / kStep * kKeys] = element<Kind>(from + c, 1, true);
    if (c < width) to[c / kStep * kKeys] = element<Kind>(from + c, 1, false);
  }
}

template <class Kind, class T>
void pack(const AttentionGradientShape& shape, const AttentionGradientInputs& head, void* memory) {
  const Packed<Kind> packed(shape, memory);
  const T *q = static_cast<const T*>(head.q), *dout = static_cast<const T*>(head.dout), *out = static_cast<const T*>(head.out);
  pack_rows<Kind>(q, shape.q_stride, shape.queries, shape.width, packed.q);
  pack_rows<Kind>(dout, shape.dout_stride, shape.queries, shape.width, packed.dout);
  if constexpr (Kind::kPerStep > 1) {
    pack_down<Kind>(q, shape.q_stride, shape.queries, shape.width, packed.q_down, shape.width);
    pack_down<Kind>(dout, shape.dout_stride, shape.queries, shape.width, packed.dout_down, shape.width);
  }
  for (int64_t t = 0; t < shape.queries; ++t, out += shape.out_stride, dout += shape.dout_stride) {
    F share{};
    each(shape.width, [&](int64_t c, auto part) { share += load(out + c, part) * load(dout + c, part); });
    packed.share[t] = sum(share);
    packed.lse[t] = head.lse[t] * kLog2e;
  }
}

template <class Kind, class T>
void load_keys(const AttentionGradientShape& shape, const Block<Kind>& block, const AttentionGradientPiece& piece, int64_t key,
               int64_t keys) {
  const T* k = static_cast<const T*>(piece.k) + key * shape.k_stride;
  const T* v = static_cast<const T*>(piece.v) + key * shape.v_stride;
  const int64_t padded = padded_width(shape);
  if (keys < kKeys) {
    const int64_t bytes = steps(shape.width, Kind::kPerStep) * kKeys * 4;
    zero(block.k, bytes);
    zero(block.v, bytes);
  }
  if (padded > shape.width) zero(block.k_down, steps(keys, Kind::kPerStep) * padded * 4);
  pack_turned<Kind>(k, shape.k_stride, keys, shape.width, block.k);
  pack_turned<Kind>(v, shape.v_stride, keys, shape.width, block.v);
  pack_down<Kind>(k, shape.k_stride, keys, shape.width, block.k_down, padded);
}

// One block of queries against one of keys.
struct Place {
  int64_t query, queries, key, keys;
};

// Keys that do not exist or lie in a query's future get no weight.
template <class Kind>
void mask(const AttentionGradientShape& shape, const Block<Kind>& block, const Place& at) {
  const int64_t columns = whole_vectors(at.keys);
  for (int64_t r = 0; r < at.queries; ++r) {
    const int64_t seen = shape.causal ? min(at.keys, at.query + r + 1 - at.key) : at.keys;
    for (int64_t n = seen < 0 ? 0 : seen; n < columns; ++n) block.weights[r * kKeys + n] = kMasked;
  }
}

struct Weighed {
  F weight, ds;
};

template <int Degree>
LORIKEET_INLINE Weighed weigh(const float* score, const float* dp, F to_log2, float lse, float share) {
  const F weight = exp2<Degree>(load(score) * to_log2 - lse);
  return {weight, weight * (load(dp) - share)};
}

// Scores and dP -> P and dS, in the form that the next products want.
template <class Kind, int Degree>
void weigh_block(const Block<Kind>& block, const float* lse, const float* share, const Place& at, float scale) {
  const F to_log2 = all(scale * kLog2e);
  const int64_t columns = whole_vectors(at.keys);
  float *weights = block.weights, *ds = block.ds;
  if constexpr (Kind::kPerStep == 1) {
    for (int64_t r = 0; r < at.queries; ++r, weights += kKeys, ds += kKeys) {
      for (int64_t n = 0; n < columns; n += kLanes) {
        const Weighed w = weigh<Degree>(weights + n, ds + n, to_log2, lse[r], share[r]);
        store(weights + n, w.weight);
        store(ds + n, w.ds);
      }
    }
  } else {
#if defined(__AVX512BF16__)
    // Two rows become one of pairs, which moves up over rows that are done with.
    Bf16* rows = reinterpret_cast<Bf16*>(block.ds_rows);
    const auto half = [](F v) { return bits_as<__m256i>(_mm512_cvtneps_pbh(bits_as<__m512>(v))); };
    const auto pairs = [](__m256i low, __m256i high) {
      return bits_as<F>(_mm512_or_si512(_mm512_cvtepu16_epi32(low), _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16)));
    };
    for (int64_t r = 0; r < at.queries; r += 2, weights += 2 * kKeys, ds += 2 * kKeys, rows += 2 * kKeys) {
      const bool second = r + 1 < at.queries;
      for (int64_t n = 0; n < columns; n += kLanes) {
        const Weighed a = weigh<Degree>(weights + n, ds + n, to_log2, lse[r], share[r]);
        Weighed b{};
        if (second) b = weigh<Degree>(weights + kKeys + n, ds + kKeys + n, to_log2, lse[r + 1], share[r + 1]);
        const __m256i low = half(a.ds), high = half(b.ds);
        __builtin_memcpy(rows + n, &low, sizeof low);
        __builtin_memcpy(rows + kKeys + n, &high, sizeof high);
        store(block.weights + r / 2 * kKeys + n, pairs(half(a.weight), half(b.weight)));
        store(block.ds + r / 2 * kKeys + n, pairs(low, high));
      }
    }
#endif
  }
}

template <class Kind, int Degree>
void run_block(const AttentionGradientShape& shape, const AttentionGradientPiece& piece, const Packed<Kind>& packed,
               const Block<Kind>& block, const Place& at) {
  constexpr int64_t kStep = Kind::kPerStep;
  const int64_t width = shape.width, depth = steps(width, kStep), padded = padded_width(shape), columns = whole_vectors(at.keys);
  multiply<Kind>({packed.q + at.query * depth, depth, 1, reinterpret_cast<float*>(block.k), kKeys, block.weights, kKeys, at.queries,
                  columns, depth, /*accumulate=*/false});
  multiply<Kind>({packed.dout + at.query * depth, depth, 1, reinterpret_cast<float*>(block.v), kKeys, block.ds, kKeys, at.queries, columns,
                  depth, /*accumulate=*/false});
  if (at.keys < columns || (shape.causal && at.key + at.keys > at.query)) mask(shape, block, at);
  weigh_block<Kind, Degree>(block, packed.lse + at.query, packed.share + at.query, at, shape.scale);
  if (shape.wants_kv) {
    float* dk = piece.dkv + at.key / kKeys * 2 * width * kKeys;
    const int64_t down = at.query / kStep * width, queries = steps(at.queries, kStep);
    multiply<Kind>({packed.q_down + down, 1, width, block.ds, kKeys, dk, kKeys, width, columns, queries, /*accumulate=*/true});
    multiply<Kind>({packed.dout_down + down, 1, width, block.weights, kKeys, dk + width * kKeys, kKeys, width, columns, queries,
                    /*accumulate=*/true});
  }
  if (shape.wants_q) {
    multiply<Kind>({block.ds_rows, kKeys / kStep, 1, reinterpret_cast<float*>(block.k_down), padded, piece.dq + at.query * padded, padded,
                    at.queries, padded, steps(at.keys, kStep), /*accumulate=*/true});
  }
}

template <class Kind, class T>
void run(const AttentionGradientShape& shape, const AttentionGradientPiece& piece) {
  const Packed<Kind> packed(shape, const_cast<void*>(piece.packed));
  const Block<Kind> block(shape, piece.scratch);
  const int64_t padded = padded_width(shape), block_floats = 2 * shape.width * kKeys;
  const int64_t last_key = piece.first_key + piece.keys, last_query = piece.first_query + piece.queries;
  if (shape.wants_q) zero(piece.dq + piece.first_query * padded, piece.queries * padded * 4);
  for (int64_t key = piece.first_key; key < last_key; key += kKeys) {
    const int64_t keys = min(kKeys, last_key - key);
    load_keys<Kind, T>(shape, block, piece, key, keys);
    if (shape.wants_kv) zero(piece.dkv + key / kKeys * block_floats, block_floats * 4);
    int64_t query = piece.first_query;
    if (shape.causal && key > query) query = key / kQueries * kQueries;  // those before see none of these keys
    for (; query < last_query; query += kQueries) {
      run_block<Kind, degree_for<T>()>(shape, piece, packed, block, {query, min(kQueries, last_query - query), key, keys});
    }
  }
}

template <class T>
void finish_q(const AttentionGradientShape& shape, const AttentionGradientSums& from, void* to, int64_t to_stride) {
  const int64_t padded = padded_width(shape);
  T* row = static_cast<T*>(to) + from.first * to_stride;
  const float* sums = from.sums + from.first * padded;
  for (int64_t r = 0; r < from.rows; ++r, row += to_stride, sums += padded) {
    each(shape.width, [&](int64_t c, auto rest) {
      F total = load(sums + c);
      for (int64_t part = 1; part < from.parts; ++part) total += load(sums + part * from.stride + c);
      store(row + c, total * shape.scale, rest);
    });
  }
}

// sums: [d][kKeys] -> rows of d numbers.
template <class T>
void finish_turned(const AttentionGradientShape& shape, const AttentionGradientSums& from, const float* sums, float factor, T* to,
                   int64_t to_stride) {
  each(shape.width, [&](int64_t c, auto rest) {
    float tile[kLanes][kKeys];
    for (int64_t i = 0; i < min(kLanes, shape.width - c); ++i) {
      for (int64_t n = 0; n < kKeys; n += kLanes) {
        const float* at = sums + (c + i) * kKeys + n;
        F total = load(at);
        for (int64_t part = 1; part < from.parts; ++part) total += load(at + part * from.stride);
        store(tile[i] + n, total * factor);
      }
    }
    for (int64_t r = 0; r < from.rows; ++r) {
      F row;
      for (int i = 0; i < kLanes; ++i) row[i] = tile[i][r];
      store(to + r * to_stride + c, row, rest);
    }
  });
}

// from: one block of keys.
template <class T>
void finish_kv(const AttentionGradientShape& shape, const AttentionGradientSums& from, void* dk, void* dv, int64_t to_stride) {
  const float* sums = from.sums + from.first / kKeys * 2 * shape.width * kKeys;
  finish_turned(shape, from, sums, shape.scale, static_cast<T*>(dk) + from.first * to_stride, to_stride);
  finish_turned(shape, from, sums + shape.width * kKeys, 1.f, static_cast<T*>(dv) + from.first * to_stride, to_stride);
}

template <class Layout>
int64_t bytes_of(const AttentionGradientShape& shape) {
  char origin;
  return Layout(shape, &origin).end - &origin;
}
int64_t dkv_floats(const AttentionGradientShape& shape) { return 2 * shape.width * kKeys; }

}  // namespace

#define LORIKEET_ATTENTION_GRADIENT(Kind, T)                                                                                            \
  {                                                                                                                                     \
    kQueries, kKeys, bytes_of<Packed<Kind>>, bytes_of<Block<Kind>>, padded_width, dkv_floats, pack<Kind, T>, run<Kind, T>, finish_q<T>, \
        finish_kv<T>                                                                                                                    \
  }
#if defined(__AVX512BF16__)
extern const AttentionGradientKernel kAttentionGradientBf16;
const AttentionGradientKernel kAttentionGradientBf16 = LORIKEET_ATTENTION_GRADIENT(Pairs, Bf16);
#else
extern const AttentionGradientKernel LORIKEET_VARIANT(kAttentionGradientF32);
const AttentionGradientKernel LORIKEET_VARIANT(kAttentionGradientF32) = LORIKEET_ATTENTION_GRADIENT(Singles, float);
extern const AttentionGradientKernel LORIKEET_VARIANT(kAttentionGradientWide);
const AttentionGradientKernel LORIKEET_VARIANT(kAttentionGradientWide) = LORIKEET_ATTENTION_GRADIENT(Singles, Bf16);
#endif

}  // namespace lorikeet::kernels
