// GroupNorm and LayerNorm: statistics gathered per piece of the picture in float32, put together in float64. The pieces depend on
// the picture's shape only, so neither the number of threads nor the rest of the batch changes a bit of the result.
#include "nn/kernels/dispatch.h"
#include "nn/kernels/kernels.h"

namespace lorikeet::kernels {
namespace {

struct Picture {
  int64_t batch, channels, pixels, piece_rows, pieces;
};

Picture picture_of(const Tensor& x) {
  Picture p{x.size(0), x.size(1), x.size(2) * x.size(3), 0, 0};
  p.piece_rows = std::max<int64_t>(1, kPieceBytes / (p.channels * x.element_size()));
  p.pieces = (p.pixels + p.piece_rows - 1) / p.piece_rows;
  return p;
}

// body(picture of the batch, piece, first row, rows)
template <class Body>
void for_pieces(const Picture& p, Body body) {
  parallel(p.batch * p.pieces, [&](int64_t i) {
    const int64_t piece = i % p.pieces, first = piece * p.piece_rows;
    body(i / p.pieces, piece, first, std::min(p.piece_rows, p.pixels - first));
  });
}

// One picture's moments -> y = x · scale[c] + offset[c]. moments: [pieces, 2, C] about the pivot (its first pixel); shift: [C] or null.
// Chan, Golub & LeVeque (1979), "Updating formulae and a pairwise algorithm for computing sample variances".
struct Affine {
  const float *weight, *bias, *shift;
  float *scale, *offset;
};

template <class Pivot>
void combine(const Picture& p, int64_t groups, double eps, const float* moments, Pivot pivot, const Affine& to) {
  const int64_t members = p.channels / groups;
  const double n = static_cast<double>(p.pixels);
  std::vector<double> mean(members);
  for (int64_t first = 0; first < p.channels; first += members) {
    double group_mean = 0, squares = 0;
    for (int64_t j = 0; j < members; ++j) {
      const int64_t c = first + j;
      double sum = 0, square = 0;
      for (int64_t piece = 0; piece < p.pieces; ++piece) {
        sum += moments[2 * piece * p.channels + c];
        square += moments[(2 * piece + 1) * p.channels + c];
      }
      mean[j] = pivot(c) + sum / n + (to.shift ? to.shift[c] : 0.0);
      group_mean += mean[j] / static_cast<double>(members);
      squares += square - sum * sum / n;
    }
    for (const double m : mean) squares += n * (m - group_mean) * (m - group_mean);
    const double rstd = 1 / std::sqrt(std::max(squares, 0.0) / (n * static_cast<double>(members)) + eps);
    for (int64_t c = first; c < first + members; ++c) {
      const double scale = to.weight[c] * rstd;
      to.scale[c] = static_cast<float>(scale);
      to.offset[c] = static_cast<float>(to.bias[c] + ((to.shift ? to.shift[c] : 0.0) - group_mean) * scale);
    }
  }
}

float value(float x) { return x; }
float value(Bf16 x) { return static_cast<float>(c10::BFloat16(x.bits, c10::BFloat16::from_bits())); }

Tensor plain_group_norm(const Tensor& x, int64_t groups, const Tensor& weight, const Tensor& bias, double eps, bool silu,
                        const Tensor& shift) {
  const Tensor shifted = shift.defined() ? x + shift.to(x.scalar_type()).unsqueeze(-1).unsqueeze(-1) : x;
  const Tensor y = at::group_norm(shifted, groups, weight.to(x.scalar_type()), bias.to(x.scalar_type()), eps);
  return silu ? at::silu(y) : y;
}

}  // namespace

Tensor group_norm(const Tensor& x_any, int64_t groups, const Tensor& weight_any, const Tensor& bias_any, double eps, bool silu,
                  const Tensor& shift_any) {
  if (!supported(x_any)) return plain_group_norm(x_any, groups, weight_any, bias_any, eps, silu, shift_any);
  if (x_any.dim() != 4 || x_any.size(1) % groups != 0) {
    throw Error(ErrorKind::internal, "group_norm: cannot part " + to_string(x_any.sizes()) + " into " + std::to_string(groups) + " groups");
  }
  const Tensor x = x_any.contiguous(at::MemoryFormat::ChannelsLast);
  const Tensor y = at::empty(x.sizes(), x.options(), at::MemoryFormat::ChannelsLast);
  if (x.numel() == 0) return y;
  const Tensor weight = weight_any.to(torch::kFloat32).contiguous(), bias = bias_any.to(torch::kFloat32).contiguous();
  const Tensor shift = shift_any.defined() ? shift_any.to(torch::kFloat32).contiguous() : Tensor();
  const Picture p = picture_of(x);
  const Tensor moments = at::empty({p.batch, p.pieces, 2, p.channels}, weight.options());
  const Tensor affine = at::empty({p.batch, 2, p.channels}, weight.options());

  with_rows(x, [&](const auto& kernels, auto element) {
    auto* from = data(x, element);
    auto* to = data(y, element);
    float *moment = moments.data_ptr<float>(), *line = affine.data_ptr<float>();
    const int64_t size = p.pixels * p.channels;
    for_pieces(p, [&](int64_t b, int64_t piece, int64_t first, int64_t rows) {
      float* out = moment + (b * p.pieces + piece) * 2 * p.channels;
      kernels.moments(from + b * size + first * p.channels, rows, p.channels, from + b * size, out, out + p.channels);
    });
    for (int64_t b = 0; b < p.batch; ++b) {
      const auto* pivot = from + b * size;
      combine(p, groups, eps, moment + b * p.pieces * 2 * p.channels, [pivot](int64_t c) { return value(pivot[c]); },
              {weight.data_ptr<float>(), bias.data_ptr<float>(), shift.defined() ? shift.data_ptr<float>() + b * p.channels : nullptr,
               line + b * 2 * p.channels, line + (b * 2 + 1) * p.channels});
    }
    for_pieces(p, [&](int64_t b, int64_t, int64_t first, int64_t rows) {
      const int64_t at = b * size + first * p.channels;
      kernels.affine(from + at, to + at, rows, p.channels, line + b * 2 * p.channels, line + (b * 2 + 1) * p.channels, silu);
    });
  });
  return y;
}

Tensor layer_norm(const Tensor& x_any, const Tensor& weight_any, const Tensor& bias_any, double eps) {
  const int64_t channels = x_any.size(-1);
  if (!supported(x_any)) {
    return at::layer_norm(x_any, {channels}, weight_any.to(x_any.scalar_type()), bias_any.to(x_any.scalar_type()), eps);
  }
  const Tensor x = x_any.contiguous(), y = at::empty(x.sizes(), x.options());
  const Tensor weight = weight_any.to(torch::kFloat32).contiguous(), bias = bias_any.to(torch::kFloat32).contiguous();
  const int64_t rows = channels == 0 ? 0 : x.numel() / channels;
  with_rows(x, [&](const auto& kernels, auto element) {
    auto* from = data(x, element);
    auto* to = data(y, element);
    parallel_ranges(rows, kPieceBytes / std::max<int64_t>(1, channels * x.element_size()), [&](int64_t begin, int64_t end) {
      kernels.layer_norm(from + begin * channels, to + begin * channels, end - begin, channels, weight.data_ptr<float>(),
                         bias.data_ptr<float>(), static_cast<float>(eps));
    });
  });
  return y;
}

}  // namespace lorikeet::kernels
