#include "training/slices.h"

#include <algorithm>

#include "nn/kernels/parallel.h"

namespace lorikeet {
namespace {

// Elements of a slice. CPU: weight, gradient and two moments of 128 KB each stay in a core's second-level cache. Elsewhere: large enough
// that starting a kernel does not count, small enough that a temporary is not (64 MB).
constexpr int64_t kCpuElements = 32 * 1024, kDeviceElements = 16 * 1024 * 1024;

struct Part {
  size_t row;
  int64_t begin, end;  // end < 0: all of the row, in its own shape
};
struct Plan {
  int64_t key;
  std::vector<Part> parts;
};

bool flat(const SliceRow& row) {
  return std::all_of(row.tensors.begin(), row.tensors.end(), [](const Tensor& t) { return t.is_contiguous(); });
}

std::vector<Plan> plan_slices(const std::vector<SliceRow>& rows, Cutting cutting, int64_t most) {
  std::vector<Plan> plans;
  int64_t room = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (cutting == Cutting::whole || !flat(rows[i])) {
      plans.push_back({rows[i].key, {{i, 0, -1}}});
      room = 0;
      continue;
    }
    const int64_t n = rows[i].tensors.front().numel();
    for (int64_t begin = 0; begin < n;) {
      if (room == 0 || plans.back().key != rows[i].key) {
        plans.push_back({rows[i].key, {}});
        room = most;
      }
      const int64_t end = std::min(n, begin + room);
      plans.back().parts.push_back({i, begin, end});
      room -= end - begin;
      begin = end;
    }
  }
  return plans;
}

Slice slice_of(const Plan& plan, const std::vector<SliceRow>& rows) {
  Slice slice{plan.key, {}};
  slice.lists.resize(rows[plan.parts.front().row].tensors.size());
  for (const Part& part : plan.parts) {
    const std::vector<Tensor>& tensors = rows[part.row].tensors;
    for (size_t k = 0; k < tensors.size(); ++k) {
      const Tensor whole = tensors[k].defined() ? tensors[k].detach() : Tensor();
      const bool all = part.end < 0 || (part.begin == 0 && part.end == whole.numel());
      slice.lists[k].push_back(all ? whole : whole.view(-1).slice(0, part.begin, part.end));
    }
  }
  return slice;
}

}  // namespace

SliceSums for_each_slice(const std::vector<SliceRow>& rows, Cutting cutting, const std::function<SliceSums(Slice&)>& work) {
  if (rows.empty()) return {};
  const bool cpu = rows.front().tensors.front().is_cpu();
  const std::vector<Plan> plans = plan_slices(rows, cutting, cpu ? kCpuElements : kDeviceElements);
  std::vector<SliceSums> sums(plans.size());
  auto run = [&](int64_t i) {
    torch::NoGradGuard no_grad;  // of this thread
    Slice slice = slice_of(plans[i], rows);
    sums[i] = work(slice);
  };
  if (cpu) {
    // A lone slice would run outside of a parallel region, and libtorch's sums in it on several threads, in another order.
    const auto n = static_cast<int64_t>(plans.size());
    kernels::parallel(std::max<int64_t>(n, 2), [&](int64_t i) {
      if (i < n) run(i);
    });
  } else {
    for (size_t i = 0; i < plans.size(); ++i) run(static_cast<int64_t>(i));
  }
  SliceSums total{};
  for (const SliceSums& s : sums) {
    for (size_t k = 0; k < total.size(); ++k) total[k] += s[k];
  }
  return total;
}

}  // namespace lorikeet
