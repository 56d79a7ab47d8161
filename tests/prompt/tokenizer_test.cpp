#include "prompt/tokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "prompt/golden.h"
#include "prompt/text_repair.h"
#include "prompt/unicode.h"

namespace lorikeet {

namespace {
std::string repaired(std::string_view text) { return unicode::encode(repair_text(unicode::decode(text))); }
}  // namespace

TEST(Tokenizer, GivesTheIdsOfClipsTokenizer) {
  for (const auto& one : read_golden("tokens.json").at("cases")) {
    const auto input = one.at("input").get<std::string>();
    std::vector<int64_t> ids = tokenize(input);
    ids.insert(ids.begin(), kStartToken);
    ids.push_back(kEndToken);
    EXPECT_EQ(ids, one.at("ids").get<std::vector<int64_t>>()) << input;
  }
}

TEST(Tokenizer, KnowsTheTextOfItsTokens) {
  EXPECT_EQ(token_text(2368), "cat ");
  EXPECT_EQ(token_text(kCommaToken), ", ");
  EXPECT_EQ(token_text(kEndToken), "<|endoftext|>");
  for (int64_t id = 256; id < kStartToken; id += 997) {
    const std::string text = token_text(id);
    EXPECT_FALSE(text.empty());
  }
}

// A word that is a token of its own is that token.
TEST(Tokenizer, EveryWordOfTheVocabularyMadeOfLettersIsOneToken) {
  int checked = 0;
  for (int64_t id = 512; id < kStartToken; ++id) {
    const std::string text = token_text(id);
    const bool word = text.back() == ' ' && std::all_of(text.begin(), text.end() - 1, [](char c) { return c >= 'a' && c <= 'z'; });
    if (!word) continue;
    const auto ids = tokenize(text);
    EXPECT_EQ(ids, std::vector<int64_t>{id}) << text;
    ++checked;
  }
  EXPECT_GT(checked, 20'000);
}

TEST(Tokenizer, RepairsTextAsFtfyDoes) {
  EXPECT_EQ(repaired("l’humanitÃ©"), "l'humanité");
  EXPECT_EQ(repaired("sÃ³ &amp;lt; P&EACUTE;REZ"), "só < PÉREZ");
  EXPECT_EQ(repaired("<b> &amp;"), "<b> &amp;");
  EXPECT_EQ(repaired("voilÃ le travail"), "voilà le travail");
  EXPECT_EQ(repaired("â€œ like this â€\xEF\xBF\xBD"), "\" like this \xEF\xBF\xBD");
  EXPECT_EQ(repaired("\x1B[36;44mblue\x1B[0m"), "blue");
  EXPECT_EQ(repaired("ＬＯＵＤ　ＮＯＩＳＥＳ"), "LOUD NOISES");
  EXPECT_EQ(repaired("a\r\nb\xE2\x80\xA8"
                     "c"),
            "a\nb\nc");
}

TEST(Tokenizer, TakesAHundredThousandCharacters) {
  std::string marks, amps = "&";
  for (int i = 0; i < 50'000; ++i) marks += i % 2 ? "\xCC\x80" : "\xCC\xA3";  // combining marks of two classes
  for (int i = 0; i < 25'000; ++i) amps += "amp;";
  std::string cats;
  for (int i = 0; i < 25'000; ++i) cats += "cat ";
  for (const auto& text : {cats, std::string(100'000, 'a'), marks, amps, std::string(100'000, '\xFF'), std::string(100'000, '!')}) {
    EXPECT_GT(tokenize(text).size(), 0u);  // quadratic time would be minutes, and CTest's limit its end
  }
}

}  // namespace lorikeet
