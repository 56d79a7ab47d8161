// Runs the program in this process and keeps what it prints.
#pragma once
#include <sstream>
#include <string>
#include <vector>

#include "cli/command.h"

struct Ran {
  int code;
  std::string out, err;
};

inline Ran run(const std::vector<std::string>& arguments) {
  std::ostringstream out, err;
  lorikeet::Output output{out, err};
  const int code = lorikeet::run_cli(arguments, output);
  return {code, out.str(), err.str()};
}

inline bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }
