#include "nn/kernels/variants.h"

#include "nn/kernels/isa.h"

namespace lorikeet::kernels {

const Rows& rows() {
  switch (isa()) {
#if defined(LORIKEET_X86)
    case Isa::amx:
    case Isa::avx512_bf16: return kRows_avx512_bf16;
    case Isa::avx512: return kRows_avx512;
    case Isa::avx2: return kRows_avx2;
#endif
    default: return kRows_portable;
  }
}

const RowGradients& row_gradients() {
  switch (isa()) {
#if defined(LORIKEET_X86)
    case Isa::amx:
    case Isa::avx512_bf16: return kRowGradients_avx512_bf16;
    case Isa::avx512: return kRowGradients_avx512;
    case Isa::avx2: return kRowGradients_avx2;
#endif
    default: return kRowGradients_portable;
  }
}

const AttentionKernel& attention_kernel(bool bf16) {
  switch (isa()) {
#if defined(LORIKEET_X86)
#if defined(LORIKEET_AMX)
    case Isa::amx: return bf16 ? kAttentionAmx : kAttentionF32_avx512;
#endif
    case Isa::avx512_bf16: return bf16 ? kAttentionBf16 : kAttentionF32_avx512;
    case Isa::avx512: return bf16 ? kAttentionWide_avx512 : kAttentionF32_avx512;
    case Isa::avx2: return bf16 ? kAttentionWide_avx2 : kAttentionF32_avx2;
#endif
    default: return bf16 ? kAttentionWide_portable : kAttentionF32_portable;
  }
}

const AttentionGradientKernel& attention_gradient_kernel(bool bf16) {
  switch (isa()) {
#if defined(LORIKEET_X86)
    case Isa::amx:
    case Isa::avx512_bf16: return bf16 ? kAttentionGradientBf16 : kAttentionGradientF32_avx512;
    case Isa::avx512: return bf16 ? kAttentionGradientWide_avx512 : kAttentionGradientF32_avx512;
    case Isa::avx2: return bf16 ? kAttentionGradientWide_avx2 : kAttentionGradientF32_avx2;
#endif
    default: return bf16 ? kAttentionGradientWide_portable : kAttentionGradientF32_portable;
  }
}

}  // namespace lorikeet::kernels
