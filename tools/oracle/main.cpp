// oracle_check DIR [--device cpu|cuda]: see check.h.
#include <cstdio>
#include <cstring>

#include "check.h"

int main(int argc, char** argv) {
  using namespace lorikeet;
  std::string directory, device = "cpu";
  for (int i = 1; i < argc; ++i) {
    if (!std::strcmp(argv[i], "--device") && i + 1 < argc) {
      device = argv[++i];
    } else {
      directory = argv[i];
    }
  }
  if (directory.empty() || !std::filesystem::is_directory(directory)) {
    std::fprintf(stderr, "usage: oracle_check DIR [--device cpu|cuda]\nDIR holds golden files (golden/, lora/, prompts/, the models)\n");
    return 2;
  }
  oracle::Check check{directory, Device{device}};
  for (const auto& group : oracle::groups()) check.run(std::string(group.name), [&] { group.run(check); });
  for (const auto& name : check.unread()) std::printf("no case reads %s\n", name.c_str());
  std::printf("%d passed, %d failed\n", check.passed(), check.failed());
  return check.failed() ? 1 : 0;
}
