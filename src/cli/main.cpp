// The process: arguments in, exit code out.
#include <unistd.h>

#include <iostream>

#include "cli/command.h"

int main(int count, char** arguments) {
  lorikeet::Output output{std::cout, std::cerr, isatty(STDERR_FILENO) != 0};
  const int code = lorikeet::run_cli({arguments + 1, arguments + count}, output);
  std::cout.flush();
  return code == 0 && !std::cout ? 1 : code;  // a full disk or a closed pipe is not a success
}
