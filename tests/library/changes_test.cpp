// What happens when files come, change and go: scans, the watch, hashes.
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>

#include "io/hash.h"
#include "library/library.h"
#include "shelf.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;
using namespace lorikeet::testing;
using Names = std::vector<std::string>;

class Changes : public ::testing::Test {
 protected:
  LibraryOptions watching() const {
    LibraryOptions options = shelf_.options();
    options.watch = true;
    return options;
  }
  LibraryOptions hashing() const {
    LibraryOptions options = shelf_.options();
    options.hash = true;
    return options;
  }
  static LibraryCard card(const Library& library, const std::string& name) { return library.card(ModelKind::lora, name).value(); }
  Shelf shelf_;
};

TEST_F(Changes, AScanOfTwoThousandFilesFindsEachOneOnce) {
  constexpr int kFiles = 2000;
  for (int i = 0; i < kFiles; ++i)
    shelf_.lora("f" + std::to_string(i % 40) + "/lora" + std::to_string(i), {.modules = 1, .context = i % 2 ? 768 : 2048});
  const auto library = shelf_.open();
  EXPECT_EQ(library->list({}).total, kFiles);
  EXPECT_EQ(library->list({}).folders.size(), 40u);
  EXPECT_EQ(library->list({.family = "sdxl"}).total, kFiles / 2);
  EXPECT_EQ(found(*library, "lora1234"), Names{"f34/lora1234"});
  EXPECT_EQ(library->list({.folder = "f7"}).total, kFiles / 40);
  std::set<std::string> all;
  for (int64_t offset = 0; offset < kFiles; offset += 1000)
    for (const std::string& name : names(library->list({.offset = offset, .limit = 1000}))) all.insert(name);
  EXPECT_EQ(all.size(), static_cast<size_t>(kFiles));
}

TEST_F(Changes, ARescanSeesNewChangedAndVanishedFilesOnly) {
  shelf_.lora("stays");
  shelf_.lora("grows");
  shelf_.lora("goes");
  const auto library = shelf_.open();
  const uint64_t before = library->version();
  EXPECT_EQ(library->refresh(), before);
  shelf_.lora("comes");
  shelf_.lora("grows", {.modules = 9});
  fs::remove(shelf_.loras() / "goes.safetensors");
  EXPECT_GT(library->refresh(), before);
  EXPECT_EQ(names(library->list({})), (Names{"comes", "grows", "stays"}));
  EXPECT_EQ(library->item(ModelKind::lora, "grows")->modules, 9);
  EXPECT_EQ(found(*library, "goes"), Names{});
}

TEST_F(Changes, ASidecarThatAppearsIsReadAndOneThatGoesIsForgotten) {
  shelf_.lora("fox");
  const auto library = shelf_.open();
  write_text(shelf_.loras() / "fox.civitai.info", R"({"trainedWords": ["foxy"]})");
  write_text(shelf_.loras() / "fox.png", png(4, 4));
  library->refresh();
  EXPECT_EQ(card(*library, "fox").trigger_words, Names{"foxy"});
  EXPECT_TRUE(card(*library, "fox").has_preview);
  fs::remove(shelf_.loras() / "fox.civitai.info");
  fs::remove(shelf_.loras() / "fox.png");
  library->refresh();
  EXPECT_TRUE(card(*library, "fox").trigger_words.empty());
  EXPECT_FALSE(card(*library, "fox").has_preview);
}

TEST_F(Changes, AFolderThatDisappearsIsAProblemAndComesBack) {
  shelf_.lora("fox");
  const auto library = shelf_.open();
  fs::rename(shelf_.loras(), shelf_.root() / "away");
  library->refresh();
  EXPECT_EQ(library->list({}).total, 0);
  ASSERT_EQ(library->list({}).problems.size(), 1u);
  EXPECT_NE(library->list({}).problems[0].find("Lora cannot be read"), std::string::npos) << library->list({}).problems[0];
  fs::rename(shelf_.root() / "away", shelf_.loras());
  library->refresh();
  EXPECT_EQ(names(library->list({})), Names{"fox"});
  EXPECT_TRUE(library->list({}).problems.empty());
}

TEST_F(Changes, WhatAnEarlierRunFoundIsThereBeforeTheFirstScanEnds) {
  for (int i = 0; i < 50; ++i) shelf_.lora("n" + std::to_string(i));
  shelf_.open();
  const Library library(shelf_.options());
  EXPECT_EQ(library.list({}).total, 50);
}

TEST_F(Changes, FilesOfFoldersThatAreNotGivenAnyMoreAreNotListed) {
  shelf_.lora("fox");
  shelf_.open();
  Shelf other;
  other.lora("cat");
  LibraryOptions options = other.options();
  options.data = shelf_.data();
  const Library library(options);
  EXPECT_EQ(found(library, "fox"), Names{});
}

TEST_F(Changes, TheWatchNoticesFilesInNewFoldersEditsAndRemovals) {
  shelf_.lora("fox");
  const auto library = Shelf::open(watching());
  std::atomic<uint64_t> told{0};
  library->on_change([&](uint64_t version) { told = version; });
  shelf_.lora("new/deep/er/cat");
  EXPECT_TRUE(soon([&] { return library->list({}).total == 2; }));
  shelf_.lora("new/deep/er/dog");  // the new folders are watched by now
  EXPECT_TRUE(soon([&] { return library->list({}).total == 3; }));
  write_text(shelf_.loras() / "new/deep/er/dog.json", R"({"notes": "barks"})");
  EXPECT_TRUE(soon([&] { return found(*library, "barks").size() == 1; }));
  fs::rename(shelf_.loras() / "new", shelf_.loras() / "old");
  EXPECT_TRUE(soon([&] { return library->list({}).folders == Names{"old", "old/deep", "old/deep/er"} || found(*library, "old/").size() == 2; }));
  fs::remove_all(shelf_.loras() / "old");
  EXPECT_TRUE(soon([&] { return library->list({}).total == 1; }));
  EXPECT_TRUE(soon([&] { return told == library->version(); }));
  library->on_change({});
}

TEST_F(Changes, TheWatchFindsAPlaceThatWasMadeAgain) {
  shelf_.lora("fox");
  const auto library = Shelf::open(watching());
  fs::remove_all(shelf_.loras());
  EXPECT_TRUE(soon([&] { return library->list({}).total == 0; }));
  shelf_.lora("cat");
  EXPECT_TRUE(soon([&] { return found(*library, "cat").size() == 1; }));
  shelf_.lora("dog");
  EXPECT_TRUE(soon([&] { return found(*library, "dog").size() == 1; }));
}

TEST_F(Changes, AStormOfChangesIsTakenTogether) {
  const auto library = Shelf::open(watching());
  std::atomic<int> calls{0};
  library->on_change([&](uint64_t) { ++calls; });
  for (int i = 0; i < 300; ++i) shelf_.lora("n" + std::to_string(i), {.modules = 1});
  EXPECT_TRUE(soon([&] { return library->list({}).total == 300; }));
  EXPECT_LT(calls, 100);
  library->on_change({});
}

TEST_F(Changes, HashesAreThoseOfTheFieldAndFindDuplicates) {
  shelf_.lora("fox", {.metadata = {{"ss_output_name", "a"}}, .seed = 1});
  shelf_.lora("copy", {.metadata = {{"ss_output_name", "another name"}}, .seed = 1});
  shelf_.lora("cat", {.seed = 2});
  const auto library = Shelf::open(hashing());
  ASSERT_TRUE(library->wait_for_hashes(30));
  const LibraryCard fox = card(*library, "fox");
  EXPECT_EQ(fox.sha256, sha256_file(shelf_.loras() / "fox.safetensors"));
  EXPECT_EQ(fox.autov3, auto_v3(shelf_.loras() / "fox.safetensors"));
  EXPECT_EQ(fox.duplicates, 1);
  EXPECT_EQ(library->item(ModelKind::lora, "fox")->duplicates_of, Names{"copy"});
  EXPECT_EQ(card(*library, "cat").duplicates, 0);
  EXPECT_EQ(found(*library, fox.sha256.substr(0, 10)), Names{"fox"});
  EXPECT_EQ(found(*library, fox.autov3.substr(0, 12)), (Names{"copy", "fox"}));
  EXPECT_EQ(card(*library, fox.sha256.substr(0, 10)).name, "fox");
}

TEST_F(Changes, AFilesOwnWordForItsHashCountsUntilItIsComputed) {
  const std::string claimed(64, 'a');
  shelf_.lora("fox", {.metadata = {{"sshs_model_hash", claimed}}});
  shelf_.lora("cat", {.metadata = {{"sshs_model_hash", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}});
  EXPECT_EQ(card(*shelf_.open(), "fox").autov3, claimed);
  EXPECT_EQ(card(*shelf_.open(), "cat").autov3, "");
  const auto library = Shelf::open(hashing());
  ASSERT_TRUE(library->wait_for_hashes(30));
  EXPECT_EQ(card(*library, "fox").autov3, auto_v3(shelf_.loras() / "fox.safetensors"));
}

TEST_F(Changes, HashesAreKeptOverRunsAndRenamesAndGoWithTheContent) {
  shelf_.lora("fox", {.seed = 1});
  std::string hash;
  {
    const auto library = Shelf::open(hashing());
    ASSERT_TRUE(library->wait_for_hashes(30));
    hash = card(*library, "fox").sha256;
  }
  const auto library = shelf_.open();  // does not hash
  EXPECT_EQ(card(*library, "fox").sha256, hash);
  fs::create_directories(shelf_.loras() / "animals");
  fs::rename(shelf_.loras() / "fox.safetensors", shelf_.loras() / "animals/reynard.safetensors");
  write_text(shelf_.loras() / "animals/reynard.json", R"({"notes": "n"})");
  library->refresh();
  EXPECT_EQ(card(*library, "animals/reynard").sha256, hash);
  shelf_.lora("animals/reynard", {.modules = 3, .seed = 2});
  library->refresh();
  EXPECT_EQ(card(*library, "animals/reynard").sha256, "");
}

TEST_F(Changes, ManyThreadsMayAskWhileFilesComeAndGo) {
  for (int i = 0; i < 40; ++i) shelf_.lora("n" + std::to_string(i), {.modules = 1});
  LibraryOptions options = watching();
  options.hash = true;
  const auto library = Shelf::open(options);
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      while (!stop) {
        const LibraryPage page = library->list({.text = "n", .offset = t * 5, .limit = 10});
        if (page.items.size() > 10 || page.total > 60) ++wrong;
        if (!page.items.empty()) library->item(ModelKind::lora, page.items[0].name);
      }
    });
  }
  for (int i = 0; i < 20; ++i) {
    shelf_.lora("new" + std::to_string(i), {.modules = 1});
    fs::remove(shelf_.loras() / ("n" + std::to_string(i) + ".safetensors"));
    library->edit(ModelKind::lora, "n39", {.notes = std::to_string(i)});
    library->refresh();
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(library->list({}).total, 40);
  EXPECT_EQ(card(*library, "n39").notes, "19");
}

TEST_F(Changes, ALibraryEndsQuicklyInTheMiddleOfItsWork) {
  for (int i = 0; i < 300; ++i) shelf_.lora("n" + std::to_string(i));
  for (int i = 0; i < 5; ++i) {
    LibraryOptions options = watching();
    options.hash = true;
    const Library library(options);
    library.list({});
  }
  EXPECT_EQ(shelf_.open()->list({}).total, 300);
}

}  // namespace
}  // namespace lorikeet
