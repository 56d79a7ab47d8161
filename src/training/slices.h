// Work on many tensors element by element: cut into slices that stay in the cache, several threads at once. What comes out does not depend
// on the number of threads. For the optimisers, clipping, the moving average.
#pragma once
#include <array>
#include <functional>
#include <vector>

#include "base/torch.h"

namespace lorikeet {

// Tensors with the same number of elements that are worked on together: a weight, its gradient, its moments. A row whose first tensor is
// not contiguous, or another that is not, stays whole.
struct SliceRow {
  std::vector<Tensor> tensors;
  int64_t key = 0;  // rows of different keys never share a slice
};

// Some elements of some rows: lists[k][i] is a part of the k-th tensor of a row; the same elements for all k. For at::_foreach_
// operations.
struct Slice {
  int64_t key = 0;
  std::vector<std::vector<Tensor>> lists;
};

enum class Cutting {
  pieces,  // long rows are cut, short ones share a slice
  whole    // one slice a row, its tensors as they are; they need not be of one size, and may be undefined
};

// Two sums over all slices, in float64.
using SliceSums = std::array<double, 2>;

// Calls work for each slice, without gradients; on the CPU on several threads, and libtorch's operations inside of work run on one. The
// sums of what work returns are formed in the order of the slices.
SliceSums for_each_slice(const std::vector<SliceRow>& rows, Cutting cutting, const std::function<SliceSums(Slice&)>& work);

}  // namespace lorikeet
