// What only reads, bends and writes: activations, GEGLU, and the moves of channels-last pictures.
#include <cstring>

#include "nn/kernels/dispatch.h"
#include "nn/kernels/kernels.h"

namespace lorikeet::kernels {
namespace {

// Choose: row kernels -> the kernel (x, y, n).
template <class Choose>
Tensor map(const Tensor& x_any, Choose choose) {
  const Tensor x = x_any.is_non_overlapping_and_dense() ? x_any : x_any.contiguous();
  const Tensor y = at::empty_like(x);
  with_rows(x, [&](const auto& kernels, auto element) {
    auto* from = data(x, element);
    auto* to = data(y, element);
    const auto kernel = choose(kernels);
    parallel_ranges(x.numel(), kPieceBytes / x.element_size(),
                    [&](int64_t begin, int64_t end) { kernel(from + begin, to + begin, end - begin); });
  });
  return y;
}

Tensor channels_last(const Tensor& x) { return x.contiguous(at::MemoryFormat::ChannelsLast); }
char* bytes(const Tensor& x) { return static_cast<char*>(x.data_ptr()); }

}  // namespace

Tensor silu(const Tensor& x) {
  if (!supported(x)) return at::silu(x);
  return map(x, [](const auto& kernels) { return kernels.silu; });
}

Tensor gelu(const Tensor& x) {
  if (!supported(x)) return at::gelu(x);
  return map(x, [](const auto& kernels) { return kernels.gelu; });
}

Tensor quick_gelu(const Tensor& x) {
  if (!supported(x)) return x * at::sigmoid(x * 1.702);
  return map(x, [](const auto& kernels) { return kernels.quick_gelu; });
}

Tensor geglu(const Tensor& x_any) {
  if (!supported(x_any)) {
    const auto halves = x_any.chunk(2, -1);
    return halves[0] * at::gelu(halves[1]);
  }
  const Tensor x = x_any.contiguous();
  Shape shape = x.sizes().vec();
  const int64_t channels = shape.back() /= 2;
  const Tensor y = at::empty(shape, x.options());
  with_rows(x, [&](const auto& kernels, auto element) {
    auto* from = data(x, element);
    auto* to = data(y, element);
    parallel_ranges(
        channels == 0 ? 0 : y.numel() / channels, kPieceBytes / std::max<int64_t>(1, 2 * channels * x.element_size()),
        [&](int64_t begin, int64_t end) { kernels.geglu(from + begin * 2 * channels, to + begin * channels, end - begin, channels); });
  });
  return y;
}

Tensor upsample_nearest2x(const Tensor& x_any) {
  if (!x_any.device().is_cpu()) return at::upsample_nearest2d(x_any, {x_any.size(2) * 2, x_any.size(3) * 2});
  const Tensor x = channels_last(x_any);
  const int64_t batch = x.size(0), height = x.size(2), width = x.size(3), pixel = x.size(1) * x.element_size();
  const Tensor y = at::empty({batch, x.size(1), height * 2, width * 2}, x.options(), at::MemoryFormat::ChannelsLast);
  const int64_t row = width * pixel;
  parallel_ranges(batch * height, kPieceBytes / std::max<int64_t>(1, row), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const char* from = bytes(x) + i * row;
      char* to = bytes(y) + i * 4 * row;
      for (int64_t w = 0; w < width; ++w) {
        std::memcpy(to + 2 * w * pixel, from + w * pixel, pixel);
        std::memcpy(to + (2 * w + 1) * pixel, from + w * pixel, pixel);
      }
      std::memcpy(to + 2 * row, to, 2 * row);
    }
  });
  return y;
}

Tensor concat_channels(const Tensor& a_any, const Tensor& b_any) {
  if (!a_any.device().is_cpu()) return at::cat({a_any, b_any}, 1);
  const Tensor a = channels_last(a_any), b = channels_last(b_any.to(a_any.scalar_type()));
  const int64_t rows = a.size(0) * a.size(2) * a.size(3), a_row = a.size(1) * a.element_size(), b_row = b.size(1) * b.element_size();
  const Tensor y = at::empty({a.size(0), a.size(1) + b.size(1), a.size(2), a.size(3)}, a.options(), at::MemoryFormat::ChannelsLast);
  parallel_ranges(rows, kPieceBytes / std::max<int64_t>(1, a_row + b_row), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      char* to = bytes(y) + i * (a_row + b_row);
      std::memcpy(to, bytes(a) + i * a_row, a_row);
      std::memcpy(to + a_row, bytes(b) + i * b_row, b_row);
    }
  });
  return y;
}

}  // namespace lorikeet::kernels
