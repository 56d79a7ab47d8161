// Vectors of float32 in the compiler's own vector types (GCC, Clang), as wide as the instruction set that this file is being
// compiled for: LORIKEET_SIMD_BYTES. Everything is local to the including file (see variants.h).
#pragma once
#include <stdint.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "nn/kernels/variants.h"

#pragma GCC diagnostic ignored "-Wpsabi"
#pragma GCC diagnostic ignored "-Wunused-function"

namespace lorikeet::kernels {
namespace {

constexpr int kLanes = LORIKEET_SIMD_BYTES / 4;
typedef float F __attribute__((vector_size(LORIKEET_SIMD_BYTES)));
typedef int32_t I __attribute__((vector_size(LORIKEET_SIMD_BYTES)));
typedef uint32_t U __attribute__((vector_size(LORIKEET_SIMD_BYTES)));
typedef uint16_t H __attribute__((vector_size(LORIKEET_SIMD_BYTES / 2)));

#define LORIKEET_JOIN_(a, b) a##_##b
#define LORIKEET_JOIN(a, b) LORIKEET_JOIN_(a, b)
#define LORIKEET_VARIANT(name) LORIKEET_JOIN(name, LORIKEET_ISA)  // kRows -> kRows_avx2

#define LORIKEET_INLINE inline __attribute__((always_inline))

template <class To, class From>
LORIKEET_INLINE To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  __builtin_memcpy(&to, &from, sizeof to);
  return to;
}

LORIKEET_INLINE F all(float s) { return s - F{}; }
// Where one of the two is a NaN the result is b.
#if defined(__AVX512F__)
LORIKEET_INLINE F max(F a, F b) { return bits_as<F>(_mm512_max_ps(bits_as<__m512>(a), bits_as<__m512>(b))); }
LORIKEET_INLINE F min(F a, F b) { return bits_as<F>(_mm512_min_ps(bits_as<__m512>(a), bits_as<__m512>(b))); }
#elif defined(__AVX2__)
LORIKEET_INLINE F max(F a, F b) { return bits_as<F>(_mm256_max_ps(bits_as<__m256>(a), bits_as<__m256>(b))); }
LORIKEET_INLINE F min(F a, F b) { return bits_as<F>(_mm256_min_ps(bits_as<__m256>(a), bits_as<__m256>(b))); }
#else
LORIKEET_INLINE F max(F a, F b) { return a > b ? a : b; }
LORIKEET_INLINE F min(F a, F b) { return a < b ? a : b; }
#endif
LORIKEET_INLINE int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }

LORIKEET_INLINE float to_float(float x) { return x; }
LORIKEET_INLINE float to_float(Bf16 x) { return bits_as<float>(static_cast<uint32_t>(x.bits) << 16); }

template <class T>
LORIKEET_INLINE T from_float(float x);
template <>
LORIKEET_INLINE float from_float<float>(float x) {
  return x;
}
template <>
LORIKEET_INLINE Bf16 from_float<Bf16>(float x) {
  const uint32_t bits = bits_as<uint32_t>(x);
  return {static_cast<uint16_t>(x == x ? (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16 : 0x7fc0u)};
}

LORIKEET_INLINE F load(const float* p) {
  F v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
LORIKEET_INLINE F load(const Bf16* p) {
  H h;
  __builtin_memcpy(&h, p, sizeof h);
#if defined(__AVX512F__)
  return bits_as<F>(bits_as<U>(_mm512_cvtepu16_epi32(bits_as<__m256i>(h))) << 16);
#elif defined(__AVX2__)
  return bits_as<F>(bits_as<U>(_mm256_cvtepu16_epi32(bits_as<__m128i>(h))) << 16);
#else
  return bits_as<F>(__builtin_convertvector(h, U) << 16);
#endif
}

// Round to nearest even; a NaN stays one.
LORIKEET_INLINE U rounded_to_bf16(F v) {
  const U bits = bits_as<U>(v);
  const U rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return v == v ? rounded : U{} + 0x7fc0u;
}

LORIKEET_INLINE void store(float* p, F v) { __builtin_memcpy(p, &v, sizeof v); }
LORIKEET_INLINE void store(Bf16* p, F v) {
#if defined(__AVX512BF16__)
  const __m256bh h = _mm512_cvtneps_pbh(bits_as<__m512>(v));
#else
  const H h = __builtin_convertvector(rounded_to_bf16(v), H);
#endif
  __builtin_memcpy(p, &h, sizeof h);
}

// The first n < kLanes lanes; the others are zero (read) or left alone (write).
#if defined(__AVX512F__)
LORIKEET_INLINE __mmask16 first_lanes(int64_t n) { return static_cast<__mmask16>((1u << n) - 1); }
LORIKEET_INLINE F load(const float* p, int64_t n) { return bits_as<F>(_mm512_maskz_loadu_ps(first_lanes(n), p)); }
LORIKEET_INLINE F load(const Bf16* p, int64_t n) {
  return bits_as<F>(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first_lanes(n), p)), 16));
}
LORIKEET_INLINE void store(float* p, F v, int64_t n) { _mm512_mask_storeu_ps(p, first_lanes(n), bits_as<__m512>(v)); }
LORIKEET_INLINE void store(Bf16* p, F v, int64_t n) {
  Bf16 lanes[kLanes];
  store(lanes, v);
  __m256i bits;
  __builtin_memcpy(&bits, lanes, sizeof bits);
  _mm256_mask_storeu_epi16(p, first_lanes(n), bits);
}
#else
template <class T>
LORIKEET_INLINE F load(const T* p, int64_t n) {
  T lanes[kLanes] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i] = p[i];
  return load(lanes);
}
template <class T>
LORIKEET_INLINE void store(T* p, F v, int64_t n) {
  T lanes[kLanes];
  store(lanes, v);
  for (int64_t i = 0; i < n; ++i) p[i] = lanes[i];
}
#endif

// body(i, Full) for each whole vector of n elements, body(i, rest) for what is left.
struct Full {};
template <class T>
LORIKEET_INLINE F load(const T* p, Full) {
  return load(p);
}
template <class T>
LORIKEET_INLINE void store(T* p, F v, Full) {
  store(p, v);
}
template <class Body>
LORIKEET_INLINE void each(int64_t n, Body body) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, Full{});
  if (i < n) body(i, n - i);
}
template <class Body, class Rest>
LORIKEET_INLINE void each(int64_t n, Body body, Rest rest) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, Full{});
  if (i < n) rest(i, n - i);
}

LORIKEET_INLINE float sum(F v) {
#if defined(__AVX512F__)
  return _mm512_reduce_add_ps(bits_as<__m512>(v));
#elif defined(__AVX2__)
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(bits_as<__m256>(v)), _mm256_extractf128_ps(bits_as<__m256>(v), 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
#else
  return (v[0] + v[2]) + (v[1] + v[3]);
#endif
}

// 2^f for |f| <= 1/2: polynomials through Chebyshev nodes. Largest relative error: degree 6: 5e-9 (float32 rounding rules), 4: 7e-6, 3:
// 1e-4.
template <int Degree>
LORIKEET_INLINE F exp2_fraction(F f) {
  if constexpr (Degree == 6) {
    const F p =
        ((((1.54531629e-4f * f + 1.33908634e-3f) * f + 9.61808256e-3f) * f + 5.55035711e-2f) * f + 2.40226508e-1f) * f + 6.93147188e-1f;
    return p * f + 1.f;
  } else if constexpr (Degree == 4) {
    return (((9.65671029e-3f * f + 5.58382829e-2f) * f + 2.40225301e-1f) * f + 6.93136734e-1f) * f + 1.f;
  } else {
    static_assert(Degree == 3);
    return ((5.58382829e-2f * f + 2.42639479e-1f) * f + 6.93136734e-1f) * f + 9.99924557e-1f;
  }
}

// 2^n · p for the integer nearest to x, p already being 2^(x - n). n itself comes back through `nearest`.
#if defined(__AVX512F__)
LORIKEET_INLINE F nearest(F x) {
  return bits_as<F>(_mm512_roundscale_ps(bits_as<__m512>(x), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
LORIKEET_INLINE F scale_by_power(F p, F n) { return bits_as<F>(_mm512_scalef_ps(bits_as<__m512>(p), bits_as<__m512>(n))); }
#else
constexpr float kRound = 12582912.f;  // 1.5 · 2^23: x + kRound has the integer nearest to x in its low bits
LORIKEET_INLINE F nearest(F x) { return (x + kRound) - kRound; }
LORIKEET_INLINE F scale_by_power(F p, F n) {
  return p * bits_as<F>((bits_as<I>(n + kRound) + 127) << 23);  // the exponent field of 2^n; what stood above is shifted out
}
#endif

// 2^x for x <= 126; below -126 it may stay at 2^-126. A NaN stays one.
template <int Degree>
LORIKEET_INLINE F exp2(F x) {
  x = max(all(-126.f), x);
  const F n = nearest(x);
  return scale_by_power(exp2_fraction<Degree>(x - n), n);
}

template <class T>
constexpr int degree_for() {
  return sizeof(T) == 4 ? 6 : 4;
}

// e^x, clamped to -87 <= x <= 87. One float for log2(e) would lose |x| · 2^-25 of the exponent; the second one brings it back.
template <int Degree>
LORIKEET_INLINE F exp(F x) {
  x = min(all(87.f), max(all(-87.f), x));
  const F n = nearest(x * 1.44269502f);
  F f = x * 1.44269502f - n;
  if constexpr (Degree > 4) f += x * 1.925963033e-8f;
  return scale_by_power(exp2_fraction<Degree>(f), n);
}

// 1 / x for 1 <= x < 2^126. AVX-512's estimate has 14 bits, enough for bfloat16, and a Newton step makes them 23; its division takes
// as long as all the rest of a kernel.
template <class T>
LORIKEET_INLINE F reciprocal(F x) {
#if defined(__AVX512F__)
  const F guess = bits_as<F>(_mm512_rcp14_ps(bits_as<__m512>(x)));
  if constexpr (sizeof(T) == 2) return guess;
  return guess + guess * (1.f - x * guess);
#else
  return 1.f / x;
#endif
}

// T: the type that the result is rounded to; bfloat16 has 2^-9, which degree 4 leaves untouched.
template <class T>
LORIKEET_INLINE F sigmoid(F x) {
  return reciprocal<T>(1.f + exp<degree_for<T>()>(-x));
}

// Φ(x) = (1 + erf(x/√2)) / 2, erf by Abramowitz & Stegun, Handbook of Mathematical Functions (1964), 7.1.26: |error| <= 1.5e-7; and
// exp(-x²/2), of which the density is made.
struct Normal {
  F cumulative, bell;
};
template <class T>
LORIKEET_INLINE Normal normal(F x) {
  const F z = (x < 0.f ? -x : x) * 0.70710678f;
  const F t = reciprocal<T>(1.f + 0.3275911f * z);
  const F poly = ((((1.061405429f * t - 1.453152027f) * t + 1.421413741f) * t - 0.284496736f) * t + 0.254829592f) * t;
  const F bell = exp<degree_for<T>()>(-z * z);
  const F tail = 0.5f * poly * bell;  // Φ(-|x|)
  return {x < 0.f ? tail : 1.f - tail, bell};
}

template <class T>
LORIKEET_INLINE F gelu(F x) {
  return x * normal<T>(x).cumulative;
}

// What LayerNorm subtracts from a row (in two steps, safe for a large mean) and multiplies it by.
struct RowStatistics {
  float near, correction, rstd;
};
template <class T>
LORIKEET_INLINE RowStatistics row_statistics(const T* x, int64_t channels, float eps) {
  const float share = 1.f / static_cast<float>(channels);
  F total{};
  each(channels, [&](int64_t c, auto part) { total += load(x + c, part); });
  const float near = sum(total) * share;  // the mean, but for rounding: what is left of it is found from the differences
  F squares{}, rest{};
  const auto gather = [&](F difference) {
    rest += difference;
    squares += difference * difference;
  };
  each(
      channels, [&](int64_t c, Full) { gather(load(x + c) - near); },
      [&](int64_t c, int64_t n) {
        for (int64_t i = c; i < c + n; ++i) gather(F{to_float(x[i]) - near});
      });
  const float correction = sum(rest) * share;
  return {near, correction, 1.f / __builtin_sqrtf(sum(squares) * share - correction * correction + eps)};
}

}  // namespace
}  // namespace lorikeet::kernels
