#include <cstdlib>
#include <thread>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include <ATen/Parallel.h>

#include "nn/kernels/kernels.h"

namespace lorikeet::kernels {

void prepare_process() {
  const unsigned cores = std::thread::hardware_concurrency();
  if (std::getenv("OMP_NUM_THREADS") == nullptr && cores > 0) at::set_num_threads(static_cast<int>(cores));
#if defined(__GLIBC__)
  // Blocks up to 1 GiB (a VAE's largest activations at 1024²) come from the heap, whose free end goes back beyond 2 GiB.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 2147483647);
#endif
}

}  // namespace lorikeet::kernels
