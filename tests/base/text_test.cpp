#include "base/text.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace lorikeet {

TEST(Text, NumbersMustBeWholeAndFinite) {
  EXPECT_EQ(parse_double("1.5"), 1.5);
  EXPECT_EQ(parse_double("+2"), 2.0);
  EXPECT_EQ(parse_double("-.5"), -.5);
  for (const char* bad : {"", "x", "1.5x", "nan", "inf", "1 ", "0x10"}) EXPECT_FALSE(parse_double(bad)) << bad;
  EXPECT_EQ(parse_int("-12"), -12);
  EXPECT_FALSE(parse_int("1.0"));
}

TEST(Text, NumbersAreWrittenShort) {
  EXPECT_EQ(format_number(7), "7");
  EXPECT_EQ(format_number(0.75), "0.75");
  EXPECT_EQ(format_number(-0.1), "-0.1");
  EXPECT_EQ(format_number(0.0001), "0.0001");
  EXPECT_EQ(format_number(0.00005), "5e-05");
  EXPECT_EQ(format_number(123456.7), "123456.7");
  EXPECT_EQ(format_number(2.5e22), "2.5e+22");
}

TEST(Text, NearNamesFindTyposAndParts) {
  const std::vector<std::string> names{"monet", "manet", "pixel_art", "sketch"};
  EXPECT_EQ(near_names("mone", names).front(), "monet");
  EXPECT_EQ(near_names("pixel", names).front(), "pixel_art");
  EXPECT_TRUE(near_names("zzzzzz", names).empty());
  EXPECT_EQ(did_you_mean("Sketh", names), "did you mean sketch?");
}

TEST(Text, Utf8IsCheckedStrictly) {
  EXPECT_TRUE(is_valid_utf8("h\xC3\xA9llo \xE2\x82\xAC \xF0\x9F\xA6\x9C"));
  for (const char* bad : {"\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82", "\x80"}) EXPECT_FALSE(is_valid_utf8(bad));
  EXPECT_EQ(valid_utf8("a\xFF" "b"), "a\xEF\xBF\xBD" "b");
}

TEST(Error, TellsMessageContextAndHint) {
  try {
    with_context("while reading LoRA fox.safetensors", [] { throw Error(ErrorKind::bad_input, "12 keys match no layer", "choose an sdxl checkpoint"); });
    FAIL() << "did not throw";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "12 keys match no layer\n  while reading LoRA fox.safetensors\n  hint: choose an sdxl checkpoint");
  }
}

}  // namespace lorikeet
