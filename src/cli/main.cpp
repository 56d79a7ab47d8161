// The process lorikeet-engine: arguments in, exit code out.
#include <unistd.h>

#include <iostream>

#include "cli/command.h"
#include "cli/instant_texts.h"
#include "nn/kernels/kernels.h"

int main(int count, char** arguments) {
  if (count == 2 && std::string_view(arguments[1]) == "--instant-texts") {  // asked by the build, for launcher.cpp
    lorikeet::print_instant_texts(std::cout);
    return std::cout.flush() ? 0 : 1;
  }
  lorikeet::kernels::prepare_process();
  lorikeet::Output output{std::cout, std::cerr, isatty(STDERR_FILENO) != 0};
  const int code = lorikeet::run_cli({arguments + 1, arguments + count}, output);
  std::cout.flush();
  return code == 0 && !std::cout ? 1 : code;  // a full disk or a closed pipe is not a success
}
