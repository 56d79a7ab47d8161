#include "lora/surgery/decomposition.h"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace lorikeet {
namespace {

// R of the QR decomposition, or another root of the Gram matrix: RᵀR = tallᵀ tall. The Gram matrix in float64 keeps all that float32
// factors hold: 1e-16 of its square is 1e-8.
Tensor root_of_gram(const Tensor& tall) {
  const Tensor wide = tall.to(torch::kDouble);
  const Tensor gram = torch::matmul(wide.t(), wide);
  const auto [lower, info] = torch::linalg_cholesky_ex(gram);
  if (info.item<int>() == 0) return lower.t();
  const auto [values, vectors] = torch::linalg_eigh(gram);  // a factor without full rank
  return values.clamp_min(0).sqrt().unsqueeze(1) * vectors.t();
}

std::vector<double> to_vector(const Tensor& values, double scale) {
  const Tensor flat = (values.to(torch::kDouble) * std::abs(scale)).contiguous();
  return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

// ‖matrix − left · right‖², some rows at a time: a large convolution in float64 would be a quarter of a gigabyte.
double squared_distance(const Tensor& matrix, const Tensor& left, const Tensor& right) {
  const int64_t step = std::max<int64_t>(1, (int64_t{1} << 20) / matrix.size(1));
  double sum = 0;
  for (int64_t first = 0; first < matrix.size(0); first += step) {
    const int64_t count = std::min(step, matrix.size(0) - first);
    const Tensor rest = matrix.narrow(0, first, count) - torch::matmul(left.narrow(0, first, count), right);
    sum += rest.to(torch::kDouble).square_().sum().item<double>();
  }
  return sum;
}

Tensor orthonormal(const Tensor& tall) { return std::get<0>(torch::linalg_qr(tall)); }

}  // namespace

Decomposition Decomposition::of(const LowRank& change) {
  const int64_t rows = change.up.size(0), columns = change.down.size(1);
  if (change.rank() >= std::min(rows, columns)) {
    Decomposition whole = exact(torch::matmul(change.up, change.down));
    whole.scale_ = change.scale;
    for (double& value : whole.values_) value *= std::abs(change.scale);
    return whole;
  }
  Decomposition result;
  const Tensor first = root_of_gram(change.up), second = root_of_gram(change.down.t());
  const auto [u, s, vh] = torch::linalg_svd(torch::matmul(first, second.t()), /*full_matrices=*/false);
  result.left_ = change.up;
  result.left_core_ = torch::matmul(second.t(), vh.t());
  result.right_ = change.down;
  result.right_core_ = torch::matmul(first.t(), u);
  result.scale_ = change.scale;
  result.values_ = to_vector(s, change.scale);
  result.length_ = std::min(rows, columns);
  return result;
}

Decomposition Decomposition::exact(const Tensor& matrix) {
  const bool wide = matrix.size(0) <= matrix.size(1);
  const Tensor tall = (wide ? matrix.t() : matrix).to(torch::kDouble);
  const auto [squares, ascending] = torch::linalg_eigh(torch::matmul(tall.t(), tall));
  const Tensor vectors = ascending.flip(1), values = squares.flip(0).clamp_min(0).sqrt();
  const Tensor scaled = torch::diag_embed(values);
  Decomposition result;
  result.left_ = wide ? vectors.to(torch::kFloat) : matrix;
  result.left_core_ = wide ? scaled : vectors;
  result.right_ = wide ? matrix : vectors.t().to(torch::kFloat);
  result.right_core_ = wide ? vectors : scaled;
  result.values_ = to_vector(values, 1);
  result.length_ = values.size(0);
  return result;
}

Decomposition Decomposition::leading(const Tensor& matrix, int64_t rank, uint64_t seed) {
  // Spare directions and rounds: with both at these values the error is within 1 % of the best one even where the singular values hardly
  // fall (sec. 10.4 of the paper; tests hold it).
  constexpr int64_t kSpare = 16;
  constexpr int kRounds = 3;
  const int64_t length = std::min(matrix.size(0), matrix.size(1)), width = rank + kSpare;
  if (3 * width >= 2 * length) return exact(matrix);
  auto generator = at::detail::createCPUGenerator(seed);
  Tensor basis = torch::matmul(matrix, torch::randn({matrix.size(1), width}, generator, torch::kFloat));
  for (int round = 0; round < kRounds; ++round) basis = torch::matmul(matrix, orthonormal(torch::matmul(matrix.t(), orthonormal(basis))));
  basis = orthonormal(basis);
  const Tensor inside = torch::matmul(basis.t(), matrix);
  const Tensor wide = inside.to(torch::kDouble);
  const auto [squares, ascending] = torch::linalg_eigh(torch::matmul(wide, wide.t()));
  const Tensor vectors = ascending.flip(1), values = squares.flip(0).clamp_min(0).sqrt();
  Decomposition result;
  result.left_ = basis;
  result.left_core_ = vectors * values;
  result.right_ = inside;
  result.right_core_ = vectors;
  result.values_ = to_vector(values, 1);
  result.missing_ = squared_distance(matrix, basis, inside);
  result.length_ = length;
  result.complete_ = false;
  return result;
}

double Decomposition::norm() const {
  double sum = missing_;
  for (const double value : values_) sum += value * value;
  return std::sqrt(sum);
}

LowRank Decomposition::truncated(int64_t rank) const {
  const double scale = scale_ == 0 ? 1 : std::abs(scale_);
  const int64_t known = std::min<int64_t>(rank, static_cast<int64_t>(values_.size()));
  Tensor roots = torch::zeros({known}, torch::kDouble);
  // What is below float32's resolution is noise: left out, its root cannot be divided by.
  const double least = values_.empty() ? 0 : 1e-12 * values_.front();
  for (int64_t i = 0; i < known; ++i) {
    const double value = values_[static_cast<size_t>(i)];
    if (value > least) roots[i] = 1 / std::sqrt(value / scale);
  }
  const auto kept = [&](const Tensor& core) {
    return torch::constant_pad_nd(core.narrow(1, 0, known) * roots, {0, rank - known}).to(torch::kFloat);
  };
  return {torch::matmul(left_, kept(left_core_)), torch::matmul(kept(right_core_).t(), right_), scale_};
}

double Decomposition::error(int64_t rank) const {
  const double whole = norm();
  double rest = missing_;
  for (size_t i = static_cast<size_t>(rank); i < values_.size(); ++i) rest += values_[i] * values_[i];
  return whole > 0 ? std::sqrt(rest) / whole : 0;
}

}  // namespace lorikeet
