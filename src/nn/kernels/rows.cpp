// The memory-bound kernels on rows of channels, compiled once per instruction set (variants.h).
#include "nn/kernels/simd.h"

namespace lorikeet::kernels {
namespace {

// One strip of Vectors vectors of channels over all rows, sums in registers.
template <int Vectors, class T, class Part>
LORIKEET_INLINE void moments_strip(const T* x, int64_t rows, int64_t channels, const T* pivot, float* sum, float* squares, Part part) {
  F p[Vectors], s[Vectors], q[Vectors];
  for (int j = 0; j < Vectors; ++j) {
    p[j] = load(pivot + j * kLanes, part);
    s[j] = q[j] = F{};
  }
  for (int64_t r = 0; r < rows; ++r, x += channels) {
    for (int j = 0; j < Vectors; ++j) {
      const F d = load(x + j * kLanes, part) - p[j];
      s[j] += d;
      q[j] += d * d;
    }
  }
  for (int j = 0; j < Vectors; ++j) {
    store(sum + j * kLanes, s[j], part);
    store(squares + j * kLanes, q[j], part);
  }
}

template <class T>
void moments(const T* x, int64_t rows, int64_t channels, const T* pivot, float* sum, float* squares) {
  constexpr int kStrip = 4;
  int64_t c = 0;
  for (; c + kStrip * kLanes <= channels; c += kStrip * kLanes) {
    moments_strip<kStrip>(x + c, rows, channels, pivot + c, sum + c, squares + c, Full{});
  }
  each(channels - c,
       [&](int64_t i, auto part) { moments_strip<1>(x + c + i, rows, channels, pivot + c + i, sum + c + i, squares + c + i, part); });
}

template <class T>
void affine(const T* x, T* y, int64_t rows, int64_t channels, const float* scale, const float* shift, bool silu) {
  for (int64_t r = 0; r < rows; ++r, x += channels, y += channels) {
    if (silu) {
      each(channels, [&](int64_t c, auto part) {
        const F v = load(x + c, part) * load(scale + c, part) + load(shift + c, part);
        store(y + c, v * sigmoid<T>(v), part);
      });
    } else {
      each(channels, [&](int64_t c, auto part) { store(y + c, load(x + c, part) * load(scale + c, part) + load(shift + c, part), part); });
    }
  }
}

template <class T>
void layer_norm(const T* x, T* y, int64_t rows, int64_t channels, const float* weight, const float* bias, float eps) {
  for (int64_t r = 0; r < rows; ++r, x += channels, y += channels) {
    const RowStatistics row = row_statistics(x, channels, eps);
    each(channels, [&](int64_t c, auto part) {
      store(y + c, (load(x + c, part) - row.near - row.correction) * row.rstd * load(weight + c, part) + load(bias + c, part), part);
    });
  }
}

template <class T>
void geglu(const T* x, T* y, int64_t rows, int64_t channels) {
  for (int64_t r = 0; r < rows; ++r, x += 2 * channels, y += channels) {
    each(channels, [&](int64_t c, auto part) { store(y + c, load(x + c, part) * gelu<T>(load(x + channels + c, part)), part); });
  }
}

template <class T>
void silu(const T* x, T* y, int64_t n) {
  each(n, [&](int64_t i, auto part) {
    const F v = load(x + i, part);
    store(y + i, v * sigmoid<T>(v), part);
  });
}

template <class T>
void quick_gelu(const T* x, T* y, int64_t n) {
  each(n, [&](int64_t i, auto part) {
    const F v = load(x + i, part);
    store(y + i, v * sigmoid<T>(1.702f * v), part);
  });
}

template <class T>
void gelu_rows(const T* x, T* y, int64_t n) {
  each(n, [&](int64_t i, auto part) { store(y + i, gelu<T>(load(x + i, part)), part); });
}

template <class T>
void add(const T* a, const T* b, T* y, int64_t n) {
  each(n, [&](int64_t i, auto part) { store(y + i, load(a + i, part) + load(b + i, part), part); });
}

}  // namespace

#define LORIKEET_ROW_KERNELS(T) \
  { moments<T>, affine<T>, layer_norm<T>, geglu<T>, silu<T>, quick_gelu<T>, gelu_rows<T>, add<T> }
extern const Rows LORIKEET_VARIANT(kRows);
const Rows LORIKEET_VARIANT(kRows) = {LORIKEET_ROW_KERNELS(float), LORIKEET_ROW_KERNELS(Bf16)};

}  // namespace lorikeet::kernels
