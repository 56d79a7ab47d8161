// Attention in bfloat16 on AMX tiles (16 rows of 64 bytes; one instruction multiplies 16×32 by 32×16 and adds in float32).
//
// Scores S = Q Kᵀ [queries, keys] and result O += P V [queries, d] lie as they are spoken. The right-hand factors K and V are packed
// once per head into tiles whose rows hold pairs ("VNNI" order): K [d/2][16 keys][2], V [keys/2][16 of d][2]. A group of 32 queries
// goes over the keys in blocks; weights P overwrite the front half of their own score row. Online softmax as in
// Dao et al. 2022, arXiv 2205.14135, algorithm 1; maxima and sums in float32.
#include <immintrin.h>

#include "nn/kernels/variants.h"

namespace lorikeet::kernels {
namespace {

constexpr int64_t kGroup = 32;             // queries: two tile rows
constexpr int64_t kKeys = 128;             // keys of a block: scores, a strip of K and one of V fit into the first-level cache
constexpr int64_t kScoreRow = kKeys + 16;  // floats; the excess spreads the rows over the cache's sets
constexpr int64_t kTile = 512;             // bfloat16 elements of a tile
constexpr float kMasked = -1e30f;

int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t tiles(int64_t n, int64_t size) { return (n + size - 1) / size; }

struct Sizes {
  int64_t depth;    // tiles of 32 along d, for Q Kᵀ
  int64_t columns;  // tiles of 16 along d, for P V
  int64_t keys;     // rounded up to 32
  explicit Sizes(const AttentionShape& s) : depth(tiles(s.width, 32)), columns(tiles(s.width, 16)), keys(tiles(s.keys, 32) * 32) {}
  int64_t k_elements() const { return keys / 16 * depth * kTile; }
  int64_t v_elements() const { return keys / 32 * columns * kTile; }
};

// What one group of queries carries along.
struct Group {
  Bf16* q;       // [2][depth] tiles of 16 queries × 32
  float* out;    // [32][columns · 16]
  float* total;  // [32][16]: sums of weights, one per lane
  float* top;    // [32]: running maxima of the scores as the product gives them
};

constexpr int64_t bytes_up(int64_t bytes) { return (bytes + 63) / 64 * 64; }

int64_t group_bytes(const Sizes& n) { return 2 * n.depth * kTile * 2 + kGroup * (n.columns * 16 + 16) * 4 + bytes_up(kGroup * 4); }

Group group_at(char* memory, const Sizes& n) {
  Group g;
  g.q = reinterpret_cast<Bf16*>(memory);
  g.out = reinterpret_cast<float*>(memory + 2 * n.depth * kTile * 2);
  g.total = g.out + kGroup * n.columns * 16;
  g.top = g.total + kGroup * 16;
  return g;
}

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// The calling thread's tile configuration is put back afterwards: oneDNN remembers what it has set.
class Tiles {
 public:
  Tiles() {
    _tile_storeconfig(before_);
    const TileConfig ours;
    _tile_loadconfig(&ours);
  }
  ~Tiles() {
    if (before_[0] == 0) {
      _tile_release();
    } else {
      _tile_loadconfig(before_);
    }
  }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

 private:
  alignas(64) uint8_t before_[64];
};

void zero(void* memory, int64_t bytes) { __builtin_memset(memory, 0, static_cast<size_t>(bytes)); }

// [rows <= 16, width] -> tiles of 16 rows × 32 elements, missing rows and columns zero.
void pack_rows(const Bf16* from, int64_t stride, int64_t rows, int64_t width, Bf16* to) {
  if (rows < 16 || width % 32 != 0) zero(to, tiles(width, 32) * kTile * 2);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < width; c += 32) {
      __builtin_memcpy(to + c / 32 * kTile + r * 32, from + r * stride + c, static_cast<size_t>(min(32, width - c)) * 2);
    }
  }
}

// 16 rows of 16 pairs each -> its transpose.
void transpose_pairs(const uint32_t* from, uint32_t* to) {
  const __m512i steps = _mm512_mullo_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0), _mm512_set1_epi32(16));
  for (int i = 0; i < 16; ++i) _mm512_store_si512(to + i * 16, _mm512_i32gather_epi32(steps, from + i, 4));
}

void pack_keys(const AttentionShape& shape, const Bf16* k, Bf16* to) {
  const Sizes n(shape);
  for (int64_t key = 0; key < n.keys; key += 16) {
    const int64_t rows = min(16, shape.keys - key);
    for (int64_t c = 0; c < n.depth * 32; c += 32, to += kTile) {
      alignas(64) Bf16 rows_first[kTile];
      pack_rows(k + key * shape.k_stride + c, shape.k_stride, rows, min(32, shape.width - c), rows_first);
      transpose_pairs(reinterpret_cast<const uint32_t*>(rows_first), reinterpret_cast<uint32_t*>(to));
    }
  }
}

void pack_values(const AttentionShape& shape, const Bf16* v, Bf16* to) {
  const Sizes n(shape);
  for (int64_t key = 0; key < n.keys; key += 32) {
    for (int64_t c = 0; c < n.columns * 16; c += 16) {
      const __mmask16 lanes = static_cast<__mmask16>((1u << min(16, shape.width - c)) - 1);
      for (int64_t pair = key; pair < key + 32; pair += 2, to += 32) {
        const auto row = [&](int64_t s) {
          const __mmask16 there = s < shape.keys ? lanes : 0;
          return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(there, v + s * shape.v_stride + c));
        };
        _mm512_store_si512(to, _mm512_or_si512(row(pair), _mm512_slli_epi32(row(pair + 1), 16)));
      }
    }
  }
}

void pack(const AttentionShape& shape, const void* k, const void* v, void* packed) {
  Bf16* to = static_cast<Bf16*>(packed);
  pack_keys(shape, static_cast<const Bf16*>(k), to);
  pack_values(shape, static_cast<const Bf16*>(v), to + Sizes(shape).k_elements());
}

// scores[32][keys] = Q Kᵀ; keys: a multiple of 32.
void score_block(const Bf16* q, const Bf16* k, int64_t depth, int64_t keys, float* scores) {
  constexpr int kRow = kScoreRow * 4;
  for (int64_t key = 0; key < keys; key += 32, k += 2 * depth * kTile) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t d = 0; d < depth; ++d) {
      _tile_loadd(4, q + d * kTile, 64);
      _tile_loadd(6, k + d * kTile, 64);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(7, k + (depth + d) * kTile, 64);
      _tile_dpbf16ps(1, 4, 7);
      _tile_loadd(5, q + (depth + d) * kTile, 64);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, scores + key, kRow);
    _tile_stored(1, scores + key + 16, kRow);
    _tile_stored(2, scores + 16 * kScoreRow + key, kRow);
    _tile_stored(3, scores + 16 * kScoreRow + key + 16, kRow);
  }
}

// out[32][columns · 16] += P V; P: the front halves of the score rows.
void value_block(const float* scores, const Bf16* v, int64_t columns, int64_t keys, float* out) {
  constexpr int kRow = kScoreRow * 4;
  const int out_row = static_cast<int>(columns * 64);
  const Bf16* p = reinterpret_cast<const Bf16*>(scores);
  const Bf16* below = reinterpret_cast<const Bf16*>(scores + 16 * kScoreRow);
  int64_t c = 0;
  for (; c + 2 <= columns; c += 2) {
    float* o = out + c * 16;
    _tile_loadd(0, o, out_row);
    _tile_loadd(1, o + 16, out_row);
    _tile_loadd(2, o + 16 * columns * 16, out_row);
    _tile_loadd(3, o + 16 * columns * 16 + 16, out_row);
    for (int64_t key = 0; key < keys; key += 32) {
      const Bf16* right = v + (key / 32 * columns + c) * kTile;
      _tile_loadd(4, p + key, kRow);
      _tile_loadd(6, right, 64);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(7, right + kTile, 64);
      _tile_dpbf16ps(1, 4, 7);
      _tile_loadd(5, below + key, kRow);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, o, out_row);
    _tile_stored(1, o + 16, out_row);
    _tile_stored(2, o + 16 * columns * 16, out_row);
    _tile_stored(3, o + 16 * columns * 16 + 16, out_row);
  }
  if (c < columns) {
    float* o = out + c * 16;
    _tile_loadd(0, o, out_row);
    _tile_loadd(2, o + 16 * columns * 16, out_row);
    for (int64_t key = 0; key < keys; key += 32) {
      _tile_loadd(4, p + key, kRow);
      _tile_loadd(6, v + (key / 32 * columns + c) * kTile, 64);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(5, below + key, kRow);
      _tile_dpbf16ps(2, 5, 6);
    }
    _tile_stored(0, o, out_row);
    _tile_stored(2, o + 16 * columns * 16, out_row);
  }
}

// 2^x for x <= 0: cubic through Chebyshev nodes on [0, 1), relative error 1e-4, a twentieth of bfloat16's rounding.
inline __m512 exp2(__m512 x) {
  const __m512 f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(7.89672570e-2f), f, _mm512_set1_ps(2.24693156e-1f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.96324771e-1f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.99900288e-1f));
  return _mm512_scalef_ps(p, x);
}

// Lane r of the result: the largest lane of rows[r]. Four rounds of halving, as in a transposition.
inline __m512 max_of_each(const __m512 (&rows)[16]) {
  __m512 half[8], quarter[4], eighth[2];
  for (int i = 0; i < 8; ++i)
    half[i] = _mm512_max_ps(_mm512_unpacklo_ps(rows[2 * i], rows[2 * i + 1]), _mm512_unpackhi_ps(rows[2 * i], rows[2 * i + 1]));
  for (int i = 0; i < 4; ++i) {
    const __m512d x = _mm512_castps_pd(half[2 * i]), y = _mm512_castps_pd(half[2 * i + 1]);
    quarter[i] = _mm512_max_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)), _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
  }
  const auto fold = [](__m512 x, __m512 y) { return _mm512_max_ps(_mm512_shuffle_f32x4(x, y, 0x88), _mm512_shuffle_f32x4(x, y, 0xdd)); };
  for (int i = 0; i < 2; ++i) eighth[i] = fold(quarter[2 * i], quarter[2 * i + 1]);
  return fold(eighth[0], eighth[1]);
}

// The scores of 16 queries -> weights in bfloat16 (Vectors · 16 each) relative to the running maxima; what was summed so far follows them.
template <int Vectors>
inline void softmax_rows(float* scores, float to_log2, float* top, float* total, float* out, int64_t out_row) {
  __m512 most[16];
#pragma GCC unroll 16
  for (int t = 0; t < 16; ++t) {
    __m512 even = _mm512_load_ps(scores + t * kScoreRow), odd = _mm512_load_ps(scores + t * kScoreRow + 16);
    for (int i = 2; i < Vectors; i += 2) {
      even = _mm512_max_ps(even, _mm512_load_ps(scores + t * kScoreRow + i * 16));
      odd = _mm512_max_ps(odd, _mm512_load_ps(scores + t * kScoreRow + i * 16 + 16));
    }
    most[t] = _mm512_max_ps(even, odd);
  }
  const __m512 factor = _mm512_set1_ps(to_log2), before = _mm512_load_ps(top), now = _mm512_max_ps(max_of_each(most), before);
  _mm512_store_ps(top, now);
  alignas(64) float offset[16], change[16];
  _mm512_store_ps(offset, _mm512_mul_ps(_mm512_sub_ps(_mm512_setzero_ps(), now), factor));
  const unsigned risen = _mm512_cmp_ps_mask(now, before, _CMP_GT_OQ);
  _mm512_store_ps(change, exp2(_mm512_mul_ps(_mm512_sub_ps(before, now), factor)));
  for (int t = 0; t < 16; ++t) {
    if ((risen >> t & 1) == 0) continue;
    const __m512 less = _mm512_set1_ps(change[t]);
    _mm512_store_ps(total + t * 16, _mm512_mul_ps(_mm512_load_ps(total + t * 16), less));
    for (int64_t c = t * out_row; c < (t + 1) * out_row; c += 16) _mm512_store_ps(out + c, _mm512_mul_ps(_mm512_load_ps(out + c), less));
  }
  for (int t = 0; t < 16; ++t, scores += kScoreRow) {
    const __m512 away = _mm512_set1_ps(offset[t]);
    __m512 sum = _mm512_load_ps(total + t * 16);
#pragma GCC unroll 8
    for (int i = 0; i < Vectors; i += 2) {
      const __m512 low = exp2(_mm512_fmadd_ps(_mm512_load_ps(scores + i * 16), factor, away));
      const __m512 high = exp2(_mm512_fmadd_ps(_mm512_load_ps(scores + i * 16 + 16), factor, away));
      sum = _mm512_add_ps(sum, _mm512_add_ps(low, high));
      const __m512bh pair = _mm512_cvtne2ps_pbh(high, low);
      __builtin_memcpy(scores + i * 8, &pair, sizeof pair);
    }
    _mm512_store_ps(total + t * 16, sum);
  }
}

void softmax_rows(int64_t keys, float* scores, float to_log2, float* top, float* total, float* out, int64_t out_row) {
  switch (keys / 32) {
    case 4: return softmax_rows<8>(scores, to_log2, top, total, out, out_row);
    case 3: return softmax_rows<6>(scores, to_log2, top, total, out, out_row);
    case 2: return softmax_rows<4>(scores, to_log2, top, total, out, out_row);
    default: return softmax_rows<2>(scores, to_log2, top, total, out, out_row);
  }
}

// Hides the keys from `visible` (counted within the block) on.
void mask_row(float* scores, int64_t visible, int64_t keys) {
  for (int64_t s = visible < 0 ? 0 : visible; s < keys; ++s) scores[s] = kMasked;
}

void softmax_block(const AttentionShape& shape, const Group& g, float* scores, int64_t first_query, int64_t first_key, int64_t keys,
                   int64_t columns) {
  if (first_key + keys > shape.keys || (shape.causal && first_key + keys > first_query)) {
    for (int64_t t = 0; t < kGroup; ++t) {
      mask_row(scores + t * kScoreRow, min(shape.keys, shape.causal ? first_query + t + 1 : shape.keys) - first_key, keys);
    }
  }
  const int64_t out_row = columns * 16;
  for (int64_t t = 0; t < kGroup; t += 16) {
    softmax_rows(keys, scores + t * kScoreRow, shape.scale * 1.44269504f, g.top + t, g.total + t * 16, g.out + t * out_row, out_row);
  }
}

void start(const AttentionShape& shape, const Sizes& n, const Group& g, int64_t first, const Bf16* q) {
  for (int64_t half = 0; half < 2; ++half) {
    const int64_t t = first + half * 16, rows = min(16, shape.queries - t);
    if (rows > 0) {
      pack_rows(q + t * shape.q_stride, shape.q_stride, rows, shape.width, g.q + half * n.depth * kTile);
    } else {
      zero(g.q + half * n.depth * kTile, n.depth * kTile * 2);
    }
  }
  zero(g.out, kGroup * (n.columns * 16 + 16) * 4);
  for (int64_t t = 0; t < kGroup; ++t) g.top[t] = kMasked;
}

void finish(const AttentionShape& shape, const Sizes& n, const Group& g, int64_t first, const AttentionHead& head) {
  const int64_t rows = min(kGroup, shape.queries - first);
  Bf16* out = static_cast<Bf16*>(head.out);
  for (int64_t t = 0; t < rows; ++t) {
    const float total = _mm512_reduce_add_ps(_mm512_load_ps(g.total + t * 16));
    if (head.lse) head.lse[first + t] = g.top[t] * shape.scale + __builtin_logf(total);
    const __m512 share = _mm512_set1_ps(1.f / total);
    for (int64_t c = 0; c < shape.width; c += 16) {
      const __m256bh values = _mm512_cvtneps_pbh(_mm512_mul_ps(_mm512_load_ps(g.out + t * n.columns * 16 + c), share));
      __m256i bits;
      __builtin_memcpy(&bits, &values, sizeof bits);
      _mm256_mask_storeu_epi16(out + (first + t) * shape.out_stride + c, static_cast<__mmask16>((1u << min(16, shape.width - c)) - 1),
                               bits);
    }
  }
}

// Wide heads do so much work per query that more queries have to share each key fetched from memory.
int64_t query_block(const AttentionShape& shape) { return shape.width > 160 ? 128 : 64; }

void run(const AttentionShape& shape, int64_t first, const AttentionHead& head) {
  const Tiles configured;
  const Sizes n(shape);
  const Bf16* k = static_cast<const Bf16*>(head.packed);
  const Bf16* v = k + n.k_elements();
  float* scores = static_cast<float*>(head.scratch);
  char* groups = static_cast<char*>(head.scratch) + kGroup * kScoreRow * 4;
  const int64_t last = min(first + query_block(shape), shape.queries);
  const auto group = [&](int64_t t) { return group_at(groups + (t - first) / kGroup * group_bytes(n), n); };

  for (int64_t t = first; t < last; t += kGroup) start(shape, n, group(t), t, static_cast<const Bf16*>(head.q));
  const int64_t end = shape.causal ? min(n.keys, tiles(last, 32) * 32) : n.keys;
  for (int64_t key = 0; key < end; key += kKeys) {
    const int64_t keys = min(kKeys, end - key);
    for (int64_t t = first; t < last; t += kGroup) {
      const Group g = group(t);
      score_block(g.q, k + key / 16 * n.depth * kTile, n.depth, keys, scores);
      softmax_block(shape, g, scores, t, key, keys, n.columns);
      value_block(scores, v + key / 32 * n.columns * kTile, n.columns, keys, g.out);
    }
  }
  for (int64_t t = first; t < last; t += kGroup) finish(shape, n, group(t), t, head);
}

int64_t packed_bytes(const AttentionShape& shape) { return (Sizes(shape).k_elements() + Sizes(shape).v_elements()) * 2; }
int64_t scratch_bytes(const AttentionShape& shape) {
  return kGroup * kScoreRow * 4 + query_block(shape) / kGroup * group_bytes(Sizes(shape));
}

}  // namespace

extern const AttentionKernel kAttentionAmx;
const AttentionKernel kAttentionAmx = {query_block, packed_bytes, scratch_bytes, pack, run};

}  // namespace lorikeet::kernels
