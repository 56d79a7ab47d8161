// The singular values and vectors of a layer's change ΔW: from its low-rank factors without ever forming ΔW, from the whole matrix, or the
// leading ones of a whole matrix only.
#pragma once
#include <optional>
#include <vector>

#include "base/torch.h"
#include "lora/adapter.h"

namespace lorikeet {

class Decomposition {
 public:
  // Exact (to float32's last digits). With up = Q1 R1 and downᵀ = Q2 R2, ΔW = Q1 (R1 R2ᵀ) Q2ᵀ has the singular values of the r × r core
  // R1 R2ᵀ (Golub & Van Loan, Matrix Computations, 4th ed., sec. 5.4 and 8.6). Only the R are computed: UΣ = up · R2ᵀ V_c, ΣVᵀ = U_cᵀ R1 ·
  // down.
  static Decomposition of(const LowRank& change);
  // Exact, of a whole matrix [rows, columns], float32.
  static Decomposition exact(const Tensor& matrix);
  // The leading `rank` or more of a whole matrix, by a random projection with power iterations (Halko, Martinsson & Tropp 2011,
  // arXiv 0909.4061, alg. 4.4 and 5.1). Repeats by seed. How much is missing is measured, see error().
  static Decomposition leading(const Tensor& matrix, int64_t rank, uint64_t seed);

  // Falling. All min(rows, columns, r) of them, or the leading ones.
  const std::vector<double>& values() const { return values_; }
  // How many singular values the matrix has, zeros included: min(rows, columns).
  int64_t length() const { return length_; }
  bool complete() const { return complete_; }
  double norm() const;  // ‖ΔW‖, Frobenius, of the whole matrix

  // The best approximation of that rank, the singular values' roots in either factor; zeros fill up ranks beyond values().size().
  LowRank truncated(int64_t rank) const;
  // ‖ΔW − truncated(rank)‖ / ‖ΔW‖, Frobenius; 0 for a zero matrix.
  double error(int64_t rank) const;

 private:
  // UΣ = left_ · left_core_, ΣVᵀ = right_coreᵀ · right_.
  Tensor left_, left_core_, right_, right_core_;
  double scale_ = 1;
  std::vector<double> values_;  // with the scale
  double missing_ = 0;          // squared norm of what the values do not cover
  int64_t length_ = 0;
  bool complete_ = true;
};

}  // namespace lorikeet
