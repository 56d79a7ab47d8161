// `lorikeet bench`: what this machine does with a full-size SD1.5, as a share of the matrix rate that libtorch reaches on it.
// To add a benchmark: a call of timed() or add() in bench.cpp.
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/torch.h"

namespace lorikeet {

struct BenchOptions {
  std::filesystem::path checkpoint;  // empty: a full-size SD1.5 with pseudo-random weights is written to a temporary folder (2.1 GB)
  std::filesystem::path lora;        // empty: one of rank 32 on 264 modules, likewise
  std::string device = "auto";
  std::string only;                  // rows whose name contains it; empty: all
  int threads = 0;
  bool large = true;                 // also 512² (some minutes more)
};

struct BenchRow {
  std::string name;
  double value = 0;
  std::string unit;    // "s", "ms", "GFLOP/s", "MB", "dB"
  double share = 0;    // of the machine's matrix rate in the row's dtype; 0: does not apply
};

// Runs the benchmarks; `report` is called with each row as soon as it is known.
std::vector<BenchRow> run_bench(const BenchOptions& options, const std::function<void(const BenchRow&)>& report);

}  // namespace lorikeet
