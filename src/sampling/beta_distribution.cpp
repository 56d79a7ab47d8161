#include "sampling/beta_distribution.h"

#include <cmath>
#include <utility>

namespace lorikeet {
namespace {

// The continued fraction of I_x(a, b) (Abramowitz and Stegun 26.5.8) by Lentz' method; converges fast for x < (a + 1) / (a + b + 2).
double continued_fraction(double x, double a, double b) {
  constexpr double kTiny = 1e-300;
  double d = 1 - (a + b) * x / (a + 1);
  d = 1 / (std::abs(d) < kTiny ? kTiny : d);
  double c = 1, value = d;
  for (int m = 1; m <= 500; ++m) {
    double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    double factor = 1;
    for (double term : {even, odd}) {
      d = 1 + term * d;
      d = 1 / (std::abs(d) < kTiny ? kTiny : d);
      c = 1 + term / c;
      if (std::abs(c) < kTiny) c = kTiny;
      factor = c * d;
      value *= factor;
    }
    if (std::abs(factor - 1) < 1e-16) break;
  }
  return value;
}

}  // namespace

double beta_cdf(double x, double a, double b) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - beta_cdf(1 - x, b, a);
  double log_front = a * std::log(x) + b * std::log1p(-x) + std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b);
  return std::exp(log_front) * continued_fraction(x, a, b) / a;
}

double beta_quantile(double p, double a, double b) {
  if (p <= 0) return 0;
  if (p >= 1) return 1;
  // The upper half from the lower one: near 1 a double has no digits left to search with.
  bool upper = p > beta_cdf(0.5, a, b);
  if (upper) {
    p = 1 - p;
    std::swap(a, b);
  }
  double low = 0, high = 1, middle = 0.5;
  while (low < middle && middle < high && high > 1e-300) {
    (beta_cdf(middle, a, b) < p ? low : high) = middle;
    middle = low + (high - low) / 2;
  }
  return upper ? 1 - middle : middle;
}

}  // namespace lorikeet
