#include "cli/instant_texts.h"

#include <ostream>
#include <sstream>

#include "base/text.h"
#include "cli/command.h"

namespace lorikeet {

void print_instant_texts(std::ostream& out) {
  std::vector<std::vector<std::string>> questions{{}, {"-h"}, {"--help"}, {"help"}, {"--version"}};
  for (const Command& command : commands())
    for (const char* flag : {"-h", "--help"}) {
      questions.push_back({std::string(command.name), flag});
      if (!command.verbs) continue;
      for (const Command& verb : command.verbs())
        questions.push_back({std::string(command.name), std::string(verb.name.substr(command.name.size() + 1)), flag});
    }
  for (const char* shell : {"bash", "zsh", "fish"}) questions.push_back({"completion", shell});
  for (const auto& question : questions) {
    std::ostringstream text, errors;
    Output output{text, errors};
    if (run_cli(question, output) == 0) out << "{\"" << join(question, " ") << "\", R\"~text~(" << text.str() << ")~text~\"},\n";
  }
}

}  // namespace lorikeet
