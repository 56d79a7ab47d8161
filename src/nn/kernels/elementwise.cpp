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

// Choose: gradient kernels -> the kernel (dy, x, dx, n).
template <class Choose>
Tensor map_gradient(const Tensor& dy_any, const Tensor& x_any, Choose choose) {
  const Tensor x = x_any.is_non_overlapping_and_dense() ? x_any : x_any.contiguous();
  const Tensor dx = at::empty_like(x), dy = dy_any.strides() == x.strides() ? dy_any : at::empty_like(x).copy_(dy_any);
  with_row_gradients(x, [&](const auto& kernels, auto element) {
    const auto *g = data(dy, element), *from = data(x, element);
    auto* to = data(dx, element);
    const auto kernel = choose(kernels);
    parallel_ranges(x.numel(), kPieceBytes / x.element_size(),
                    [&](int64_t begin, int64_t end) { kernel(g + begin, from + begin, to + begin, end - begin); });
  });
  return dx;
}

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

Tensor silu_backward(const Tensor& dy, const Tensor& x) {
  return map_gradient(dy, x, [](const auto& kernels) { return kernels.silu; });
}

Tensor gelu_backward(const Tensor& dy, const Tensor& x) {
  return map_gradient(dy, x, [](const auto& kernels) { return kernels.gelu; });
}

Tensor quick_gelu_backward(const Tensor& dy, const Tensor& x) {
  return map_gradient(dy, x, [](const auto& kernels) { return kernels.quick_gelu; });
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

Tensor geglu_backward(const Tensor& dy_any, const Tensor& x_any) {
  const Tensor x = x_any.contiguous(), dy = dy_any.contiguous(), dx = at::empty(x.sizes(), x.options());
  const int64_t channels = dy.size(-1);
  with_row_gradients(x, [&](const auto& kernels, auto element) {
    const auto *g = data(dy, element), *from = data(x, element);
    auto* to = data(dx, element);
    parallel_ranges(channels == 0 ? 0 : dy.numel() / channels, kPieceBytes / std::max<int64_t>(1, 2 * channels * x.element_size()),
                    [&](int64_t begin, int64_t end) {
                      kernels.geglu(g + begin * channels, from + begin * 2 * channels, to + begin * 2 * channels, end - begin, channels);
                    });
  });
  return dx;
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

Tensor upsample_nearest2x_backward(const Tensor& dy_any) {
  const Tensor dy = channels_last(dy_any);
  const int64_t channels = dy.size(1), height = dy.size(2) / 2, width = dy.size(3) / 2, row = width * channels;
  const Tensor dx = at::empty({dy.size(0), channels, height, width}, dy.options(), at::MemoryFormat::ChannelsLast);
  with_row_gradients(dy, [&](const auto& kernels, auto element) {
    const auto* from = data(dy, element);
    auto* to = data(dx, element);
    parallel_ranges(dy.size(0) * height, kPieceBytes / std::max<int64_t>(1, 4 * row * dy.element_size()), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) kernels.sum_of_four(from + i * 4 * row, to + i * row, width, channels);
    });
  });
  return dx;
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

Tensor take_channels(const Tensor& x_any, int64_t first, int64_t channels) {
  const Tensor x = channels_last(x_any);
  const int64_t size = x.element_size(), from_row = x.size(1) * size, to_row = channels * size;
  const Tensor y = at::empty({x.size(0), channels, x.size(2), x.size(3)}, x.options(), at::MemoryFormat::ChannelsLast);
  parallel_ranges(x.size(0) * x.size(2) * x.size(3), kPieceBytes / std::max<int64_t>(1, to_row), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) std::memcpy(bytes(y) + i * to_row, bytes(x) + i * from_row + first * size, to_row);
  });
  return y;
}

}  // namespace lorikeet::kernels
