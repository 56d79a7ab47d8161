// The commands of the program: one row each, one file each. A command defines its options on a CLI::App; the same definition serves
// parsing, help and shell completion.
#pragma once
#include <functional>
#include <iosfwd>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App;
}

namespace lorikeet {

// Where a command talks to: results to out; progress, reports and warnings to err.
struct Output {
  std::ostream& out;
  std::ostream& err;
  bool terminal = false;  // err is a terminal: progress may be drawn
};

using RunCommand = std::function<int(Output&)>;  // the exit code; throws Error

struct Command {
  std::string_view name, summary;
  RunCommand (*define)(CLI::App& app);  // adds the options; what it returns runs after they are parsed
  // Commands of two words ("lora info"), whose rows have both words as their names; null: none.
  std::span<const Command> (*verbs)() = nullptr;
};

std::span<const Command> commands();  // the one list: help, completion and tests read it

RunCommand define_generate(CLI::App& app);
RunCommand define_plot(CLI::App& app);
RunCommand define_bench(CLI::App& app);
RunCommand define_inspect(CLI::App& app);
RunCommand define_train(CLI::App& app);
RunCommand define_serve(CLI::App& app);
RunCommand define_fresh(CLI::App& app);
RunCommand define_lora(CLI::App& app);
RunCommand define_completion(CLI::App& app);

// The whole program but for the process: parses, runs, prints errors. 0; 2 bad input; 130 cancelled; 1 other errors.
int run_cli(const std::vector<std::string>& arguments, Output& output);

}  // namespace lorikeet
