#include <signal.h>

#include <cstdlib>
#include <thread>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include <ATen/Parallel.h>

#include "nn/kernels/kernels.h"

namespace lorikeet::kernels {

void prepare_process() {
  // A file that would grow past the limit of the shell (ulimit -f) is then an error of write() like a full disk, not the end of the program.
  signal(SIGXFSZ, SIG_IGN);
  // Threads that libtorch starts here leave all signals to others: one that did not would take the Ctrl-C that the server waits for.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  const unsigned cores = std::thread::hardware_concurrency();
  if (std::getenv("OMP_NUM_THREADS") == nullptr && cores > 0) at::set_num_threads(static_cast<int>(cores));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
#if defined(__GLIBC__)
  // Blocks up to 1 GiB (a VAE's largest activations at 1024²) come from the heap, whose free end goes back beyond 2 GiB.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 2147483647);
#endif
}

}  // namespace lorikeet::kernels
