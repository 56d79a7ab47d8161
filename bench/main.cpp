// lorikeet-bench [CHECKPOINT] [DEVICE] [ONLY]: the rows of `lorikeet bench` without the command line's libraries.
#include <cstdio>

#include "base/error.h"
#include "bench.h"
#include "nn/kernels/kernels.h"

int main(int argc, char** argv) {
  lorikeet::kernels::prepare_process();
  lorikeet::BenchOptions options;
  if (argc > 1) options.checkpoint = argv[1];
  if (argc > 2) options.device = argv[2];
  if (argc > 3) options.only = argv[3];
  try {
    lorikeet::run_bench(options, [](const lorikeet::BenchRow& row) {
      std::printf("%-64s %10.3f %s", row.name.c_str(), row.value, row.unit.c_str());
      if (row.share > 0) std::printf("  %.0f %% of the matrix rate", 100 * row.share);
      std::printf("\n");
      std::fflush(stdout);
    });
  } catch (const lorikeet::Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
  return 0;
}
