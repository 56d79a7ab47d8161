#include "training/captions.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/text.h"
#include "training/random.h"

namespace lorikeet {

namespace {
using std::string_literals::operator""s;

uint64_t draw(uint64_t number) { return random_bits(7, "test", number); }

std::vector<std::string> sorted(std::vector<std::string> tags) {
  std::sort(tags.begin(), tags.end());
  return tags;
}

const std::string kTags = "sks robot, red, blue, green, yellow, black";
}  // namespace

TEST(Captions, AreReadInEveryEncoding) {
  const std::string wanted = "ein K\u00e4fer, \u65e5\u672c";
  EXPECT_EQ(decode_text(wanted).text, wanted);
  EXPECT_EQ(decode_text("\xEF\xBB\xBF" + wanted).text, wanted);
  EXPECT_EQ(decode_text("\xFF\xFE"
                        "a\0\xE4\0"s +
                        "\xE5\x65"s)
                .text,
            "a\u00e4\u65e5");
  EXPECT_EQ(decode_text("\xFE\xFF"
                        "\0a\0\xE4"s +
                        "\x65\xE5"s)
                .text,
            "a\u00e4\u65e5");
  EXPECT_EQ(decode_text("r\0e\0d\0"s).text, "red");
  EXPECT_EQ(decode_text("\0r\0e\0d"s).text, "red");
  EXPECT_EQ(decode_text("r\0e\0d\0"s).encoding, "UTF-16");
  EXPECT_EQ(decode_text("K\xE4"
                        "fer")
                .text,
            "K\u00e4fer");
  EXPECT_EQ(decode_text("K\xE4"
                        "fer")
                .encoding,
            "Latin-1");
  EXPECT_EQ(decode_text("").text, "");
}

TEST(Captions, OfAnyBytesAreTextAfterAll) {
  for (uint64_t i = 0; i < 3000; ++i) {
    std::string bytes;
    for (uint64_t k = 0; k < i % 23; ++k)
      bytes += static_cast<char>(random_bits(i, "bytes", k) % (i % 3 == 0 ? 256 : 3) * (i % 2 == 0 ? 127 : 1));
    EXPECT_TRUE(is_valid_utf8(decode_text(bytes).text));
    EXPECT_EQ(split_tags(decode_text(bytes).text).empty(), one_line(replace_all(decode_text(bytes).text, ",", " ")).empty());
  }
}

TEST(Captions, LinesOfAFileBecomeOne) {
  EXPECT_EQ(one_line("  a red house,\r\n\r\n  on a hill \n"), "a red house, on a hill");
  EXPECT_EQ(one_line("\n"), "");
}

TEST(Captions, TheTriggerIsFoundAsWholeWordsOnly) {
  EXPECT_TRUE(has_words("a photo of SKS Robot, standing", "sks robot"));
  EXPECT_TRUE(has_words("sks robot", "sks robot"));
  EXPECT_FALSE(has_words("sks robots", "sks robot"));
  EXPECT_FALSE(has_words("masks robot", "sks robot"));
  EXPECT_TRUE(has_words("masks and a sks", "sks"));  // the second one
  EXPECT_FALSE(has_words("\u00e4sks", "sks"));
  EXPECT_TRUE(has_words("a<robot>b", "<robot>"));
  EXPECT_TRUE(has_words("anything", ""));
}

TEST(Captions, TheTriggerGoesInFrontWhereItIsMissing) {
  EXPECT_EQ(with_words_in_front("sks robot", "a street"), "sks robot, a street");
  EXPECT_EQ(with_words_in_front("sks robot", "a sks robot"), "a sks robot");
  EXPECT_EQ(with_words_in_front("sks robot", ""), "sks robot");
  EXPECT_EQ(with_words_in_front("", "a street"), "a street");
}

TEST(Captions, StayAsTheyAreWhenNothingIsAskedFor) {
  const std::string odd = " a ,b,,  c";
  EXPECT_EQ(varied_caption(odd, {}, draw(0)), odd);
  EXPECT_EQ(caption_variants(odd, {}, 3, 8), std::vector<std::string>{odd});
}

TEST(Captions, ShufflingKeepsTheFirstTagsAndLosesNone) {
  const CaptionRules rules{.shuffle_tags = true, .keep_tags = 2};
  std::set<std::string> seen;
  for (uint64_t i = 0; i < 200; ++i) {
    const std::string text = varied_caption(kTags, rules, draw(i));
    const auto tags = split_tags(text);
    EXPECT_EQ(tags[0], "sks robot");
    EXPECT_EQ(tags[1], "red");
    EXPECT_EQ(sorted(tags), sorted(split_tags(kTags)));
    EXPECT_EQ(text, varied_caption(kTags, rules, draw(i)));
    seen.insert(text);
  }
  EXPECT_EQ(
      seen.size(),
      24U);  // all orders of four tags: the chance to miss one of them in 200 draws is 24 · (23/24)^200 = 0.5 %, and the draws are fixed
}

TEST(Captions, DroppingTagsSparesTheFirstOnes) {
  const CaptionRules rules{.keep_tags = 1, .tag_dropout = 0.25};
  int64_t kept = 0;
  for (uint64_t i = 0; i < 4000; ++i) {
    const auto tags = split_tags(varied_caption(kTags, rules, draw(i)));
    EXPECT_EQ(tags[0], "sks robot");
    EXPECT_TRUE(std::is_sorted(tags.begin() + 1, tags.end(), [](const auto& a, const auto& b) { return kTags.find(a) < kTags.find(b); }));
    kept += static_cast<int64_t>(tags.size()) - 1;
  }
  EXPECT_NEAR(static_cast<double>(kept) / 20000, 0.75, 0.015);  // five deviations of a mean of 20,000 draws
  const CaptionRules all{.keep_tags = 0, .tag_dropout = 1};
  EXPECT_EQ(varied_caption(kTags, all, draw(0)), "");
}

TEST(Captions, AreDroppedAsAWholeAsOftenAsAsked) {
  const CaptionRules rules{.shuffle_tags = true, .caption_dropout = 0.1};
  int dropped = 0;
  for (uint64_t i = 0; i < 10000; ++i) dropped += varied_caption(kTags, rules, draw(i)).empty();
  EXPECT_NEAR(dropped, 1000, 150);  // five deviations of a binomial
}

TEST(Captions, CachedVariantsAreAllThatDrawsTake) {
  const CaptionRules rules{.shuffle_tags = true, .keep_tags = 1, .caption_dropout = 0.1, .tag_dropout = 0.1};
  const auto variants = caption_variants(kTags, rules, 3, 8);
  EXPECT_EQ(variants.size(), 8U);
  std::set<std::string> seen;
  for (uint64_t i = 0; i < 500; ++i) {
    const std::string text = varied_caption(kTags, rules, draw(i), 3, 8);
    EXPECT_TRUE(text.empty() || std::find(variants.begin(), variants.end(), text) != variants.end()) << text;
    seen.insert(text);
  }
  EXPECT_EQ(seen.size(), 9U);
  EXPECT_NE(caption_variants(kTags, rules, 4, 8), variants);
}

TEST(Captions, TagsAreCountedAsKohyaDoes) {
  const std::vector<std::string> captions{"Red, blue ,", "red,, green"};
  const std::map<std::string, int64_t> wanted{{"red", 2}, {"blue", 1}, {"green", 1}};
  EXPECT_EQ(tag_frequency(captions), wanted);
}

}  // namespace lorikeet
