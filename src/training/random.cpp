#include "training/random.h"

#include <ATen/CPUGeneratorImpl.h>

#include <cmath>

namespace lorikeet {
namespace {

uint64_t mixed(uint64_t z) {
  z += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// torch's own seeding takes the lower 32 bits only: of some ten thousand tensors two would be the same.
at::Generator generator_of(uint64_t bits) {
  at::mt19937_data_pod data{};
  data.seed_ = bits;
  data.seeded_ = true;
  data.left_ = 1;  // as after seeding: the first number is drawn from the next state
  for (size_t i = 0; i < data.state_.size(); ++i) data.state_[i] = static_cast<uint32_t>(mixed(bits + i * 0x9e3779b97f4a7c15u) >> 32);
  at::mt19937 engine;
  engine.set_data(data);
  at::Generator generator = at::detail::createCPUGenerator(bits);
  at::check_generator<at::CPUGeneratorImpl>(generator)->set_engine(engine);
  return generator;
}

}  // namespace

uint64_t random_bits(uint64_t seed, std::string_view purpose, uint64_t counter, uint64_t second) {
  uint64_t bits = mixed(seed);
  for (const char c : purpose) bits = mixed(bits ^ static_cast<unsigned char>(c));
  return mixed(mixed(bits ^ counter) ^ second);
}

double uniform_of(uint64_t bits) { return std::ldexp(static_cast<double>(bits >> 11), -53); }

int64_t below(uint64_t bits, int64_t bound) { return std::min(static_cast<int64_t>(uniform_of(bits) * static_cast<double>(bound)), bound - 1); }

Tensor normal_tensor(const Shape& shape, uint64_t bits) { return torch::randn(shape, generator_of(bits)); }

Tensor uniform_tensor(const Shape& shape, uint64_t bits) { return torch::rand(shape, generator_of(bits)); }

}  // namespace lorikeet
