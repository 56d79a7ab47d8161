// The fuzzed parsers: one function each, which must return normally or by an Error that it catches itself. Anything else that it
// throws, and every crash, is a fault. To add one: its function, and a line in targets.cpp.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lorikeet {

struct FuzzTarget {
  std::string_view name;
  int (*run)(const uint8_t* data, size_t size);
  std::vector<std::string> (*seeds)();  // valid inputs, from which mutations start
  std::vector<std::string_view> words;  // what a random change would hardly hit: key words, magic numbers
  int runs;                             // in the test suite; some tenths of a second
};
const std::vector<FuzzTarget>& fuzz_targets();

// The bytes of files below tests/golden; a folder stands for the files in it, in the order of their names.
std::vector<std::string> golden_seeds(std::initializer_list<std::string_view> names);

}  // namespace lorikeet
