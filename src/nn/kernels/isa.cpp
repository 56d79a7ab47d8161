#include "nn/kernels/isa.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <string>

#if defined(LORIKEET_X86) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace lorikeet::kernels {
namespace {

#if defined(LORIKEET_X86)
// Linux hands the tile registers' state out on request only (arch_prctl ARCH_REQ_XCOMP_PERM, feature 18: XTILEDATA), for
// the process and the threads that it starts from then on or already has.
bool may_use_tiles() {
#if defined(LORIKEET_AMX) && defined(__linux__)
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  constexpr unsigned kBf16 = 1u << 22, kTile = 1u << 24;  // CPUID leaf 7, EDX
  unsigned a = 7, b = 0, c = 0, d = 0;
  __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  if ((d & kBf16) == 0 || (d & kTile) == 0) return false;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

Isa detect() {
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return Isa::portable;
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  if (!avx512) return Isa::avx2;
  if (!__builtin_cpu_supports("avx512bf16")) return Isa::avx512;
  return may_use_tiles() ? Isa::amx : Isa::avx512_bf16;
}
#else
Isa detect() { return Isa::portable; }
#endif

Isa limit_from_environment() {
  const char* wanted = std::getenv("LORIKEET_ISA");
  for (const Isa isa : kAllIsas) {
    if (wanted != nullptr && std::string(wanted) == to_string(isa)) return isa;
  }
  return Isa::amx;
}

std::atomic<Isa>& limit() {
  static std::atomic<Isa> value{limit_from_environment()};
  return value;
}

}  // namespace

const char* to_string(Isa isa) {
  switch (isa) {
    case Isa::portable: return "portable";
    case Isa::avx2: return "avx2";
    case Isa::avx512: return "avx512";
    case Isa::avx512_bf16: return "avx512_bf16";
    case Isa::amx: return "amx";
  }
  return "?";
}

Isa machine_isa() {
  static const Isa best = detect();
  return best;
}

Isa isa() { return std::min(machine_isa(), limit().load(std::memory_order_relaxed)); }

void set_isa_limit(Isa most) { limit() = most; }

}  // namespace lorikeet::kernels
