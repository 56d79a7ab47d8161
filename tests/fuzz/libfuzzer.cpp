// The entry that libFuzzer calls, for the target named by LORIKEET_FUZZ_TARGET at compile time.
#include <cstdlib>

#include "targets.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const lorikeet::FuzzTarget* target = [] {
    for (const auto& row : lorikeet::fuzz_targets()) {
      if (row.name == LORIKEET_FUZZ_TARGET) return &row;
    }
    std::abort();
  }();
  return target->run(data, size);
}
