#include "io/append_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/error.h"

using namespace lorikeet;
namespace fs = std::filesystem;

namespace {
std::string text_of(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

struct AppendFileTest : ::testing::Test {
  fs::path path = fs::temp_directory_path() / ("lorikeet_append_" + std::to_string(::getpid()));
  void SetUp() override { fs::remove(path); }
  void TearDown() override { fs::remove(path); }
};
}  // namespace

TEST_F(AppendFileTest, RecordsStandOneBehindTheOtherAtOnceAndAfterOpeningAgain) {
  {
    AppendFile file(path);
    EXPECT_TRUE(file.empty());
    file.append("one\n");
    EXPECT_EQ(text_of(path), "one\n");
  }
  AppendFile file(path);
  EXPECT_FALSE(file.empty());
  file.append("two\n");
  EXPECT_EQ(text_of(path), "one\ntwo\n");
}

TEST_F(AppendFileTest, ARecordThatDoesNotFitIsTakenBack) {
  AppendFile file(path);
  file.append("one\n");
  // The system cuts a write at the largest size that a file may have, as on a disk that is nearly full.
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{100, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  EXPECT_THROW(file.append(std::string(200, 'x')), Error);
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(text_of(path), "one\n");
  file.append("two\n");
  EXPECT_EQ(text_of(path), "one\ntwo\n");
}

TEST_F(AppendFileTest, AMissingFolderIsNamed) {
  try {
    AppendFile file(path / "no" / "log.csv");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::not_found);
    EXPECT_NE(std::string(error.what()).find("log.csv"), std::string::npos);
  }
}
