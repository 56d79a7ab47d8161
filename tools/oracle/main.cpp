// oracle_check DIR [--device cpu|cuda] [--full]: see check.h.
#include <cstdio>
#include <cstring>

#include "check.h"

int main(int argc, char** argv) {
  using namespace lorikeet;
  std::string directory, device = "cpu";
  bool full = false;
  for (int i = 1; i < argc; ++i) {
    if (!std::strcmp(argv[i], "--device") && i + 1 < argc) {
      device = argv[++i];
    } else if (!std::strcmp(argv[i], "--full")) {
      full = true;
    } else {
      directory = argv[i];
    }
  }
  if (directory.empty() || !std::filesystem::is_directory(directory)) {
    std::fprintf(stderr,
                 "usage: oracle_check DIR [--device cpu|cuda] [--full]\n"
                 "DIR holds golden files (golden/, lora/, prompts/, the models)\n"
                 "--full also runs the full-size model (a minute, several GB of memory)\n");
    return 2;
  }
  // The references are float32 throughout.
  at::globalContext().setAllowTF32CuBLAS(false);
  at::globalContext().setAllowTF32CuDNN(false);
  oracle::Check check{directory, Device{device}, full};
  for (const auto& group : oracle::groups()) {
    check.begin(group.name);
    check.run(std::string(group.name), [&] { group.run(check); });
  }
  for (const auto& name : check.unread()) std::printf("no case reads %s\n", name.c_str());
  check.print_summary();
  std::printf("%d passed, %d failed\n", check.passed(), check.failed());
  return check.failed() ? 1 : 0;
}
