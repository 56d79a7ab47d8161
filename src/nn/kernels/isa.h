// The instruction sets for which this folder has code, what the machine offers, and the tests' means to take less.
#pragma once

namespace lorikeet::kernels {

// Ascending: whoever has one has all before it.
//   portable     128-bit vectors written without intrinsics: any CPU and architecture
//   avx2         AVX2 + FMA
//   avx512       AVX-512 F, BW, DQ, VL
//   avx512_bf16  + products of bfloat16 pairs (Zen 4, Cooper Lake)
//   amx          + bfloat16 tile products (Sapphire Rapids)
enum class Isa { portable, avx2, avx512, avx512_bf16, amx };
constexpr Isa kAllIsas[] = {Isa::portable, Isa::avx2, Isa::avx512, Isa::avx512_bf16, Isa::amx};

const char* to_string(Isa isa);

// The best that this build, this CPU and this kernel of the operating system allow.
Isa machine_isa();
// What the kernels take: machine_isa(), or less where set_isa_limit() or the environment variable LORIKEET_ISA says so.
Isa isa();
void set_isa_limit(Isa most);

}  // namespace lorikeet::kernels
