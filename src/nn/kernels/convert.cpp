// Copies between float16, bfloat16 and float32. libtorch 1.13 converts float16 one number at a time, which for a whole checkpoint
// takes longer than everything else in loading it.
#include "nn/kernels/isa.h"
#include "nn/kernels/kernels.h"
#include "nn/kernels/parallel.h"

#if defined(LORIKEET_X86)
#include <immintrin.h>
#endif

namespace lorikeet::kernels {
namespace {

using Convert = void (*)(const void* from, void* to, int64_t n);

#if defined(LORIKEET_X86)

// The functions of one instruction set live in the middle of a file for all: each says itself what it may use.
#define LORIKEET_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))

LORIKEET_AVX512 inline __m512 load_half(const uint16_t* p) { return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }

LORIKEET_AVX512 inline __m512 load_bfloat(const uint16_t* p) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))), 16));
}

// To nearest, ties to even; NaN stays a quiet NaN.
LORIKEET_AVX512 inline void store_bfloat(uint16_t* p, __m512 x) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF))), 16);
  const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(_mm512_mask_mov_epi32(rounded, nan, _mm512_set1_epi32(0x7FC0))));
}

// What is left over behind whole vectors goes through a buffer of one vector.
constexpr int64_t kVector = 16;

LORIKEET_AVX512 void half_to_float(const void* from, void* to, int64_t n) {
  const auto* in = static_cast<const uint16_t*>(from);
  auto* out = static_cast<float*>(to);
  int64_t i = 0;
  for (; i + kVector <= n; i += kVector) _mm512_storeu_ps(out + i, load_half(in + i));
  for (; i < n; ++i) out[i] = static_cast<float>(reinterpret_cast<const at::Half*>(in)[i]);
}

LORIKEET_AVX512 void half_to_bfloat(const void* from, void* to, int64_t n) {
  const auto* in = static_cast<const uint16_t*>(from);
  auto* out = static_cast<uint16_t*>(to);
  int64_t i = 0;
  for (; i + kVector <= n; i += kVector) store_bfloat(out + i, load_half(in + i));
  for (; i < n; ++i) reinterpret_cast<at::BFloat16*>(out)[i] = static_cast<float>(reinterpret_cast<const at::Half*>(in)[i]);
}

LORIKEET_AVX512 void bfloat_to_float(const void* from, void* to, int64_t n) {
  const auto* in = static_cast<const uint16_t*>(from);
  auto* out = static_cast<float*>(to);
  int64_t i = 0;
  for (; i + kVector <= n; i += kVector) _mm512_storeu_ps(out + i, load_bfloat(in + i));
  for (; i < n; ++i) out[i] = static_cast<float>(reinterpret_cast<const at::BFloat16*>(in)[i]);
}

LORIKEET_AVX512 void float_to_bfloat(const void* from, void* to, int64_t n) {
  const auto* in = static_cast<const float*>(from);
  auto* out = static_cast<uint16_t*>(to);
  int64_t i = 0;
  for (; i + kVector <= n; i += kVector) store_bfloat(out + i, _mm512_loadu_ps(in + i));
  for (; i < n; ++i) reinterpret_cast<at::BFloat16*>(out)[i] = in[i];
}

// AVX2 machines have the half-precision conversions (F16C) too.
__attribute__((target("avx2,f16c"))) void half_to_float_avx2(const void* from, void* to, int64_t n) {
  const auto* in = static_cast<const uint16_t*>(from);
  auto* out = static_cast<float*>(to);
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(in + i))));
  for (; i < n; ++i) out[i] = static_cast<float>(reinterpret_cast<const at::Half*>(in)[i]);
}

Convert find_convert(Dtype from, Dtype to) {
  if (isa() >= Isa::avx512) {
    if (from == torch::kHalf && to == torch::kFloat) return half_to_float;
    if (from == torch::kHalf && to == torch::kBFloat16) return half_to_bfloat;
    if (from == torch::kBFloat16 && to == torch::kFloat) return bfloat_to_float;
    if (from == torch::kFloat && to == torch::kBFloat16) return float_to_bfloat;
  }
  if (isa() >= Isa::avx2 && from == torch::kHalf && to == torch::kFloat) return half_to_float_avx2;
  return nullptr;
}

#else
Convert find_convert(Dtype, Dtype) { return nullptr; }
#endif

}  // namespace

void convert(const Tensor& from, const Tensor& to) {
  const Convert work = find_convert(from.scalar_type(), to.scalar_type());
  if (!work || !from.device().is_cpu() || !to.device().is_cpu() || !from.is_contiguous() || !to.is_contiguous() || from.sizes() != to.sizes()) {
    to.copy_(from);
    return;
  }
  const auto* in = static_cast<const char*>(from.data_ptr());
  auto* out = static_cast<char*>(to.data_ptr());
  constexpr int64_t kPiece = 1 << 16;  // numbers
  parallel_ranges(from.numel(), kPiece, [&](int64_t begin, int64_t end) {
    work(in + begin * static_cast<int64_t>(from.element_size()), out + begin * static_cast<int64_t>(to.element_size()), end - begin);
  });
}

Tensor converted(const Tensor& from, Dtype dtype) {
  if (!from.defined()) return from;
  const Tensor source = from.detach();
  if (source.scalar_type() == dtype || !source.device().is_cpu() || !source.is_contiguous()) return source.to(dtype);
  Tensor to = at::empty(source.sizes(), source.options().dtype(dtype));
  convert(source, to);
  return to;
}

}  // namespace lorikeet::kernels
