// What the library answers: lists, details, edits, fits.
#include "library/library.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "io/tensor_file.h"
#include "shelf.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;
using namespace lorikeet::testing;
using Names = std::vector<std::string>;

std::string tags(const std::string& json) { return "{\"10_x\": " + json + "}"; }

class LibraryTest : public ::testing::Test {
 protected:
  // Four LoRAs that differ in all that is searched, filtered and sorted by.
  void fill() {
    shelf_.lora("animals/Fox2", {.rank = 8, .metadata = {{"ss_output_name", "renard"}, {"ss_tag_frequency", tags(R"({"red fox": 9, "snow": 3})")}}});
    shelf_.lora("animals/fox10", {.modules = 5, .metadata = {{"modelspec.trigger_phrase", "vulpes, Café"}}});
    shelf_.lora("animals/cats/tom", {.context = 2048});
    shelf_.lora("Monet", {.context = 1024, .metadata = {{"ss_tag_frequency", tags(R"({"oil painting": 2})")}}});
    write_text(shelf_.loras() / "Monet.json", R"({"notes": "lilies", "lorikeet": {"favourite": true, "rating": 2}})");
    write_text(shelf_.loras() / "animals/cats/tom.json", R"({"lorikeet": {"rating": 5}, "description": "a cat"})");
    library_ = shelf_.open();
  }
  Names sorted(LibrarySort sort, bool descending = false) {
    return names(library_->list({.sort = sort, .descending = descending}));
  }
  LibraryItem item(const std::string& name, ModelKind kind = ModelKind::lora) { return library_->item(kind, name).value(); }

  Shelf shelf_;
  std::unique_ptr<Library> library_;
};

TEST_F(LibraryTest, ListsByNameInTheOrderThatPeopleExpect) {
  fill();
  const LibraryPage page = library_->list({});
  EXPECT_EQ(names(page), (Names{"animals/Fox2", "animals/fox10", "Monet", "animals/cats/tom"}));
  EXPECT_EQ(page.total, 4);
  EXPECT_EQ(page.folders, (Names{"animals", "animals/cats"}));
  EXPECT_EQ(page.families, (Names{"sd1", "sd2", "sdxl"}));
  EXPECT_TRUE(page.problems.empty());
  EXPECT_FALSE(page.scanning);
  EXPECT_EQ(library_->list({.kind = ModelKind::checkpoint}).total, 0);
}

TEST_F(LibraryTest, ACardTellsWhatHeaderAndSidecarTell) {
  fill();
  const LibraryCard fox = library_->list({.text = "fox2"}).items.at(0);
  EXPECT_EQ(fox.file_name, "Fox2.safetensors");
  EXPECT_EQ(fox.folder, "animals");
  EXPECT_EQ(fox.title, "Fox2");
  EXPECT_EQ(fox.alias, "renard");
  EXPECT_EQ(fox.family, "sd1");
  EXPECT_EQ(fox.kinds, Names{"lora"});
  EXPECT_EQ(fox.rank, 8);
  EXPECT_EQ(fox.size_bytes, fs::file_size(shelf_.loras() / "animals/Fox2.safetensors"));
  EXPECT_GT(fox.modified, 1000000000);
  EXPECT_GT(fox.added, 1000000000);
  EXPECT_EQ(fox.tags, (std::vector<std::pair<std::string, int64_t>>{{"red fox", 9}, {"snow", 3}}));
  EXPECT_EQ(library_->list({.text = "fox10"}).items.at(0).trigger_words, (Names{"vulpes", "Café"}));
  const LibraryCard monet = library_->list({.text = "monet"}).items.at(0);
  EXPECT_EQ(monet.notes, "lilies");
  EXPECT_TRUE(monet.favourite);
  EXPECT_EQ(monet.rating, 2);
  EXPECT_FALSE(monet.has_preview);
}

TEST_F(LibraryTest, SearchFindsPartsOfWordsInEveryFieldAndAllWordsMustOccur) {
  fill();
  EXPECT_EQ(found(*library_, ""), (Names{"animals/Fox2", "animals/fox10", "Monet", "animals/cats/tom"}));
  EXPECT_EQ(found(*library_, "FOX"), (Names{"animals/Fox2", "animals/fox10"}));
  EXPECT_EQ(found(*library_, "ox"), (Names{"animals/Fox2", "animals/fox10"}));  // two letters
  EXPECT_EQ(found(*library_, "x1"), Names{"animals/fox10"});
  EXPECT_EQ(found(*library_, "renard"), Names{"animals/Fox2"});             // alias
  EXPECT_EQ(found(*library_, "red fox"), Names{"animals/Fox2"});            // both
  EXPECT_EQ(found(*library_, "\"red fox\""), Names{"animals/Fox2"});        // a tag
  EXPECT_EQ(found(*library_, "\"fox red\""), Names{});
  EXPECT_EQ(found(*library_, "cafe"), Names{"animals/fox10"});              // a trigger word without its accent
  EXPECT_EQ(found(*library_, "lilies"), Names{"Monet"});                    // notes
  EXPECT_EQ(found(*library_, "cats/"), Names{"animals/cats/tom"});          // folder
  EXPECT_EQ(found(*library_, "animals -fox"), Names{"animals/cats/tom"});
  EXPECT_EQ(found(*library_, "fox zebra"), Names{});
  EXPECT_EQ(found(*library_, "a' OR 1=1 --"), Names{});
  EXPECT_EQ(found(*library_, "\"\"\" * ^ NEAR( ) : AND OR"), Names{});
}

TEST_F(LibraryTest, FiltersGoTogether) {
  fill();
  EXPECT_EQ(names(library_->list({.folder = "animals"})), (Names{"animals/Fox2", "animals/fox10", "animals/cats/tom"}));
  EXPECT_EQ(names(library_->list({.folder = "animals/cats"})), Names{"animals/cats/tom"});
  EXPECT_EQ(names(library_->list({.folder = "animal"})), Names{});
  EXPECT_EQ(names(library_->list({.folder = ""})).size(), 4u);
  EXPECT_EQ(names(library_->list({.family = "sdxl"})), Names{"animals/cats/tom"});
  EXPECT_EQ(names(library_->list({.family = "unknown"})), Names{});
  EXPECT_EQ(names(library_->list({.tag = "Red Fox"})), Names{"animals/Fox2"});
  EXPECT_EQ(names(library_->list({.tag = "red"})), Names{});
  EXPECT_EQ(names(library_->list({.favourites = true})), Names{"Monet"});
  EXPECT_EQ(names(library_->list({.text = "fox", .folder = "animals", .family = "sd1", .tag = "snow"})), Names{"animals/Fox2"});
}

TEST_F(LibraryTest, SortsByEachColumnBothWays) {
  fill();
  fs::last_write_time(shelf_.loras() / "Monet.safetensors", fs::file_time_type::clock::now() - std::chrono::hours(48));
  library_->refresh();
  EXPECT_EQ(sorted(LibrarySort::name, true).front(), "animals/cats/tom");
  EXPECT_EQ(sorted(LibrarySort::date_modified).front(), "Monet");
  EXPECT_EQ(sorted(LibrarySort::date_modified, true).back(), "Monet");
  EXPECT_EQ(sorted(LibrarySort::rating, true), (Names{"animals/cats/tom", "Monet", "animals/Fox2", "animals/fox10"}));
  const auto by_size = library_->list({.sort = LibrarySort::size, .descending = true}).items;
  for (size_t i = 1; i < by_size.size(); ++i) EXPECT_GE(by_size[i - 1].size_bytes, by_size[i].size_bytes);
  EXPECT_EQ(sorted(LibrarySort::date_added).size(), 4u);
}

TEST_F(LibraryTest, PagesCoverEverythingOnce) {
  for (int i = 0; i < 25; ++i) shelf_.lora("n" + std::to_string(i), {.modules = 1});
  library_ = shelf_.open();
  Names all;
  for (int64_t offset = 0; offset < 30; offset += 10) {
    const LibraryPage page = library_->list({.sort = LibrarySort::size, .offset = offset, .limit = 10});
    EXPECT_EQ(page.total, 25);
    EXPECT_EQ(page.offset, offset);
    for (const std::string& name : names(page)) all.push_back(name);
  }
  EXPECT_EQ(all.size(), 25u);
  EXPECT_EQ(std::set<std::string>(all.begin(), all.end()).size(), 25u);
  EXPECT_EQ(library_->list({.limit = 0}).total, 25);
  EXPECT_TRUE(library_->list({.offset = 1000}).items.empty());
  EXPECT_NE(error_of([&] { library_->list({.offset = -1}); }), "");
  EXPECT_NE(error_of([&] { library_->list({.limit = 100000}); }), "");
}

TEST_F(LibraryTest, DetailsHaveTheMetadataAndTheSidecar) {
  fill();
  const LibraryItem fox = item("animals/Fox2");
  EXPECT_EQ(fox.metadata.at("ss_output_name"), "renard");
  EXPECT_EQ(fox.modules, 2);
  EXPECT_EQ(fox.tensors, 6);
  EXPECT_EQ(fox.dtype, "F16");
  EXPECT_EQ(fox.path_in_folder, "animals/Fox2.safetensors");
  EXPECT_TRUE(fox.warnings.empty());
  EXPECT_EQ(nlohmann::json::parse(item("Monet").sidecar)["notes"], "lilies");
  EXPECT_FALSE(library_->item(ModelKind::lora, "Fox2"));
  EXPECT_FALSE(library_->item(ModelKind::checkpoint, "Monet"));
}

TEST_F(LibraryTest, NamesAreLookedUpAndNeverArePaths) {
  fill();
  for (const char* name : {"../data/library", "/etc/passwd", "animals/../Monet", "", "."}) {
    EXPECT_FALSE(library_->item(ModelKind::lora, name)) << name;
    EXPECT_NE(error_of([&] { library_->path(ModelKind::lora, name); }), "") << name;
    EXPECT_NE(error_of([&] { library_->edit(ModelKind::lora, name, {}); }), "") << name;
    EXPECT_NE(error_of([&] { library_->preview(ModelKind::lora, name); }), "") << name;
  }
  EXPECT_NE(error_of([&] { library_->path(ModelKind::lora, "Monett"); }).find("Monet"), std::string::npos);
}

TEST_F(LibraryTest, ACardIsAlsoFoundByStemAliasAndCase) {
  fill();
  for (const char* name : {"animals/Fox2", "Fox2", "renard", "fox2", "RENARD"})
    EXPECT_EQ(library_->card(ModelKind::lora, name).value().name, "animals/Fox2") << name;
  EXPECT_FALSE(library_->card(ModelKind::lora, "fox"));
}

TEST_F(LibraryTest, FilesThatCannotBeReadAreListedWithTheReason) {
  write_text(shelf_.loras() / "page.safetensors", "<html>");
  write_text(shelf_.loras() / "empty.pt", "");
  shelf_.lora("good");
  library_ = shelf_.open();
  EXPECT_EQ(names(library_->list({})), (Names{"empty", "good", "page"}));
  for (const LibraryCard& card : library_->list({}).items) EXPECT_EQ(card.error.empty(), card.name == "good") << card.error;
  EXPECT_NE(item("page").card.error, "");
}

TEST_F(LibraryTest, EqualStemsAndHiddenFilesAreTold) {
  shelf_.lora("a/fox");
  shelf_.lora("b/fox");
  write_lora(shelf_.root() / "LyCORIS" / "b/fox.safetensors", {.modules = 7});
  write_text(shelf_.loras() / "b/fox.pt", "");
  library_ = shelf_.open();
  EXPECT_EQ(names(library_->list({})), (Names{"a/fox", "b/fox", "b/fox.pt"}));
  const LibraryItem fox = item("b/fox");
  EXPECT_EQ(fox.modules, 2);  // the earlier place's
  ASSERT_EQ(fox.warnings.size(), 2u);
  EXPECT_NE(fox.warnings[0].find("a/fox"), std::string::npos) << fox.warnings[0];
  EXPECT_NE(fox.warnings[1].find("hides"), std::string::npos) << fox.warnings[1];
}

TEST_F(LibraryTest, LinksOutOfTheFoldersWorkAndAreTold) {
  ScratchFolder elsewhere;
  write_lora(elsewhere / "fox.safetensors");
  write_lora(elsewhere / "more/cat.safetensors");
  fs::create_symlink(elsewhere / "fox.safetensors", shelf_.loras() / "fox.safetensors");
  fs::create_directory_symlink(elsewhere / "more", shelf_.loras() / "more");
  fs::create_directory_symlink(shelf_.loras(), shelf_.loras() / "circle");
  fs::create_symlink(elsewhere / "nothing", shelf_.loras() / "lost.safetensors");
  library_ = shelf_.open();
  EXPECT_EQ(names(library_->list({})), (Names{"more/cat", "fox"}));
  EXPECT_NE(item("fox").warnings.at(0).find("leads out"), std::string::npos);
  EXPECT_NE(item("more/cat").warnings.at(0).find("leads out"), std::string::npos);
  const auto problems = library_->list({}).problems;
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_NE(problems[0].find("Lora/lost.safetensors"), std::string::npos) << problems[0];
  EXPECT_EQ(problems[0].find(shelf_.root().string()), std::string::npos) << problems[0];
}

TEST_F(LibraryTest, NamesThatAreNoUtf8AreListedAndTold) {
  const fs::path path = shelf_.loras() / "f\xff\xfex.safetensors";
  write_lora(path);
  if (!fs::exists(path)) GTEST_SKIP() << "this file system has no such names";
  library_ = shelf_.open();
  const Names listed = names(library_->list({}));
  ASSERT_EQ(listed.size(), 1u);
  const LibraryItem fox = item(listed[0]);
  EXPECT_EQ(fox.card.error, "");
  EXPECT_EQ(fox.modules, 2);
  EXPECT_NE(fox.warnings.at(0).find("UTF-8"), std::string::npos);
  library_->edit(ModelKind::lora, listed[0], {.notes = "n"});
  EXPECT_TRUE(fs::exists(shelf_.loras() / "f\xff\xfex.json"));
}

TEST_F(LibraryTest, AFolderThatCannotBeReadIsAProblemAndTheOthersAreListed) {
  if (geteuid() == 0) GTEST_SKIP() << "the superuser reads everything";
  shelf_.lora("good");
  shelf_.lora("closed/fox");
  fs::permissions(shelf_.loras() / "closed", fs::perms::none);
  library_ = shelf_.open();
  EXPECT_EQ(names(library_->list({})), Names{"good"});
  EXPECT_EQ(library_->list({}).problems.size(), 1u);
  fs::permissions(shelf_.loras() / "closed", fs::perms::owner_all);
}

TEST_F(LibraryTest, EveryKindOfModelIsListed) {
  const TinyModel model = tiny_model("sd1");
  write_single_file(shelf_.checkpoints() / "tiny.safetensors", model, file_of(model));
  write_safetensors(shelf_.checkpoints() / "tiny.vae.safetensors", {{"decoder.conv_in.weight", torch::zeros({1})}}, {});
  write_safetensors(shelf_.embeddings() / "cat.safetensors", {{"emb_params", torch::zeros({3, 768})}}, {});
  library_ = shelf_.open();
  EXPECT_EQ(names(library_->list({.kind = ModelKind::checkpoint})), Names{"tiny"});
  EXPECT_EQ(item("tiny", ModelKind::checkpoint).card.family, "sd1");
  EXPECT_EQ(names(library_->list({.kind = ModelKind::vae})), Names{"tiny.vae"});
  EXPECT_EQ(library_->list({.kind = ModelKind::embedding}).items.at(0).vectors, 3);
}

TEST_F(LibraryTest, AnEditShowsAtOnceAndCountsAsAChange) {
  fill();
  const uint64_t before = library_->version();
  const LibraryCard card = library_->edit(ModelKind::lora, "animals/Fox2", {.trigger_words = Names{"foxy"}, .preferred_multiplier = 0.7, .rating = 4});
  EXPECT_EQ(card.trigger_words, Names{"foxy"});
  EXPECT_EQ(card.preferred_multiplier, 0.7);
  EXPECT_EQ(card.rating, 4);
  EXPECT_GT(library_->version(), before);
  EXPECT_EQ(found(*library_, "foxy"), Names{"animals/Fox2"});
  EXPECT_EQ(sorted(LibrarySort::rating, true).at(1), "animals/Fox2");
  EXPECT_TRUE(fs::exists(shelf_.loras() / "animals/Fox2.json"));
  const uint64_t after = library_->version();
  library_->refresh();  // what was written is known already
  EXPECT_EQ(library_->version(), after);
  EXPECT_EQ(shelf_.open()->list({.text = "foxy"}).total, 1);
}

TEST_F(LibraryTest, AnEditOfAFileThatIsGoneIsNotFound) {
  fill();
  fs::remove(shelf_.loras() / "Monet.safetensors");
  const std::string before = read_text(shelf_.loras() / "Monet.json");
  EXPECT_NE(error_of([&] { library_->edit(ModelKind::lora, "Monet", {.notes = "n"}); }), "");
  EXPECT_EQ(read_text(shelf_.loras() / "Monet.json"), before);
  library_->refresh();
  EXPECT_FALSE(library_->item(ModelKind::lora, "Monet"));
}

TEST_F(LibraryTest, ALoraFitsTheCheckpointThatItsShapesAreOf) {
  const TinyModel model = tiny_model("sd1");
  write_single_file(shelf_.checkpoints() / "tiny.safetensors", model, file_of(model));
  const int64_t width = model.spec.unet.context;
  const std::string place = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k";
  const auto lora = [&](const std::string& name, int64_t inputs, const std::string& module) {
    const int64_t outputs = model.weights.at("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight").size(0);
    write_safetensors(shelf_.loras() / (name + ".safetensors"),
                      {{module + ".lora_down.weight", torch::zeros({2, inputs})}, {module + ".lora_up.weight", torch::zeros({outputs, 2})}}, {});
  };
  lora("fits", width, place);
  lora("narrow", width + 3, place);
  lora("other", width, "lora_unet_double_blocks_0_img_attn_qkv");
  write_text(shelf_.loras() / "broken.safetensors", "<html>");
  library_ = shelf_.open();
  const LoraFit fits = library_->fits("fits", "tiny");
  EXPECT_TRUE(fits.fits) << fits.reason;
  EXPECT_EQ(fits.matched, 1);
  EXPECT_EQ(fits.total, 1);
  EXPECT_NE(fits.reason.find("1 of 1"), std::string::npos) << fits.reason;
  for (const char* name : {"narrow", "other", "broken"}) {
    const LoraFit fit = library_->fits(name, "tiny");
    EXPECT_FALSE(fit.fits) << name;
    EXPECT_NE(fit.reason, "");
    EXPECT_EQ(fit.reason.find(shelf_.root().string()), std::string::npos) << fit.reason;
  }
  EXPECT_NE(error_of([&] { library_->fits("nobody", "tiny"); }), "");
  EXPECT_NE(error_of([&] { library_->fits("fits", "nothing"); }), "");
}

}  // namespace
}  // namespace lorikeet
