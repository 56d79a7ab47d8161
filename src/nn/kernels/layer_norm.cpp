// LayerNorm and its gradient: rows are independent, but for the sums over them that are the gradients of weight and bias. Those are
// gathered per piece of rows and added in order; the pieces depend on the shape only.
#include "nn/kernels/dispatch.h"
#include "nn/kernels/kernels.h"

namespace lorikeet::kernels {
namespace {

struct RowPieces {
  int64_t channels, rows, piece;
  explicit RowPieces(const Tensor& x) : channels(x.size(-1)), rows(channels == 0 ? 0 : x.numel() / channels) {
    piece = std::max<int64_t>(1, kPieceBytes / std::max<int64_t>(1, channels * x.element_size()));
  }
  int64_t count() const { return (rows + piece - 1) / piece; }
};

}  // namespace

Tensor layer_norm(const Tensor& x_any, const Tensor& weight_any, const Tensor& bias_any, double eps) {
  if (!supported(x_any)) {
    return at::layer_norm(x_any, {x_any.size(-1)}, weight_any.to(x_any.scalar_type()), bias_any.to(x_any.scalar_type()), eps);
  }
  const Tensor x = x_any.contiguous(), y = at::empty(x.sizes(), x.options());
  const Tensor weight = as_floats(weight_any), bias = as_floats(bias_any);
  const RowPieces pieces(x);
  const int64_t channels = pieces.channels;
  with_rows(x, [&](const auto& kernels, auto element) {
    auto* from = data(x, element);
    auto* to = data(y, element);
    parallel_ranges(pieces.rows, pieces.piece, [&](int64_t begin, int64_t end) {
      kernels.layer_norm(from + begin * channels, to + begin * channels, end - begin, channels, weight.data_ptr<float>(),
                         bias.data_ptr<float>(), static_cast<float>(eps));
    });
  });
  return y;
}

LayerNormGradients layer_norm_backward(const Tensor& dy_any, const Tensor& x_any, const Tensor& weight_any, double eps, bool wants_x,
                                       bool wants_weights) {
  const Tensor x = x_any.contiguous(), dy = dy_any.contiguous(), weight = as_floats(weight_any);
  const RowPieces pieces(x);
  const int64_t channels = pieces.channels;
  LayerNormGradients result;
  if (wants_x) result.dx = at::empty(x.sizes(), x.options());
  const Tensor sums = wants_weights ? at::zeros({pieces.count(), 2, channels}, weight.options()) : Tensor();
  with_row_gradients(x, [&](const auto& kernels, auto element) {
    const auto *g = data(dy, element), *from = data(x, element);
    auto* to = wants_x ? data(result.dx, element) : nullptr;
    parallel_ranges(pieces.rows, pieces.piece, [&](int64_t begin, int64_t end) {
      kernels.layer_norm(g + begin * channels, from + begin * channels, to ? to + begin * channels : nullptr, end - begin, channels,
                         {weight.data_ptr<float>(), static_cast<float>(eps),
                          wants_weights ? sums.data_ptr<float>() + begin / pieces.piece * 2 * channels : nullptr});
    });
  });
  if (wants_weights) {
    const Tensor total = sums.to(torch::kDouble).sum(0).to(torch::kFloat);
    result.dweight = total[0];
    result.dbias = total[1];
  }
  return result;
}

}  // namespace lorikeet::kernels
