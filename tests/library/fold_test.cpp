#include "library/fold.h"

#include <gtest/gtest.h>

namespace lorikeet {
namespace {

TEST(Fold, CaseAccentsAndWidthDoNotMatter) {
  EXPECT_EQ(fold("Café  MONET\n"), "cafe monet");
  EXPECT_EQ(fold("Ｆｏｘ"), "fox");
  EXPECT_EQ(fold("Straße"), "strasse");
  EXPECT_EQ(fold("狐"), "狐");
  EXPECT_EQ(fold(""), "");
  EXPECT_NO_THROW(fold("\xff\xfe fox"));
}

TEST(Fold, NumbersSortByTheirValue) {
  EXPECT_LT(sort_key("fox2"), sort_key("Fox10"));
  EXPECT_LT(sort_key("fox-1.5"), sort_key("fox-1.12"));
  EXPECT_LT(sort_key("a"), sort_key("B"));
  EXPECT_EQ(sort_key("v007"), sort_key("V7"));
  EXPECT_LT(sort_key("1"), sort_key("123456789012345678901234567890"));
}

TEST(SearchWords, AreSplitAtBlanksAndKeptWithinQuotes) {
  using Words = std::vector<SearchWord>;
  EXPECT_EQ(search_words("  Red   fox "), (Words{{"red", false}, {"fox", false}}));
  EXPECT_EQ(search_words("\"red fox\" -Anime"), (Words{{"red fox", false}, {"anime", true}}));
  EXPECT_EQ(search_words("-\"red fox\""), (Words{{"red fox", true}}));
  EXPECT_EQ(search_words("5\" - a"), (Words{{"5\"", false}, {"-", false}, {"a", false}}));
  EXPECT_EQ(search_words("\"open"), (Words{{"\"open", false}}));
  EXPECT_TRUE(search_words(" \t\"\" ").empty());
}

}  // namespace
}  // namespace lorikeet
