#include "sampling/brownian.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace lorikeet {
namespace {

// k-diffusion keeps torchsde's defaults: tol = 1e-6, pool_size = 24.
constexpr int kPoolSize = 24;

// To 6 decimals, correctly rounded from the exact binary value, as Python's round(value, 6).
double rounded(double value) {
  std::array<char, 400> text;
  auto end = std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed, 6).ptr;
  double result = 0;
  std::from_chars(text.data(), end, result);
  return result;
}

}  // namespace

BrownianTree::BrownianTree(double t_start, double t_end, Shape shape, uint64_t seed, const RandomSource& source)
    : shape_(std::move(shape)), seed_(seed), source_(source), root_{rounded(t_start), rounded(t_end), 0, 0, {}} {
  root_.w = noise({}) * std::sqrt(t_end - t_start);
}

Tensor BrownianTree::noise(std::span<const uint64_t> spawn_key) const {
  // The first of the words that torchsde makes of it; the others are for Levy areas.
  uint32_t seed = seed_sequence({&seed_, 1}, spawn_key, kPoolSize, 1)[0];
  return source_.stream(seed)->normal(shape_);
}

Tensor BrownianTree::increment(double from, double to) const {
  from = rounded(std::clamp(from, root_.start, root_.end));
  to = rounded(std::clamp(to, root_.start, root_.end));
  if (from >= to) return torch::zeros(shape_);
  Tensor sum;
  add_covering(root_, from, to, sum);
  return sum;
}

// Adds, from left to right, the largest nodes that together make up [from, to], which lies within the node.
// The tree isn't stored: a node's halves follow from it (Levy's construction), and the noise from the node's place.
void BrownianTree::add_covering(const Node& node, double from, double to, Tensor& sum) const {
  if (from == node.start && to == node.end) {
    sum = sum.defined() ? sum + node.w : node.w;
    return;
  }
  double middle = rounded(0.5 * (node.end + node.start));
  double left = middle - node.start, right = node.end - middle, reciprocal = 1 / (node.end - node.start);
  std::array<uint64_t, 2> place = {node.key, node.depth};
  Tensor left_w = left * node.w * reciprocal + std::sqrt(left * right * reciprocal) * noise(place);
  if (from < middle) {
    add_covering({node.start, middle, 2 * node.key, node.depth + 1, left_w}, from, std::min(to, middle), sum);
  }
  if (to > middle) {
    add_covering({middle, node.end, 2 * node.key + 1, node.depth + 1, node.w - left_w}, std::max(from, middle), to, sum);
  }
}

}  // namespace lorikeet
