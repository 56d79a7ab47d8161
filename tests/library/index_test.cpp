// The index may be lost, damaged, old, or shared: the library goes on.
#include <gtest/gtest.h>

#include <fstream>

#include "library/database.h"
#include "library/library.h"
#include "shelf.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;
using namespace lorikeet::testing;

class IndexFile : public ::testing::Test {
 protected:
  void SetUp() override {
    for (int i = 0; i < 30; ++i) shelf_.lora("n" + std::to_string(i));
    shelf_.open();
    ASSERT_TRUE(fs::exists(file()));
  }
  fs::path file() const { return shelf_.data() / "library.sqlite"; }
  int64_t total() const { return shelf_.open()->list({.text = "n"}).total; }
  Shelf shelf_;
};

TEST_F(IndexFile, IsMadeAnewWhenItWasDeleted) {
  fs::remove_all(shelf_.data());
  EXPECT_EQ(total(), 30);
}

TEST_F(IndexFile, IsMadeAnewWhenItIsNoDatabase) {
  for (const std::string& content : {std::string("this is no database at all, whatever its name says"), std::string(100000, '\x7f'), std::string()}) {
    write_text(file(), content);
    EXPECT_EQ(total(), 30) << content.substr(0, 20);
  }
}

TEST_F(IndexFile, IsMadeAnewWhenItsPagesAreDamaged) {
  const auto size = fs::file_size(file());
  std::fstream out(file(), std::ios::in | std::ios::out | std::ios::binary);
  for (std::uintmax_t at = 4096; at + 2000 < size; at += 4096) {
    out.seekp(static_cast<std::streamoff>(at));
    out << std::string(2000, '\xff');
  }
  out.close();
  EXPECT_EQ(total(), 30);
}

TEST_F(IndexFile, IsMadeAnewWhenItIsOfAnotherVersion) {
  for (const char* version : {"0", "999"}) {
    {
      Database database(file());
      database.run((std::string("PRAGMA user_version=") + version).c_str());
      database.run("DROP TABLE details");
    }
    EXPECT_EQ(total(), 30) << version;
  }
}

TEST_F(IndexFile, ThatIsDamagedInUseIsMadeAnewAndFilledAgain) {
  const auto library = shelf_.open();
  {
    Database other(file());
    other.run("PRAGMA wal_checkpoint(TRUNCATE)");
  }
  const auto size = fs::file_size(file());
  std::fstream out(file(), std::ios::in | std::ios::out | std::ios::binary);
  for (std::uintmax_t at = 4096; at < size; at += 4096) {
    out.seekp(static_cast<std::streamoff>(at));
    out << std::string(4096, '\xff');
  }
  out.close();
  shelf_.lora("new");
  // Some call meets the damage; from then on all is well again.
  EXPECT_TRUE(soon([&] {
    try {
      library->refresh();
      return library->list({.text = "n"}).total == 31 && library->item(ModelKind::lora, "new").has_value();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::io);
      return false;
    }
  }));
}

TEST_F(IndexFile, TwoLibrariesMayShareIt) {
  const auto first = shelf_.open(), second = shelf_.open();
  first->edit(ModelKind::lora, "n3", {.notes = "zebra"});
  EXPECT_EQ(found(*second, "zebra"), std::vector<std::string>{"n3"});
  second->edit(ModelKind::lora, "n4", {.notes = "zebra"});
  EXPECT_EQ(found(*first, "zebra").size(), 2u);
}

TEST_F(IndexFile, InAFolderThatCannotBeMadeIsAnError) {
  write_text(shelf_.root() / "file", "x");
  LibraryOptions options = shelf_.options();
  options.data = shelf_.root() / "file" / "data";
  EXPECT_NE(error_of([&] { const Library library(options); }), "");
}

}  // namespace
}  // namespace lorikeet
