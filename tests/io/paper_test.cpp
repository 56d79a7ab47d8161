// Drawing with Cairo: what is put down is there, and text is measured and broken into lines.
#include "io/paper.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace lorikeet {
namespace {

std::array<int, 3> pixel(const Picture& picture, int x, int y) {
  const uint8_t* at = &picture.pixels[size_t{3} * (y * picture.width_px + x)];
  return {at[0], at[1], at[2]};
}

TEST(Paper, RectanglesAndPicturesCoverTheirPixelsExactly) {
  Paper paper(20, 10, {0, 0, 1});
  paper.rectangle({2, 3}, 4, 5, {1, 0, 0});
  Picture two{2, 1, 4, {10, 20, 30, 255, 200, 100, 50, 0}};  // opaque, transparent
  paper.picture({10, 5}, 2, 1, two);
  const Picture drawn = paper.finished();
  EXPECT_EQ(drawn.width_px, 20);
  EXPECT_EQ(pixel(drawn, 2, 3), (std::array{255, 0, 0}));
  EXPECT_EQ(pixel(drawn, 5, 7), (std::array{255, 0, 0}));
  EXPECT_EQ(pixel(drawn, 6, 7), (std::array{0, 0, 255}));
  EXPECT_EQ(pixel(drawn, 10, 5), (std::array{10, 20, 30}));
  EXPECT_EQ(pixel(drawn, 11, 5), (std::array{0, 0, 255}));
}

TEST(Paper, AReducedPictureKeepsItsColour) {
  Paper paper(8, 8);
  paper.picture({0, 0}, 8, 8, Picture{64, 64, 1, std::vector<uint8_t>(64 * 64, 77)});
  for (const int place : {0, 4, 7}) EXPECT_EQ(pixel(paper.finished(), place, place), (std::array{77, 77, 77}));
}

TEST(Paper, TextIsDrawnWhereItIsAligned) {
  const auto dark = [](const Picture& picture, int from, int to) {
    int count = 0;
    for (int y = 0; y < picture.height_px; ++y)
      for (int x = from; x < to; ++x) count += pixel(picture, x, y)[0] < 128;
    return count;
  };
  Paper left(200, 20), right(200, 20);
  left.text({0, 0}, "ÄÖ 猫 Ж", {.size_px = 14});
  right.text({200, 0}, "ÄÖ Ж", {.size_px = 14}, Align::right);
  EXPECT_GT(dark(left.finished(), 0, 80), 30);
  EXPECT_EQ(dark(left.finished(), 120, 200), 0);
  EXPECT_GT(dark(right.finished(), 120, 200), 30);
  EXPECT_EQ(dark(right.finished(), 0, 80), 0);
  EXPECT_NO_THROW(left.text({0, 0}, "\xff\x01 no UTF-8", {}));
}

TEST(Paper, LongTextIsBrokenBetweenWordsThenInsideThenCut) {
  const Lettering lettering{.size_px = 12};
  const double width = text_width("a red house", lettering);
  EXPECT_EQ(wrapped_text("a red house in a meadow", width, lettering, 3), (std::vector<std::string>{"a red house", "in a", "meadow"}));
  for (const auto& line : wrapped_text("ßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßß", 50, lettering, 9))
    EXPECT_LE(text_width(line, lettering), 50);
  const auto cut = wrapped_text("a red house in a very wide meadow", width, lettering, 1);
  ASSERT_EQ(cut.size(), 1u);
  EXPECT_TRUE(cut[0].ends_with("…")) << cut[0];
  EXPECT_LE(text_width(cut[0], lettering), width);
  EXPECT_EQ(wrapped_text("", 10, lettering, 3), std::vector<std::string>{""});
}

TEST(Paper, ASizeThatCannotBeIsRefused) {
  EXPECT_THROW(Paper(0, 5), Error);
  EXPECT_THROW(Paper(5, 20000), Error);
}

}  // namespace
}  // namespace lorikeet
