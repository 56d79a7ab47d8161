// The gradients of the memory-bound kernels, compiled once per instruction set (variants.h). What the forward computed on the way is
// computed again: reading it back would take longer.
#include "nn/kernels/simd.h"

namespace lorikeet::kernels {
namespace {

// d/dx of x σ(a x); a = 1 is SiLU, 1.702 quick GELU.
template <class T>
LORIKEET_INLINE F swish_slope(F x, float a) {
  const F s = sigmoid<T>(a * x);
  return s + a * x * s * (1.f - s);
}

// d/dx of x Φ(x): Φ(x) + x φ(x); φ(x) = exp(-x²/2) / √(2π).
LORIKEET_INLINE F gelu_slope(F x, Normal n) { return n.cumulative + x * n.bell * 0.39894228f; }

// One strip of Vectors vectors of channels over all rows, sums in registers.
template <int Vectors, bool Silu, class T, class Part>
LORIKEET_INLINE void sums_strip(const T* dy, const T* x, int64_t rows, int64_t channels, const GroupNormLines& lines, int64_t first,
                                float* sums, Part part) {
  F scale[Vectors], offset[Vectors], centre[Vectors], g_sum[Vectors], gx_sum[Vectors], x_sum[Vectors];
  for (int j = 0; j < Vectors; ++j) {
    const int64_t c = first + j * kLanes;
    scale[j] = load(lines.scale + c, part);
    offset[j] = load(lines.offset + c, part);
    centre[j] = load(lines.centre + c, part);
    g_sum[j] = gx_sum[j] = x_sum[j] = F{};
  }
  dy += first;
  x += first;
  for (int64_t r = 0; r < rows; ++r, dy += channels, x += channels) {
    for (int j = 0; j < Vectors; ++j) {
      const F value = load(x + j * kLanes, part), distance = value - centre[j];
      F g = load(dy + j * kLanes, part);
      if constexpr (Silu) g *= swish_slope<T>(value * scale[j] + offset[j], 1.f);
      g_sum[j] += g;
      gx_sum[j] += g * distance;
      x_sum[j] += distance;
    }
  }
  for (int j = 0; j < Vectors; ++j) {
    float* to = sums + first + j * kLanes;
    store(to, g_sum[j], part);
    store(to + channels, gx_sum[j], part);
    store(to + 2 * channels, x_sum[j], part);
  }
}

template <bool Silu, class T>
void sums_of(const T* dy, const T* x, int64_t rows, int64_t channels, const GroupNormLines& lines, float* sums) {
  constexpr int kStrip = 2;
  int64_t c = 0;
  for (; c + kStrip * kLanes <= channels; c += kStrip * kLanes) sums_strip<kStrip, Silu>(dy, x, rows, channels, lines, c, sums, Full{});
  each(channels - c, [&](int64_t i, auto part) { sums_strip<1, Silu>(dy, x, rows, channels, lines, c + i, sums, part); });
}

template <class T>
void group_norm_sums(const T* dy, const T* x, int64_t rows, int64_t channels, const GroupNormLines& lines, float* sums) {
  (lines.silu ? &sums_of<true, T> : &sums_of<false, T>)(dy, x, rows, channels, lines, sums);
}

template <class T>
void group_norm(const T* dy, const T* x, T* dx, int64_t rows, int64_t channels, const GroupNormLines& lines) {
  const auto finish = [&](int64_t c, F g, F value, auto part) {
    store(dx + c, g * load(lines.of_g + c, part) + (value * load(lines.of_x + c, part) + load(lines.constant + c, part)), part);
  };
  for (int64_t r = 0; r < rows; ++r, dy += channels, x += channels, dx += channels) {
    if (lines.silu) {
      each(channels, [&](int64_t c, auto part) {
        const F value = load(x + c, part), y = value * load(lines.scale + c, part) + load(lines.offset + c, part);
        finish(c, load(dy + c, part) * swish_slope<T>(y, 1.f), value, part);
      });
    } else {
      each(channels, [&](int64_t c, auto part) { finish(c, load(dy + c, part), load(x + c, part), part); });
    }
  }
}

// dx = rstd (w dy - mean(w dy) - x̂ mean(w dy x̂)), x̂ = (x - mean) rstd (Ba, Kiros & Hinton 2016, arXiv 1607.06450, differentiated).
template <class T>
void layer_norm(const T* dy, const T* x, T* dx, int64_t rows, int64_t channels, const LayerNormRow& norm) {
  float* const sums = norm.sums;
  const float share = 1.f / static_cast<float>(channels);
  for (int64_t r = 0; r < rows; ++r, dy += channels, x += channels) {
    const RowStatistics row = row_statistics(x, channels, norm.eps);
    const auto normed = [&](int64_t c, auto part) { return (load(x + c, part) - row.near - row.correction) * row.rstd; };
    if (sums) {
      each(channels, [&](int64_t c, auto part) {
        const F g = load(dy + c, part);
        store(sums + c, load(sums + c, part) + g * normed(c, part), part);
        store(sums + channels + c, load(sums + channels + c, part) + g, part);
      });
    }
    if (!dx) continue;
    F of_one{}, of_x{};
    each(channels, [&](int64_t c, auto part) {  // behind a row's end dy and so all that is summed is zero
      const F g = load(dy + c, part) * load(norm.weight + c, part);
      of_one += g;
      of_x += g * normed(c, part);
    });
    const float mean = sum(of_one) * share, slope = sum(of_x) * share;
    each(channels, [&](int64_t c, auto part) {
      store(dx + c, (load(dy + c, part) * load(norm.weight + c, part) - mean - normed(c, part) * slope) * row.rstd, part);
    });
    dx += channels;
  }
}

template <class T>
void geglu(const T* dy, const T* x, T* dx, int64_t rows, int64_t channels) {
  for (int64_t r = 0; r < rows; ++r, dy += channels, x += 2 * channels, dx += 2 * channels) {
    each(channels, [&](int64_t c, auto part) {
      const F g = load(dy + c, part), gate = load(x + channels + c, part);
      const Normal n = normal<T>(gate);
      store(dx + c, g * gate * n.cumulative, part);
      store(dx + channels + c, g * load(x + c, part) * gelu_slope(gate, n), part);
    });
  }
}

template <class T>
void silu(const T* dy, const T* x, T* dx, int64_t n) {
  each(n, [&](int64_t i, auto part) { store(dx + i, load(dy + i, part) * swish_slope<T>(load(x + i, part), 1.f), part); });
}

template <class T>
void quick_gelu(const T* dy, const T* x, T* dx, int64_t n) {
  each(n, [&](int64_t i, auto part) { store(dx + i, load(dy + i, part) * swish_slope<T>(load(x + i, part), 1.702f), part); });
}

template <class T>
void gelu_rows(const T* dy, const T* x, T* dx, int64_t n) {
  each(n, [&](int64_t i, auto part) {
    const F v = load(x + i, part);
    store(dx + i, load(dy + i, part) * gelu_slope(v, normal<T>(v)), part);
  });
}

template <class T>
void sum_of_four(const T* dy, T* dx, int64_t width, int64_t channels) {
  const T* below = dy + 2 * width * channels;
  for (int64_t w = 0; w < width; ++w, dy += 2 * channels, below += 2 * channels, dx += channels) {
    each(channels, [&](int64_t c, auto part) {
      store(dx + c, (load(dy + c, part) + load(dy + channels + c, part)) + (load(below + c, part) + load(below + channels + c, part)),
            part);
    });
  }
}

}  // namespace

#define LORIKEET_ROW_GRADIENTS(T) \
  { group_norm_sums<T>, group_norm<T>, layer_norm<T>, geglu<T>, silu<T>, quick_gelu<T>, gelu_rows<T>, sum_of_four<T> }
extern const RowGradients LORIKEET_VARIANT(kRowGradients);
const RowGradients LORIKEET_VARIANT(kRowGradients) = {LORIKEET_ROW_GRADIENTS(float), LORIKEET_ROW_GRADIENTS(Bf16)};

}  // namespace lorikeet::kernels
