// The painter's random numbers: SplitMix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators"), written out so that
// the same seed gives the same picture with every compiler and library.
#pragma once
#include <cstddef>
#include <cstdint>

namespace lorikeet::painter {

class Random {
 public:
  // Streams of one seed are independent of each other.
  explicit Random(uint64_t seed, uint64_t stream = 0) : state_(mix(seed + 1) ^ mix(mix(stream) + 0x9e3779b97f4a7c15)) {}

  uint64_t next() { return mix(state_ += 0x9e3779b97f4a7c15); }
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }  // [0, 1)
  double between(double low, double high) { return low + (high - low) * uniform(); }
  size_t below(size_t count) { return static_cast<size_t>(uniform() * static_cast<double>(count)); }  // 0 .. count - 1
  bool chance(double probability) { return uniform() < probability; }

 private:
  static uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  uint64_t state_;
};

}  // namespace lorikeet::painter
