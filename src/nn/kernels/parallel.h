// Work in pieces on libtorch's own threads (OpenMP's, as many as at::get_num_threads()). Pieces are given out one by one, so that a core
// that is busy with something else holds nobody up. at::parallel_for would not do: its template runs on one thread wherever
// the including file is compiled without OpenMP.
#pragma once
#include <algorithm>
#include <cstdint>
#include <functional>

namespace lorikeet::kernels {

// work(piece) for each piece in [0, pieces); the first exception is thrown on after all have ended.
void parallel(int64_t pieces, const std::function<void(int64_t)>& work);

// work(begin, end) for pieces of `size` out of [0, n).
template <class Work>
void parallel_ranges(int64_t n, int64_t size, Work work) {
  size = std::max<int64_t>(1, size);
  parallel((n + size - 1) / size, [&](int64_t piece) { work(piece * size, std::min(n, (piece + 1) * size)); });
}

}  // namespace lorikeet::kernels
