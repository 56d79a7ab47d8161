// Runs each fuzz target on changed seeds, always the same ones. Not a replacement of a coverage-guided run (see CMakeLists.txt), but it
// is in the test suite and finds what a careless change breaks.
//   fuzz_test                      every target, as many runs as its row says
//   fuzz_test NAME FIRST LAST      the runs FIRST to LAST of one target: to find the one that crashed
#include <cstring>
#include <exception>
#include <iostream>
#include <random>

#include "targets.h"

namespace lorikeet {
namespace {

class Mutator {
 public:
  Mutator(const FuzzTarget& target, const std::vector<std::string>& seeds, int run)
      : target_(target), seeds_(seeds), random_(static_cast<uint64_t>(run) * 0x9E3779B97F4A7C15ULL + target.name.size()) {}

  std::string input() {
    std::string bytes = seeds_[below(seeds_.size())];
    for (size_t changes = 1 + below(4); changes > 0; --changes) change(bytes);
    return bytes;
  }

 private:
  size_t below(size_t n) { return n == 0 ? 0 : random_() % n; }  // own reduction: std's distributions differ between libraries

  // Headers matter more than tensors: most changes fall on the first and the last kilobytes.
  size_t place(const std::string& bytes) {
    const size_t near = std::min<size_t>(bytes.size(), 2048);
    const size_t kind = below(4);
    return kind == 0 ? below(bytes.size()) : kind == 1 ? bytes.size() - 1 - below(near) : below(near);
  }

  void change(std::string& bytes) {
    if (bytes.empty()) bytes.push_back('x');
    const size_t at = place(bytes), length = std::min(1 + below(16), bytes.size() - at);
    switch (below(9)) {
      case 0: bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8))); break;
      case 1: bytes[at] = static_cast<char>(random_()); break;
      case 2: bytes.erase(at, length); break;
      case 3: bytes.insert(at, bytes.substr(place(bytes), length)); break;
      case 4: bytes.resize(at); break;
      case 5: overwrite_number(bytes, at); break;
      case 6: bytes.replace(at, length, bytes.substr(place(bytes), length)); break;
      case 7: splice(bytes, at); break;
      default: insert_word(bytes, at); break;
    }
  }

  void overwrite_number(std::string& bytes, size_t at) {
    const uint64_t numbers[] = {
        0, 1, 127, 255, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, ~uint64_t{0}, ~uint64_t{0} >> 1, bytes.size(), bytes.size() - at};
    const uint64_t number = numbers[below(std::size(numbers))];
    std::memcpy(bytes.data() + at, &number, std::min(size_t{1} << below(4), bytes.size() - at));
  }

  void splice(std::string& bytes, size_t at) {
    const std::string& other = seeds_[below(seeds_.size())];
    bytes = bytes.substr(0, at) + other.substr(below(other.size()));
  }

  void insert_word(std::string& bytes, size_t at) {
    if (target_.words.empty()) return;
    const std::string_view word = target_.words[below(target_.words.size())];
    below(2) ? bytes.insert(at, word) : bytes.replace(at, word.size(), word);
  }

  const FuzzTarget& target_;
  const std::vector<std::string>& seeds_;
  std::mt19937_64 random_;
};

// The number of inputs that ended by something other than success or Error.
int run(const FuzzTarget& target, int first, int last) {
  const auto seeds = target.seeds();
  int faults = 0;
  if (seeds.empty()) {
    std::cout << target.name << " has no seeds\n";
    return 1;
  }
  const auto once = [&](const std::string& input, const std::string& which) {
    try {
      target.run(reinterpret_cast<const uint8_t*>(input.data()), input.size());
    } catch (const std::exception& error) {
      std::cout << target.name << ", " << which << ": " << error.what() << "\n";
      ++faults;
    }
  };
  for (size_t i = 0; i < seeds.size(); ++i) once(seeds[i], "seed " + std::to_string(i));
  for (int i = first; i <= last; ++i) once(Mutator(target, seeds, i).input(), "run " + std::to_string(i));
  return faults;
}

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) {
  int faults = 0;
  for (const auto& target : lorikeet::fuzz_targets()) {
    if (argc > 1 && target.name != argv[1]) continue;
    std::cout << target.name << std::endl;  // flushed: a crash is then known by its target
    faults += lorikeet::run(target, argc > 2 ? std::stoi(argv[2]) : 0, argc > 3 ? std::stoi(argv[3]) : target.runs - 1);
  }
  return faults == 0 ? 0 : 1;
}
