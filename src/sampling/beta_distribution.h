// The beta distribution's distribution function and its inverse, for the "beta" schedule.
#pragma once

namespace lorikeet {

// I_x(a, b), the regularised incomplete beta function. 0 <= x <= 1, a, b > 0. Relative error below 1e-13 for a, b in 0.1 … 10.
double beta_cdf(double x, double a, double b);

// The x with beta_cdf(x, a, b) = p. 0 <= p <= 1. (scipy.stats.beta.ppf)
double beta_quantile(double p, double a, double b);

}  // namespace lorikeet
