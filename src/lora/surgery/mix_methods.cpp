// The ways of mixing one layer's changes.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "lora/surgery/mix.h"

namespace lorikeet {
namespace {

using Changes = std::span<const Change>;

Change whole_change(Tensor matrix, const Change& like) {
  Change change;
  change.shape = like.shape;
  change.whole = matrix.reshape(like.shape);
  return change;
}

// One product of all factors side by side: Σ sᵢ UᵢDᵢ = [s₁U₁ s₂U₂ …] · [D₁; D₂; …], no digit of a factor lost where the scales agree.
Change joined(std::vector<LowRank> parts, const Change& like) {
  const double scale = parts.front().scale;
  std::vector<Tensor> ups, downs;
  for (const LowRank& part : parts) {
    ups.push_back(part.scale == scale ? part.up : part.up * (scale == 0 ? part.scale : part.scale / scale));
    downs.push_back(part.down);
  }
  Change change;
  change.shape = like.shape;
  change.low_rank = LowRank{torch::cat(ups, 1), torch::cat(downs, 0), scale == 0 ? 1 : scale};
  if (scale == 0) change.low_rank->up.narrow(1, 0, parts.front().rank()).zero_();
  return change;
}

Change sum(Changes changes, const MixOptions&, uint64_t) {
  std::vector<LowRank> factors;
  for (const Change& change : changes)
    if (change.low_rank) factors.push_back(*change.low_rank);
  if (factors.size() == changes.size()) return joined(std::move(factors), changes.front());
  Tensor total = changes.front().matrix();
  for (const Change& change : changes.subspan(1)) total = total + change.matrix();
  return whole_change(total, changes.front());
}

// The entries whose magnitude is among the largest share; the others 0.
Tensor trimmed(const Tensor& matrix, double density) {
  const int64_t kept = std::max<int64_t>(1, std::llround(density * static_cast<double>(matrix.numel())));
  if (kept >= matrix.numel()) return matrix;
  const Tensor magnitudes = matrix.abs().flatten();
  const Tensor least = std::get<0>(magnitudes.kthvalue(matrix.numel() - kept + 1));
  return torch::where(matrix.abs() >= least, matrix, torch::zeros({}));
}

// TIES (Yadav et al. 2023, arXiv 2306.01708, alg. 1): trim, elect each entry's sign by the sum, average those that agree with it.
Change ties(Changes changes, const MixOptions& options, uint64_t) {
  std::vector<Tensor> all;
  for (const Change& change : changes) all.push_back(trimmed(change.matrix(), options.density));
  const Tensor stacked = torch::stack(all), elected = stacked.sum(0).sign();
  const Tensor agrees = (stacked.sign() == elected) & (stacked != 0);
  const Tensor total = torch::where(agrees, stacked, torch::zeros({})).sum(0);
  return whole_change(total / agrees.sum(0).clamp_min(1), changes.front());
}

// DARE (Yu et al. 2023, arXiv 2311.03099, eq. 3 and 4): each entry is dropped at random, those that stay are enlarged to keep the mean.
Change dare(Changes changes, const MixOptions& options, uint64_t seed) {
  auto generator = at::detail::createCPUGenerator(seed);
  Tensor total;
  for (const Change& change : changes) {
    const Tensor matrix = change.matrix();
    const Tensor kept = torch::empty(matrix.sizes()).bernoulli_(options.density, generator) * matrix / options.density;
    total = total.defined() ? total + kept : kept;
  }
  return whole_change(total, changes.front());
}

// An orthonormal basis of the columns' span; directions below float32's resolution do not count.
Tensor basis_of(const Tensor& tall) {
  const Tensor wide = tall.to(torch::kDouble);
  const auto [squares, vectors] = torch::linalg_eigh(torch::matmul(wide.t(), wide));
  const Tensor kept = (squares > 1e-12 * squares.max().clamp_min(1e-300)).nonzero().flatten();
  return torch::matmul(wide, vectors.index_select(1, kept) / squares.index_select(0, kept).sqrt());
}

Tensor without(const Tensor& tall, const Tensor& basis) {
  const Tensor wide = tall.to(torch::kDouble);
  return (wide - torch::matmul(basis, torch::matmul(basis.t(), wide))).to(torch::kFloat);
}

// Each file loses what lies in the span of those before it, on the side of the inputs and of the outputs, so that no two of them meet: the
// condition of Orthogonal Adaptation (Po et al. 2023, arXiv 2312.02432, eq. 6) made after training.
Change orthogonal(Changes changes, const MixOptions&, uint64_t) {
  std::vector<LowRank> kept;
  std::vector<Tensor> ups, downs;
  for (const Change& change : changes) {
    if (!change.low_rank)
      throw Error(ErrorKind::unsupported, "\"orthogonal\" is for changes of low rank; one of the files has a whole difference here",
                  "make it a plain LoRA first: lorikeet lora convert --kind lora --rank N");
    LowRank part = *change.low_rank;
    if (!ups.empty()) {
      part.up = without(part.up, basis_of(torch::cat(ups, 1)));
      part.down = without(part.down.t(), basis_of(torch::cat(downs, 1))).t().contiguous();
    }
    ups.push_back(change.low_rank->up);
    downs.push_back(change.low_rank->down.t());
    kept.push_back(std::move(part));
  }
  return joined(std::move(kept), changes.front());
}

constexpr MixMethod kMethods[] = {
    {"sum", "the exact sum: the ranks side by side", false, false, sum},
    {"svd", "the sum, cut to a rank by its leading singular values", true, true, sum},
    {"ties", "TIES: the largest entries, signs elected, those that agree averaged", true, true, ties},
    {"dare", "DARE: a random share of the entries, enlarged; summed", true, true, dare},
    {"orthogonal", "the sum, each file without what the files before it span", true, false, orthogonal},
};

}  // namespace

std::span<const MixMethod> mix_methods() { return kMethods; }

const MixMethod& find_mix_method(std::string_view name) {
  std::vector<std::string> names;
  for (const MixMethod& method : kMethods) {
    if (method.name == name) return method;
    names.emplace_back(method.name);
  }
  throw Error(ErrorKind::bad_input, "there is no way of mixing \"" + std::string(name) + "\"", "the ways are " + join(names, ", "));
}

}  // namespace lorikeet
