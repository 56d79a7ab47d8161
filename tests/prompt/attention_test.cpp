#include "prompt/attention.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "prompt/golden.h"

namespace lorikeet {

TEST(Attention, GivesTheTextsAndWeightsOfTheWebui) {
  for (const auto& one : read_golden("attention.json").at("cases")) {
    const auto input = one.at("input").get<std::string>();
    SCOPED_TRACE(input);
    if (one.contains("error")) {
      EXPECT_THROW(parse_attention(input), Error);
      continue;
    }
    const auto parsed = parse_attention(input);
    ASSERT_EQ(parsed.size(), one.at("result").size());
    for (size_t i = 0; i < parsed.size(); ++i) {
      EXPECT_EQ(parsed[i].text, one["result"][i][0].get<std::string>());
      EXPECT_EQ(parsed[i].weight, one["result"][i][1].get<double>());
    }
  }
}

TEST(Attention, AWeightThatIsNoNumberIsBadInputThatShowsIt) {
  try {
    parse_attention("a (cat:1.2.3) b");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::bad_input);
    EXPECT_NE(error.message().find(":1.2.3)"), std::string::npos);
  }
}

TEST(Attention, ABreakInBracketsIsAWord) {
  EXPECT_TRUE(parse_attention("a BREAK b")[1].is_break());
  for (const auto& text : parse_attention("(a BREAK b)")) EXPECT_FALSE(text.is_break());
}

TEST(Attention, TakesDeepNestingWithoutRecursion) {
  const std::string open(100'000, '('), close(100'000, ')');
  EXPECT_EQ(parse_attention(open + "a" + close).size(), 1U);
  EXPECT_EQ(parse_attention(open + "a").size(), 1U);
  EXPECT_EQ(parse_attention(close + "a").size(), 1U);
}

}  // namespace lorikeet
