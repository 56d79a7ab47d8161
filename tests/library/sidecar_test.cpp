#include "library/sidecar.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "library/html_text.h"
#include "shelf.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;
using namespace lorikeet::testing;
using Words = std::vector<std::string>;

class Sidecars : public ::testing::Test {
 protected:
  Sidecar read() const { return read_sidecars(find()); }
  SidecarFiles find() const { return find_sidecars(model(), read_folder_names(folder_.path())); }
  fs::path model() const { return folder_ / "fox.safetensors"; }
  void write(const std::string& ending, const std::string& text) const { write_text(folder_ / ("fox" + ending), text); }
  nlohmann::json card() const { return nlohmann::json::parse(read_text(folder_ / "fox.json")); }
  ScratchFolder folder_;
};

TEST_F(Sidecars, WithoutAnyNothingIsTold) {
  const Sidecar sidecar = read();
  EXPECT_TRUE(sidecar.description.empty() && !sidecar.chosen_words && !sidecar.preferred_multiplier && sidecar.faults.empty());
  EXPECT_EQ(sidecar.card_json, "{}");
  EXPECT_EQ(find().stamp, "");
}

TEST_F(Sidecars, A1111sCardIsRead) {
  write(".json", R"({"description": "a fox", "sd version": "SD1", "activation text": "foxy, red  fox, foxy", "preferred weight": 0.75,
                     "negative text": "cat", "notes": "n", "lorikeet": {"favourite": true, "rating": 4}})");
  const Sidecar sidecar = read();
  EXPECT_EQ(sidecar.description, "a fox");
  EXPECT_EQ(sidecar.sd_version, "SD1");
  EXPECT_EQ(sidecar.chosen_words, (Words{"foxy", "red  fox"}));
  EXPECT_EQ(sidecar.preferred_multiplier, 0.75);
  EXPECT_EQ(sidecar.negative_text, "cat");
  EXPECT_EQ(sidecar.notes, "n");
  EXPECT_EQ(sidecar.favourite, true);
  EXPECT_EQ(sidecar.rating, 4);
}

TEST_F(Sidecars, A1111sEmptyFieldsTellNothing) {
  write(".json", R"({"description": "", "sd version": "Unknown", "activation text": " ", "preferred weight": 0, "negative text": ""})");
  write(".civitai.info", R"({"trainedWords": ["foxy"], "baseModel": "SD 1.5"})");
  const Sidecar sidecar = read();
  EXPECT_FALSE(sidecar.chosen_words || sidecar.preferred_multiplier);
  EXPECT_EQ(sidecar.sd_version, "");
  EXPECT_EQ(sidecar.trained_words, Words{"foxy"});
}

TEST_F(Sidecars, CivitaisAnswerIsRead) {
  write(".civitai.info", R"({"trainedWords": ["foxy, red", "snow"], "baseModel": "SDXL 1.0", "description": "<p>v2</p>",
                             "model": {"name": "Fox &amp; co", "description": "<p>A <b>fox</b>.</p><p>1 &lt; 2</p>", "tags": ["animal", "fox"]}})");
  const Sidecar sidecar = read();
  EXPECT_EQ(sidecar.title, "Fox &amp; co");
  EXPECT_EQ(sidecar.trained_words, (Words{"foxy", "red", "snow"}));
  EXPECT_EQ(sidecar.base_model, "SDXL 1.0");
  EXPECT_EQ(sidecar.description, "A fox.\n1 < 2");
  EXPECT_EQ(sidecar.tags, (Words{"animal", "fox"}));
}

TEST_F(Sidecars, TheLoraManagersEntryIsReadAndACardGoesBefore) {
  write(".metadata.json", R"({"model_name": "Fox", "base_model": "Pony", "notes": "theirs", "favorite": true, "tags": ["a"], "modelDescription": "long",
                              "usage_tips": "{\"strength\": 0.6}", "civitai": {"trainedWords": ["foxy"]}})");
  Sidecar sidecar = read();
  EXPECT_EQ(sidecar.title, "Fox");
  EXPECT_EQ(sidecar.base_model, "Pony");
  EXPECT_EQ(sidecar.notes, "theirs");
  EXPECT_EQ(sidecar.favourite, true);
  EXPECT_EQ(sidecar.preferred_multiplier, 0.6);
  EXPECT_EQ(sidecar.trained_words, Words{"foxy"});
  write(".json", R"({"notes": "mine", "preferred weight": 1.5, "lorikeet": {"favourite": false}})");
  sidecar = read();
  EXPECT_EQ(sidecar.notes, "mine");
  EXPECT_EQ(sidecar.preferred_multiplier, 1.5);
  EXPECT_EQ(sidecar.favourite, false);
}

TEST_F(Sidecars, ATextFileIsTheDescriptionWhereNothingElseIs) {
  write(".txt", " a fox\n");
  EXPECT_EQ(read().description, "a fox");
  write(".description.txt", "better");
  EXPECT_EQ(read().description, "better");
  write(".json", R"({"description": "best"})");
  EXPECT_EQ(read().description, "best");
}

TEST_F(Sidecars, ChosenPreviewsGoBeforeOthersAndThePlainNameLast) {
  write(".webp", "x");
  EXPECT_EQ(find().preview.filename(), "fox.webp");
  write(".png", "x");
  EXPECT_EQ(find().preview.filename(), "fox.png");
  write(".preview.gif", "x");
  EXPECT_EQ(find().preview.filename(), "fox.preview.gif");
  EXPECT_GT(find().preview_version, 0);
  EXPECT_EQ(find_sidecars(folder_ / "fo.safetensors", read_folder_names(folder_.path())).preview, fs::path());
}

TEST_F(Sidecars, TheStampChangesWithEachOfTheFiles) {
  std::set<std::string> stamps{find().stamp};
  for (const char* ending : {".json", ".civitai.info", ".metadata.json", ".txt", ".png"}) {
    write(ending, "{}");
    EXPECT_TRUE(stamps.insert(find().stamp).second) << ending;
  }
  write(".json", R"({"a": 1})");
  EXPECT_TRUE(stamps.insert(find().stamp).second);
}

TEST_F(Sidecars, DamagedOnesAreNamedAndTheOthersStillRead) {
  write(".civitai.info", R"({"trainedWords": ["foxy"]})");
  for (const std::string& damaged :
       {std::string("{"), std::string(), std::string("[1]"), std::string("null"), std::string("\xff\xfe{}"), std::string(100000, '[')}) {
    write(".json", damaged);
    const Sidecar sidecar = read();
    ASSERT_EQ(sidecar.faults.size(), 1u) << damaged.substr(0, 20);
    EXPECT_NE(sidecar.faults[0].find("fox.json"), std::string::npos) << sidecar.faults[0];
    EXPECT_EQ(sidecar.trained_words, Words{"foxy"});
  }
}

TEST_F(Sidecars, ValuesOfWrongTypesAreLeftOut) {
  write(".json", R"({"description": 5, "activation text": ["a"], "preferred weight": "0.7", "notes": null, "lorikeet": [1], "negative text": {}})");
  write(".civitai.info", R"({"trainedWords": "foxy", "model": [], "baseModel": 1.5})");
  write(".metadata.json", R"({"usage_tips": "{\"strength\": ", "tags": {"a": 1}, "civitai": "x", "favorite": 1})");
  const Sidecar sidecar = read();
  EXPECT_TRUE(sidecar.faults.empty());
  EXPECT_TRUE(sidecar.description.empty() && sidecar.notes.empty() && sidecar.tags.empty() && sidecar.trained_words.empty());
  EXPECT_FALSE(sidecar.chosen_words || sidecar.preferred_multiplier || sidecar.favourite || sidecar.rating);
  for (const char* weight : {"1e300", "-1e300", "101", "1e999"}) {
    write(".json", std::string(R"({"preferred weight": )") + weight + "}");
    EXPECT_FALSE(read().preferred_multiplier) << weight;
  }
  for (const char* rating : {"0", "6", "-1", "2.5", "99999999999999999999"}) {
    write(".json", std::string(R"({"lorikeet": {"rating": )") + rating + "}}");
    EXPECT_FALSE(read().rating) << rating;
  }
}

// Whatever a file holds, reading it neither throws nor crashes, and what it gives is valid.
TEST_F(Sidecars, ChangedBytesAreNoHarm) {
  const std::string whole =
      R"({"description": "a fox", "activation text": "foxy, red", "preferred weight": 0.75, "lorikeet": {"favourite": true, "rating": 4},
          "trainedWords": ["foxy"], "model": {"name": "Fox", "tags": ["a"]}, "usage_tips": "{\"strength\": 0.6}", "civitai": {"baseModel": "Pony"}})";
  std::mt19937 random(7);
  for (int i = 0; i < 400; ++i) {
    for (const char* ending : {".json", ".civitai.info", ".metadata.json", ".txt"}) {
      std::string changed = whole;
      for (int change = 0; change < 3; ++change) {
        const size_t at = random() % changed.size();
        if (random() % 3 == 0)
          changed.erase(at, random() % 20);
        else
          changed[at] = static_cast<char>(random());
        if (changed.empty()) changed = "{";
      }
      write(ending, changed);
    }
    Sidecar sidecar;
    ASSERT_NO_THROW(sidecar = read());
    EXPECT_TRUE(nlohmann::json::accept(sidecar.card_json));
    EXPECT_TRUE(!sidecar.rating || (*sidecar.rating >= 1 && *sidecar.rating <= 5));
    EXPECT_TRUE(!sidecar.preferred_multiplier || std::abs(*sidecar.preferred_multiplier) <= 100);
  }
}

TEST_F(Sidecars, AnEditIsWrittenAsA1111DoesAndReadBack) {
  LibraryEdit edit;
  edit.trigger_words = Words{"foxy", "red fox, snow "};
  edit.preferred_multiplier = 0.8;
  edit.negative_text = "cat";
  edit.description = "ein Füchslein";
  edit.notes = "n";
  edit.sd_version = "SD1";
  edit.favourite = true;
  edit.rating = 5;
  write_card_file(model(), edit);
  const auto json = card();
  EXPECT_EQ(json["activation text"], "foxy, red fox, snow");
  EXPECT_EQ(json["preferred weight"], 0.8);
  EXPECT_EQ(json["negative text"], "cat");
  EXPECT_EQ(json["description"], "ein Füchslein");
  EXPECT_EQ(json["notes"], "n");
  EXPECT_EQ(json["sd version"], "SD1");
  const Sidecar sidecar = read();
  EXPECT_EQ(sidecar.chosen_words, (Words{"foxy", "red fox", "snow"}));
  EXPECT_EQ(sidecar.favourite, true);
  EXPECT_EQ(sidecar.rating, 5);
}

TEST_F(Sidecars, AnEditKeepsWhatItDoesNotKnowAndTheOrderOfTheKeys) {
  write(".json", R"({"zebra": {"b": [1, 2.5, null], "a": "x"}, "notes": "old", "apple": 12345678901234567, "lorikeet": {"other": 1}})");
  LibraryEdit edit;
  edit.notes = "new";
  edit.rating = 3;
  write_card_file(model(), edit);
  const auto json = nlohmann::ordered_json::parse(read_text(folder_ / "fox.json"));
  EXPECT_EQ(json.dump(), R"({"zebra":{"b":[1,2.5,null],"a":"x"},"notes":"new","apple":12345678901234567,"lorikeet":{"other":1,"rating":3}})");
  edit = {};
  edit.rating = 0;
  write_card_file(model(), edit);
  EXPECT_EQ(card()["lorikeet"], (nlohmann::json{{"other", 1}}));
}

TEST_F(Sidecars, TriggerWordsThatWereTakenAwayStayAway) {
  write(".civitai.info", R"({"trainedWords": ["foxy"]})");
  LibraryEdit edit;
  edit.trigger_words.emplace();
  write_card_file(model(), edit);
  ASSERT_TRUE(read().chosen_words);
  EXPECT_TRUE(read().chosen_words->empty());
  edit.trigger_words = Words{"red"};
  write_card_file(model(), edit);
  EXPECT_EQ(read().chosen_words, Words{"red"});
  EXPECT_FALSE(card().contains("lorikeet"));
}

TEST_F(Sidecars, ADamagedCardIsNotWrittenOver) {
  for (const char* damaged : {"{\"notes\": ", "[]", "5"}) {
    write(".json", damaged);
    LibraryEdit edit;
    edit.notes = "new";
    EXPECT_NE(error_of([&] { write_card_file(model(), edit); }).find("fox.json"), std::string::npos);
    EXPECT_EQ(read_text(folder_ / "fox.json"), damaged);
  }
}

TEST_F(Sidecars, ValuesOutOfRangeAreRefusedAndNothingIsWritten) {
  const auto refused = [&](auto&& change) {
    LibraryEdit edit;
    change(edit);
    return !error_of([&] { write_card_file(model(), edit); }).empty() && !fs::exists(folder_ / "fox.json");
  };
  EXPECT_TRUE(refused([](LibraryEdit& edit) { edit.preferred_multiplier = 100.5; }));
  EXPECT_TRUE(refused([](LibraryEdit& edit) { edit.preferred_multiplier = std::nan(""); }));
  EXPECT_TRUE(refused([](LibraryEdit& edit) { edit.rating = 6; }));
  EXPECT_TRUE(refused([](LibraryEdit& edit) { edit.rating = -1; }));
  EXPECT_TRUE(refused([](LibraryEdit& edit) { edit.notes = std::string(70000, 'x'); }));
  EXPECT_TRUE(refused([](LibraryEdit& edit) { edit.description = "\xff"; }));
  EXPECT_TRUE(refused([](LibraryEdit& edit) { edit.trigger_words = Words(70000, "x"); }));
}

TEST_F(Sidecars, NoTemporaryFileIsLeft) {
  LibraryEdit edit;
  edit.notes = "n";
  write_card_file(model(), edit);
  size_t count = 0;
  for (const auto& entry : fs::directory_iterator(folder_.path())) count += entry.path().filename() == "fox.json" ? 1 : 100;
  EXPECT_EQ(count, 1u);
}

TEST(HtmlText, TagsAndEntitiesBecomeText) {
  EXPECT_EQ(html_text("plain, 1 < 2 and 3 > 2"), "plain, 1 < 2 and 3 > 2");
  EXPECT_EQ(html_text("<p>a</p><p>b<br/>c</p><ul><li>d</li></ul>"), "a\nb\nc\nd");
  EXPECT_EQ(html_text("&lt;script&gt; &amp;lt; &quot;x&quot;&nbsp;&#39;"), "<script> &lt; \"x\" '");
  EXPECT_EQ(html_text("<script>alert(1)</script>x<"), "alert(1)x<");
}

}  // namespace
}  // namespace lorikeet
