// The command line around the commands: help, errors, exit codes, completion, progress.
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/instant_texts.h"
#include "cli/output_files.h"
#include "cli/terminal_progress.h"
#include "generate/request.h"
#include "run.h"

using namespace lorikeet;
namespace fs = std::filesystem;

TEST(Cli, WithoutArgumentsItPrintsTheShortHelpWithEveryCommand) {
  const Ran ran = run({});
  EXPECT_EQ(ran.code, 0);
  for (const Command& command : commands()) EXPECT_TRUE(has(ran.out, command.name) && has(ran.out, command.summary)) << command.name;
  EXPECT_EQ(run({"--help"}).out, ran.out);
}

TEST(Cli, TheFullHelpOfGenerateHasEverySettingAndTheShortOneIsShorter) {
  const Ran full = run({"generate", "--help"}), brief = run({"generate", "-h"});
  EXPECT_EQ(full.code, 0);
  std::string words = full.out;  // lines are broken between words
  words.erase(std::unique(words.begin(), words.end(), [](char a, char b) { return std::isspace(a) && std::isspace(b); }), words.end());
  std::replace(words.begin(), words.end(), '\n', ' ');
  for (const FieldInfo& info : field_list()) EXPECT_TRUE(has(words, info.flag) && has(words, info.field.help)) << info.flag;
  EXPECT_FALSE(has(brief.out, "--s-churn"));
  EXPECT_LT(brief.out.size(), full.out.size() / 1.5);
  EXPECT_TRUE(has(brief.out, "--help"));
}

TEST(Cli, ASettingThatIsOnByItselfStandsInTheHelpWithItsNo) {
  const std::string help = run({"train", "--help"}).out;
  EXPECT_TRUE(has(help, "--[no-]install") && has(help, "[on]"));
  EXPECT_TRUE(has(help, "  --strict ") && !has(help, "[no-]strict"));
}

TEST(Cli, AFlagThatOnlySwitchesOffStandsInTheHelpByItsName) { EXPECT_TRUE(has(run({"inspect", "-h"}).out, "--no-hash")); }

TEST(Cli, UnknownCommandsAndOptionsNameTheNearOnes) {
  const Ran command = run({"genrate"});
  EXPECT_EQ(command.code, 2);
  EXPECT_TRUE(has(command.err, "did you mean generate?")) << command.err;
  const Ran option = run({"generate", "-p", "x", "--stepz", "3"});
  EXPECT_EQ(option.code, 2);
  EXPECT_TRUE(has(option.err, "--stepz") && has(option.err, "did you mean --steps")) << option.err;
  EXPECT_EQ(run({"generate", "-p", "a", "lighthouse"}).code, 2);
  EXPECT_EQ(run({"--json", "generate"}).code, 2);
}

TEST(Cli, BadValuesAreExitCode2AndNameTheSetting) {
  for (const std::vector<std::string>& bad : {std::vector<std::string>{"--steps", "0"},
                                              {"--steps", "ten"},
                                              {"--width", "500"},
                                              {"--sampler", "eulr"},
                                              {"--rng", "dice"},
                                              {"--mask", "m.png"},
                                              {"--threads", "-3"},
                                              {"--steps"}}) {
    std::vector<std::string> arguments{"generate", "-p", "x"};
    arguments.insert(arguments.end(), bad.begin(), bad.end());
    const Ran ran = run(arguments);
    EXPECT_EQ(ran.code, 2) << bad[0];
    EXPECT_TRUE(has(ran.err, "error: ")) << bad[0];
    EXPECT_EQ(ran.out, "") << bad[0];
  }
  EXPECT_TRUE(has(run({"generate"}).err, "there is no prompt"));
}

TEST(Cli, ErrorsAreJsonWhenAskedFor) {
  const Ran ran = run({"generate", "-p", "x", "--width", "500", "--json"});
  const auto json = nlohmann::json::parse(ran.out);
  EXPECT_EQ(json["error"]["kind"], "bad_input");
  EXPECT_TRUE(has(json["error"]["message"], "500"));
}

TEST(Cli, WithoutModelsItTellsWhatToPutWhere) {
  const fs::path folder = fs::temp_directory_path() / "lorikeet_no_models";
  fs::create_directories(folder / "checkpoints");
  const Ran ran = run({"generate", "-p", "x", "--models", folder.string()});
  EXPECT_EQ(ran.code, 1);
  for (const char* part : {folder.c_str(), "checkpoints", "--models", "./run demo"}) EXPECT_TRUE(has(ran.err, part)) << ran.err;
  EXPECT_EQ(run({"generate", "-p", "x", "--models", "/no/such/folder"}).code, 1);
  fs::remove_all(folder);
}

TEST(Cli, CompletionKnowsEveryCommandFlagAndChoice) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const Ran ran = run({"completion", shell});
    EXPECT_EQ(ran.code, 0);
    for (const Command& command : commands()) EXPECT_TRUE(has(ran.out, command.name));
    for (const FieldInfo& info : field_list()) {
      EXPECT_TRUE(has(ran.out, info.flag.substr(2))) << shell << info.flag;
      for (const Choice& choice : info.choices) EXPECT_TRUE(has(ran.out, choice.name)) << shell << choice.name;
    }
  }
  EXPECT_EQ(run({"completion", "tcsh"}).code, 2);
  const fs::path script = fs::temp_directory_path() / "lorikeet_completion.bash";
  std::ofstream(script)
      << run({"completion", "bash"}).out
      << "COMP_WORDS=(lorikeet generate --samp); COMP_CWORD=2; _lorikeet 2>/dev/null; [[ ${COMPREPLY[0]} == --sampler ]] || exit 1\n"
         "COMP_WORDS=(lorikeet generate --sampler euler_); COMP_CWORD=3; _lorikeet; [[ ${COMPREPLY[0]} == euler_a ]] || exit 2\n"
         "COMP_WORDS=(lorikeet ins); COMP_CWORD=1; _lorikeet; [[ ${COMPREPLY[0]} == inspect ]] || exit 3\n";
  EXPECT_EQ(std::system(("bash " + script.string()).c_str()), 0);
  fs::remove(script);
}

TEST(Cli, TheInstantTextsAreThoseOfTheCommands) {
  std::ostringstream table;
  print_instant_texts(table);
  for (const Command& command : commands()) {
    EXPECT_TRUE(has(table.str(), "{\"" + std::string(command.name) + " --help\"")) << command.name;
    EXPECT_TRUE(has(table.str(), run({std::string(command.name), "--help"}).out)) << command.name;
  }
  EXPECT_TRUE(has(table.str(), "{\"\", R\"~text~("));
}

TEST(Cli, EveryShortFlagIsTakenOnce) {
  for (const Command& command : commands()) {
    CLI::App app;
    app.set_help_flag("");
    EXPECT_NO_THROW(command.define(app)) << command.name;  // CLI11 refuses a flag that is there already
    for (const CLI::Option* option : app.get_options()) EXPECT_FALSE(option->check_sname("h")) << command.name;
  }
}

TEST(Progress, TheLineTellsStepTimeAndTimeLeft) {
  EXPECT_EQ(progress_line("loading", 0, 0, 0), "loading …");
  EXPECT_EQ(progress_line("sampling", 0, 20, 0), "sampling  0/20 [>                       ]");
  EXPECT_EQ(progress_line("sampling", 10, 20, 32), "sampling  10/20 [============>           ]  3.2 s a step, 32 s left");
  EXPECT_EQ(progress_line("sampling", 20, 20, 2000), "sampling  20/20 [========================]  1 min 40 s a step, 0.0 s left");
}

TEST(Progress, NothingIsDrawnWithoutATerminalAndCtrlCCancels) {
  std::ostringstream out, err;
  Output output{out, err};
  TerminalProgress progress(output, false);
  progress.stage("sampling", 3);
  progress.step(1);
  progress.clear_line();
  EXPECT_EQ(err.str(), "");
  EXPECT_NO_THROW(progress.check());
  std::raise(SIGINT);
  EXPECT_THROW(progress.check(), Error);
}

TEST(OutputFiles, CountOnInAFolderAndNumberBehindAFileName) {
  const fs::path folder = fs::temp_directory_path() / "lorikeet_outputs_test";
  fs::remove_all(folder);
  OutputFiles first(folder / "deep", PictureFormat::png);
  EXPECT_EQ(first.next(7).filename(), "00000-7.png");
  std::ofstream(folder / "deep/00041-3.png") << "x";
  std::ofstream(folder / "deep/notes-9.txt") << "x";
  OutputFiles later(folder / "deep", PictureFormat::jpeg);
  EXPECT_EQ(later.next(8).filename(), "00042-8.jpg");
  OutputFiles file(folder / "a.webp", PictureFormat::webp);
  EXPECT_EQ(file.next(1), folder / "a.webp");
  EXPECT_EQ(file.next(2), folder / "a-2.webp");
  EXPECT_EQ(OutputFiles::format_of(folder / "a.webp"), PictureFormat::webp);
  EXPECT_FALSE(OutputFiles::format_of(folder));
  EXPECT_THROW(OutputFiles::format_of("a.gif"), Error);
  EXPECT_THROW(OutputFiles("/proc/nowhere", PictureFormat::png), Error);
  fs::remove_all(folder);
}
