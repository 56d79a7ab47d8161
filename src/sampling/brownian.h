// A Brownian path that is the same whatever step sizes it is asked in: the noise of the DPM++ SDE samplers, which therefore converge to
// one picture as the steps grow. The same numbers as torchsde's BrownianTree, which k-diffusion and A1111 use: a halving tree over
// [sigma_min, sigma_max], whose nodes draw their noise from a generator seeded by numpy's SeedSequence(entropy, spawn_key = (node, depth)).
#pragma once
#include <cstdint>

#include "sampling/random.h"

namespace lorikeet {

class BrownianTree {
 public:
  // t_start < t_end. shape: of one increment (of one picture, [C, H, W]). source: A1111 draws the nodes' noise from its own source.
  BrownianTree(double t_start, double t_end, Shape shape, uint64_t seed, const RandomSource& source);

  // W(to) - W(from): [shape], variance to - from. from <= to; both are clamped to [t_start, t_end] and rounded to 1e-6.
  Tensor increment(double from, double to) const;

 private:
  struct Node {
    double start, end;
    uint64_t key;    // its place among the nodes of its depth, 0 for the leftmost
    uint64_t depth;  // 0: the root
    Tensor w;        // its increment
  };
  void add_covering(const Node& node, double from, double to, Tensor& sum) const;
  Tensor noise(std::span<const uint64_t> spawn_key) const;

  Shape shape_;
  uint64_t seed_;
  const RandomSource& source_;
  Node root_;
};

}  // namespace lorikeet
