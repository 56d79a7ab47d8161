#include "nn/kernels/parallel.h"

#include <ATen/Parallel.h>
#include <omp.h>

#include <atomic>
#include <exception>

namespace lorikeet::kernels {

void parallel(int64_t pieces, const std::function<void(int64_t)>& work) {
  const int threads = static_cast<int>(std::min<int64_t>(at::get_num_threads(), pieces));  // the call also sets a new thread's OpenMP up
  if (threads <= 1 || omp_in_parallel()) {
    for (int64_t i = 0; i < pieces; ++i) work(i);
    return;
  }
  std::atomic<int64_t> next{0};
  std::atomic_flag failed = ATOMIC_FLAG_INIT;
  std::exception_ptr failure;
#pragma omp parallel
  {
    try {
      for (int64_t i = next++; i < pieces; i = next++) work(i);
    } catch (...) {
      if (!failed.test_and_set()) failure = std::current_exception();
      next = pieces;
    }
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace lorikeet::kernels
