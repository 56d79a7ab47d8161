#include "sampling/random.h"

#include <ATen/CPUGeneratorImpl.h>

#include <cmath>

#include "base/error.h"
#include "base/text.h"

namespace lorikeet {
namespace {

class TorchCpuStream : public RandomStream {
 public:
  explicit TorchCpuStream(uint64_t seed) : generator_(at::detail::createCPUGenerator(seed)) {}
  Tensor normal(const Shape& shape) override { return torch::randn(shape, generator_, torch::kFloat); }

 private:
  at::Generator generator_;
};

// Number i of the n-th call comes from the counter (n, 0, i, 0) and the seed as key, by the sine half of Box and Muller.
// The constants are single precision (cuRAND's), the arithmetic double, as in A1111's emulation.
class PhiloxStream : public RandomStream {
 public:
  explicit PhiloxStream(uint64_t seed) : key_{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)} {}

  Tensor normal(const Shape& shape) override {
    constexpr float k2PowMinus32 = 2.3283064e-10f;
    constexpr auto k2PowMinus32Times2Pi = static_cast<float>(2.3283064e-10 * 6.2831855);
    Tensor numbers = torch::empty(shape, torch::kFloat);
    auto* out = numbers.data_ptr<float>();
    for (int64_t i = 0; i < numbers.numel(); ++i) {
      auto words = philox_4x32_10({call_, 0, static_cast<uint32_t>(i), 0}, key_);
      double u = words[0] * static_cast<double>(k2PowMinus32) + k2PowMinus32 / 2;
      double v = words[1] * static_cast<double>(k2PowMinus32Times2Pi) + k2PowMinus32Times2Pi / 2;
      out[i] = static_cast<float>(std::sqrt(-2 * std::log(u)) * std::sin(v));
    }
    ++call_;
    return numbers;
  }

 private:
  std::array<uint32_t, 2> key_;
  uint32_t call_ = 0;
};

template <class Stream>
std::unique_ptr<RandomStream> make(uint64_t seed) {
  return std::make_unique<Stream>(seed);
}

constexpr std::array kSources = {
    RandomSource{"cpu", "CPU", "The numbers of torch on a CPU.", make<TorchCpuStream>},
    RandomSource{"gpu", "GPU", "The numbers of torch on an NVIDIA GPU (computed on the CPU).", make<PhiloxStream>},
    RandomSource{"nv", "NV", "The same as gpu, under A1111's name for the emulation.", make<PhiloxStream>},
};

void append_words(std::vector<uint32_t>& words, uint64_t value) {
  words.push_back(static_cast<uint32_t>(value));
  if (value >> 32) words.push_back(static_cast<uint32_t>(value >> 32));
}

uint32_t fold(uint32_t value) { return value ^ (value >> 16); }

// The running hash of SeedSequence: each use of it moves the multiplier on.
struct Hash {
  uint32_t multiplier, step;
  uint32_t operator()(uint32_t value) {
    value ^= multiplier;
    multiplier *= step;
    return fold(value * multiplier);
  }
};

uint32_t mix(uint32_t x, uint32_t y) { return fold(0xca01f9ddu * x - 0x4973f715u * y); }

}  // namespace

std::span<const RandomSource> random_sources() { return kSources; }

const RandomSource& find_random_source(std::string_view name) {
  std::string wanted = lower(trim(name));
  for (const RandomSource& source : kSources) {
    if (wanted == source.name) return source;
  }
  throw Error(ErrorKind::bad_input, "there is no source of random numbers \"" + std::string(name) + "\"", "the sources are cpu, gpu, nv");
}

std::array<uint32_t, 4> philox_4x32_10(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    uint64_t a = uint64_t{0xD2511F53} * counter[0], b = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key = {key[0] + 0x9E3779B9, key[1] + 0xBB67AE85};
  }
  return counter;
}

std::vector<uint32_t> seed_sequence(std::span<const uint64_t> entropy, std::span<const uint64_t> spawn_key, int pool_size, int count) {
  std::vector<uint32_t> words;
  for (uint64_t value : entropy) append_words(words, value);
  auto size = static_cast<size_t>(pool_size);
  // numpy pads before the key, so that a spawned sequence never equals an unspawned one of longer entropy.
  if (!spawn_key.empty() && words.size() < size) words.resize(size, 0);
  for (uint64_t value : spawn_key) append_words(words, value);

  Hash hash{0x43b0d7e5, 0x931e8875};
  std::vector<uint32_t> pool(size);
  for (size_t i = 0; i < size; ++i) pool[i] = hash(i < words.size() ? words[i] : 0);
  for (size_t from = 0; from < size; ++from) {
    for (size_t to = 0; to < size; ++to) {
      if (from != to) pool[to] = mix(pool[to], hash(pool[from]));
    }
  }
  for (size_t from = size; from < words.size(); ++from) {
    for (uint32_t& word : pool) word = mix(word, hash(words[from]));
  }

  Hash output{0x8b51f9dd, 0x58f38ded};
  std::vector<uint32_t> state;
  for (int i = 0; i < count; ++i) state.push_back(output(pool[static_cast<size_t>(i) % size]));
  return state;
}

}  // namespace lorikeet
