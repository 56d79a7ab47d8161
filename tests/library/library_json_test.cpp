#include "library/library_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "shelf.h"

namespace lorikeet {
namespace {

using lorikeet::testing::error_of;
using nlohmann::json;

LibraryCard full_card() {
  LibraryCard card;
  card.kind = ModelKind::embedding;
  card.name = "a/fox";
  card.file_name = "fox.pt";
  card.folder = "a";
  card.title = "Fox";
  card.alias = "renard";
  card.family = "sd1";
  card.kinds = {"lora", "lokr"};
  card.rank = 8;
  card.size_bytes = 5000000000;
  card.modified = 7;
  card.added = 6;
  card.sha256 = std::string(64, 'a');
  card.autov3 = std::string(64, 'b');
  card.has_preview = true;
  card.preview_version = 1234567890123;
  card.trigger_words = {"x", "y"};
  card.tags = {{"red fox", 3}, {"snow", 1}};
  card.preferred_multiplier = 0.7;
  card.negative_text = "cat";
  card.description = "d";
  card.notes = "n";
  card.favourite = true;
  card.rating = 4;
  card.base_model_claim = "sd_v1";
  card.vectors = 3;
  card.duplicates = 2;
  card.error = "e";
  return card;
}

TEST(LibraryJson, ACardHasTheKeysOfTheApi) {
  const json object = json_of(full_card());
  EXPECT_EQ(object["kind"], "embeddings");
  EXPECT_EQ(object["autov2"], std::string(10, 'a'));
  EXPECT_EQ(object["autov3"], std::string(12, 'b'));
  EXPECT_EQ(object["tags"][0], (json{{"tag", "red fox"}, {"count", 3}}));
  const json empty = json_of(LibraryCard{});
  for (const char* key : {"rank", "sha256", "autov2", "autov3", "preferred_multiplier", "rating"}) EXPECT_TRUE(empty.at(key).is_null()) << key;
  EXPECT_FALSE(empty.contains("vectors") || empty.contains("error"));
  for (const auto& [key, value] : empty.items()) EXPECT_TRUE(object.contains(key));
}

TEST(LibraryJson, ACardReadBackIsTheSame) {
  for (const LibraryCard& card : {full_card(), LibraryCard{}}) {
    const json object = json_of(card);
    EXPECT_EQ(json_of(card_from_json(object)), object);
  }
  EXPECT_EQ(json_of(card_from_json(json::parse(R"({"name": 5, "tags": [1, {"tag": 2}], "rank": "x", "favourite": 1, "kinds": "lora"})"))).at("name"), "");
  EXPECT_EQ(card_from_json(json(5)).name, "");
}

TEST(LibraryJson, AnEditTakesItsFieldsAndNullForNone) {
  const LibraryEdit edit = edit_from_json(json::parse(
      R"({"trigger_words": ["a", "b"], "preferred_multiplier": null, "notes": "n", "description": null, "favourite": false, "rating": null, "sd_version": "SD1"})"));
  EXPECT_EQ(edit.trigger_words, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(edit.preferred_multiplier, 0);
  EXPECT_EQ(edit.notes, "n");
  EXPECT_EQ(edit.description, "");
  EXPECT_EQ(edit.favourite, false);
  EXPECT_EQ(edit.rating, 0);
  EXPECT_FALSE(edit.negative_text);
}

TEST(LibraryJson, AWrongEditNamesTheField) {
  for (const char* wrong : {R"({"note": "x"})", R"({"notes": 5})", R"({"trigger_words": "a"})", R"({"trigger_words": [1]})", R"({"preferred_multiplier": "1"})",
                            R"({"rating": 2.5})", R"({"rating": 9})", R"({"rating": -1})", R"({"favourite": "yes"})", "[]", "5"})
    EXPECT_NE(error_of([&] { edit_from_json(json::parse(wrong)); }), "") << wrong;
  EXPECT_NE(error_of([] { edit_from_json(json{{"note", "x"}}); }).find("notes"), std::string::npos);
}

TEST(LibraryJson, AQueryTakesItsParameters) {
  const LibraryQuery query = query_from_parameters(
      ModelKind::vae, {{"query", "fox"}, {"folder", "a"}, {"family", "sd1"}, {"tag", "t"}, {"favourite", "true"}, {"sort", "size"}, {"order", "desc"}, {"offset", "7"}, {"limit", "5"}});
  EXPECT_EQ(query.kind, ModelKind::vae);
  EXPECT_EQ(query.text, "fox");
  EXPECT_EQ(query.folder, "a");
  EXPECT_TRUE(query.favourites && query.descending);
  EXPECT_EQ(query.sort, LibrarySort::size);
  EXPECT_EQ(query.offset, 7);
  EXPECT_EQ(query.limit, 5);
  for (const auto& [key, value] : std::map<std::string, std::string>{
           {"sort", "colour"}, {"order", "up"}, {"offset", "x"}, {"limit", "1.5"}, {"favourite", "maybe"}, {"page", "1"}})
    EXPECT_NE(error_of([&] { query_from_parameters(ModelKind::lora, {{key, value}}); }), "") << key;
}

TEST(LibraryJson, EveryKindHasItsWord) {
  for (const ModelKind kind : {ModelKind::checkpoint, ModelKind::lora, ModelKind::embedding, ModelKind::vae}) EXPECT_EQ(model_kind_of(plural(kind)), kind);
  EXPECT_FALSE(model_kind_of("lora"));
}

}  // namespace
}  // namespace lorikeet
