// The measures on pictures whose numbers are known.
#include "painter/measure.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace lorikeet::painter {
namespace {

Picture plain(int side, Rgb rgb) {
  Picture picture{.width_px = side, .height_px = side, .channels = 3, .pixels = {}};
  for (int i = 0; i < side * side; ++i) {
    for (const double v : {rgb.r, rgb.g, rgb.b}) picture.pixels.push_back(static_cast<uint8_t>(v * 255 + 0.5));
  }
  return picture;
}

void paint_box(Picture& picture, int left, int top, int side, Rgb rgb) {
  for (int y = top; y < top + side; ++y) {
    for (int x = left; x < left + side; ++x) {
      auto* p = &picture.pixels[(static_cast<size_t>(y) * picture.width_px + x) * 3];
      p[0] = static_cast<uint8_t>(rgb.r * 255 + 0.5), p[1] = static_cast<uint8_t>(rgb.g * 255 + 0.5),
      p[2] = static_cast<uint8_t>(rgb.b * 255 + 0.5);
    }
  }
}

TEST(Measure, EachColourIsItselfAndNoOther) {
  for (size_t i = 0; i < kColourCount; ++i) {
    const auto m = measure(plain(8, colours()[i].rgb));
    for (size_t j = 0; j < kColourCount; ++j) EXPECT_EQ(m.share[j], i == j ? 1 : 0) << colours()[i].name << " as " << colours()[j].name;
  }
}

TEST(Measure, TheColoursAreClearlyApart) {
  for (size_t i = 0; i < kColourCount; ++i) {
    for (size_t j = 0; j < i; ++j)
      EXPECT_GT(distance(lab(colours()[i].rgb), lab(colours()[j].rgb)), 35) << colours()[i].name << ", " << colours()[j].name;
  }
}

TEST(Measure, LabIsThatOfTheStandard) {
  // sRGB red and blue, from Lindbloom's calculator (D65): 53.24, 80.09, 67.20 and 32.30, 79.19, -107.86.
  const auto red = lab({1, 0, 0}), blue = lab({0, 0, 1});
  EXPECT_NEAR(red[0], 53.24, 0.05);
  EXPECT_NEAR(red[1], 80.09, 0.1);
  EXPECT_NEAR(red[2], 67.20, 0.1);
  EXPECT_NEAR(blue[0], 32.30, 0.05);
  EXPECT_NEAR(blue[1], 79.19, 0.1);
  EXPECT_NEAR(blue[2], -107.86, 0.1);
}

TEST(Measure, ShareAndPlaceOfABox) {
  auto picture = plain(32, colours()[8].rgb);
  paint_box(picture, 16, 0, 16, colours()[0].rgb);  // a red quarter, right above
  const auto m = measure(picture);
  EXPECT_DOUBLE_EQ(m.share[0], 0.25);
  EXPECT_DOUBLE_EQ(m.x[0], 0.75);
  EXPECT_DOUBLE_EQ(m.y[0], 0.25);
  EXPECT_DOUBLE_EQ(m.share[8], 0.75);
  EXPECT_DOUBLE_EQ(m.x[4], 0.5);  // no blue: the middle
}

TEST(Measure, TonesOfPlainPictures) {
  const auto black = measure(plain(4, {0, 0, 0})), white = measure(plain(4, {1, 1, 1})), red = measure(plain(4, {1, 0, 0}));
  EXPECT_EQ(black.dark, 1);
  EXPECT_EQ(black.grey, 1);
  EXPECT_EQ(black.saturated, 0);
  EXPECT_EQ(black.edges, 0);
  EXPECT_EQ(black.blocks, 0.5);
  EXPECT_EQ(white.bright, 1);
  EXPECT_NEAR(white.mean_luma, 1, 1e-12);
  EXPECT_EQ(red.saturated, 1);
  EXPECT_EQ(red.saturation, 1);
  EXPECT_EQ(red.grey, 0);
  EXPECT_EQ(red.navy, 0);
  EXPECT_EQ(black.navy, 0);
  EXPECT_EQ(measure(plain(4, {.09, .25, .55})).navy, 1);
}

TEST(Measure, BlocksShowOnTheirBordersOnly) {
  auto aligned = plain(128, {0, 0, 0}), shifted = aligned;
  for (int y = 0; y < 128; y += 8) {
    for (int x = 0; x < 128; x += 8) {
      paint_box(aligned, x, y, 4, {1, 1, 1});
      paint_box(shifted, x + 2, y + 2, 4, {1, 1, 1});
    }
  }
  EXPECT_EQ(measure(aligned).blocks, 1);
  EXPECT_EQ(measure(shifted).blocks, 0);
}

TEST(Measure, JsonNamesEveryNumber) {
  const auto json = measures_json(measure(plain(4, colours()[0].rgb)));
  EXPECT_NE(json.find("\"share\": {\"red\": 1.0000, \"orange\": 0.0000"), std::string::npos) << json;
  EXPECT_NE(json.find("\"place\": {\"red\": [0.5000, 0.5000]"), std::string::npos) << json;
  EXPECT_TRUE(json.ends_with("\"edges\": 0.0000, \"blocks\": 0.5000}")) << json;
}

TEST(Measure, GreyAndTransparentPicturesAreReadToo) {
  EXPECT_EQ(measure({.width_px = 2, .height_px = 2, .channels = 1, .pixels = std::vector<uint8_t>(4, 255)}).bright, 1);
  EXPECT_EQ(measure({.width_px = 2, .height_px = 2, .channels = 4, .pixels = std::vector<uint8_t>(16, 255)}).bright, 1);
  EXPECT_THROW(measure({.width_px = 1, .height_px = 1, .channels = 3, .pixels = {1, 2, 3}}), Error);
}

}  // namespace
}  // namespace lorikeet::painter
