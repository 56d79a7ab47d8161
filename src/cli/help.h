// The texts of -h, --help and of the program without arguments.
#pragma once
#include <string>

#include "cli/command.h"

namespace lorikeet {

std::string program_help();
// `full`: every option with its default; else the most used ones.
std::string command_help(const Command& command, CLI::App& app, bool full);

// The options of a command for which `full` is wanted only (groups other than these are left out of -h).
inline constexpr std::string_view kShortGroups[] = {"", "Options", "Plot", "Picture", "Models", "Run", "What is trained", "Pictures"};

}  // namespace lorikeet
