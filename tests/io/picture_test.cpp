// Pictures: what is written is read back, what is damaged gives one Error.
#include "io/picture.h"

#include <gtest/gtest.h>
#include <png.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "base/error.h"
#include "io/picture_base64.h"
#include "io/picture_samples.h"
#include "io/picture_text.h"

namespace lorikeet {
int fuzz_picture(const uint8_t* data, size_t size);
}

using namespace lorikeet;
using namespace lorikeet::testing;
namespace fs = std::filesystem;

namespace {
double mean_difference(const Picture& a, const Picture& b) {
  EXPECT_EQ(a.pixels.size(), b.pixels.size());
  double sum = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i) sum += std::abs(a.pixels[i] - b.pixels[i]);
  return sum / static_cast<double>(a.pixels.size());
}

const PictureText kText{{"parameters", "a cat, \"black\"\nNegative prompt: dog\nSteps: 20"}};
const PictureText kUnicodeText{{"parameters", "ein Käfer, 日本語, 🦜"}};

ErrorKind kind_of_decoding(const Bytes& bytes) {
  try {
    decode_picture(bytes);
  } catch (const Error& error) {
    EXPECT_FALSE(error.message().empty());
    return error.kind();
  }
  return ErrorKind::internal;
}

uint32_t big32(const Bytes& b, size_t at) { return uint32_t{b[at]} << 24 | b[at + 1] << 16 | b[at + 2] << 8 | b[at + 3]; }

bool has_chunk(const Bytes& png, std::string_view type) {
  for (size_t at = 8; at + 12 <= png.size(); at += 12 + big32(png, at))
    if (std::memcmp(&png[at + 4], type.data(), 4) == 0) return true;
  return false;
}

}  // namespace

TEST(Picture, PngGivesBackEveryPixelAndText) {
  for (const int channels : {1, 3, 4}) {
    const Picture picture = gradient(37, 19, channels);
    const PictureFile read = decode_picture(encode_picture(PictureFormat::png, picture, kText));
    EXPECT_EQ(read.picture, picture);
    EXPECT_EQ(read.text, kText);
  }
}

TEST(Picture, PngKeepsLatin1TextInTextChunksAndOtherTextInInternationalOnes) {
  const Picture picture = gradient(8, 8, 3);
  const Bytes latin = encode_picture(PictureFormat::png, picture, {{"parameters", "Käfer"}});
  EXPECT_TRUE(has_chunk(latin, "tEXt"));
  EXPECT_FALSE(has_chunk(latin, "iTXt"));
  EXPECT_EQ(text_named(decode_picture_text(latin), "parameters"), "Käfer");
  const Bytes other = encode_picture(PictureFormat::png, picture, kUnicodeText);
  EXPECT_TRUE(has_chunk(other, "iTXt"));
  EXPECT_FALSE(has_chunk(other, "tEXt"));
  EXPECT_EQ(decode_picture_text(other), kUnicodeText);
}

TEST(Picture, PngOfOtherKindsBecomesEightBitGrayRgbOrRgba) {
  const PictureFile palette = decode_picture(make_png({PNG_COLOR_TYPE_PALETTE, 2, false}, 1, {0b00011011, 0b11100100}));
  EXPECT_EQ(palette.picture.channels, 3);
  EXPECT_EQ(palette.picture.pixels, (Bytes{1, 2, 3, 10, 20, 30, 100, 110, 120, 255, 0, 7, 255, 0, 7, 100, 110, 120, 10, 20, 30, 1, 2, 3}));
  const PictureFile alpha = decode_picture(make_png({PNG_COLOR_TYPE_PALETTE, 2, true}, 1, {0b00011011, 0}));
  EXPECT_EQ(alpha.picture.channels, 4);
  EXPECT_EQ(alpha.picture.pixels[3], 0);
  EXPECT_EQ(alpha.picture.pixels[7], 128);
  EXPECT_EQ(alpha.picture.pixels[11], 255);
  Bytes sixteen;
  for (int i = 0; i < 8; ++i) sixteen.insert(sixteen.end(), {static_cast<uint8_t>(i * 30), 0});
  const PictureFile gray = decode_picture(make_png({PNG_COLOR_TYPE_GRAY, 16, false}, 8, sixteen));
  EXPECT_EQ(gray.picture.channels, 1);
  EXPECT_NEAR(gray.picture.pixels[5], 150, 1);  // 150 * 256 / 65535 * 255 = 149.4
  const PictureFile gray_alpha =
      decode_picture(make_png({PNG_COLOR_TYPE_GRAY_ALPHA, 8, false}, 8, {9, 1, 9, 2, 9, 3, 9, 4, 7, 5, 7, 6, 7, 7, 7, 8}));
  EXPECT_EQ(gray_alpha.picture.channels, 4);
  EXPECT_EQ(gray_alpha.picture.pixels[7], 2);
}

TEST(Picture, JpegAndWebpComeBackNearAndWithTheirText) {
  for (const PictureFormat format : {PictureFormat::jpeg, PictureFormat::webp}) {
    const Picture picture = gradient(48, 32, 3);
    const PictureFile read = decode_picture(encode_picture(format, picture, kUnicodeText, 95));
    EXPECT_LT(mean_difference(read.picture, picture), 4) << name(format);  // quality 95 with halved colour resolution
    EXPECT_EQ(read.text, kUnicodeText) << name(format);
    EXPECT_EQ(decode_picture_text(encode_picture(format, picture, kText)), kText);
    EXPECT_TRUE(decode_picture_text(encode_picture(format, picture)).empty());
  }
}

TEST(Picture, WebpOfQuality100IsLosslessAlsoWithAlpha) {
  Picture picture = gradient(20, 11, 4);
  for (size_t i = 3; i < picture.pixels.size(); i += 4) picture.pixels[i] |= 1;  // WebP may change colours under alpha 0
  EXPECT_EQ(decode_picture(encode_picture(PictureFormat::webp, picture, {}, 100)).picture, picture);
}

TEST(Picture, GrayIsKeptInJpegAndBecomesRgbInWebp) {
  const Picture gray = gradient(16, 16, 1);
  EXPECT_EQ(decode_picture(encode_picture(PictureFormat::jpeg, gray)).picture.channels, 1);
  const Picture webp = decode_picture(encode_picture(PictureFormat::webp, gray, {}, 100)).picture;
  ASSERT_EQ(webp.channels, 3);
  EXPECT_EQ(webp.pixels[3 * 40], gray.pixels[40]);
}

TEST(Picture, CmykJpegBecomesRgb) {
  const Picture picture = decode_picture(make_jpeg(true, {})).picture;
  ASSERT_EQ(picture.channels, 3);
  EXPECT_NEAR(picture.pixels[0], 16, 4);  // JPEG's own loss at quality 100
  EXPECT_NEAR(picture.pixels[3 * 15], 240, 4);
}

// Where the dark left half of the stored 16 x 8 picture must appear, for each of the 8 orientations of EXIF 2.32.
TEST(Picture, ExifOrientationIsApplied) {
  const char* dark_side[] = {"left", "right", "right", "left", "top", "top", "bottom", "bottom"};
  for (int orientation = 1; orientation <= 8; ++orientation) {
    const Picture p = decode_picture(make_jpeg(false, orientation_exif(static_cast<uint8_t>(orientation)))).picture;
    EXPECT_EQ(p.width_px, orientation >= 5 ? 8 : 16);
    const auto at = [&](int x, int y) { return p.pixels[(static_cast<size_t>(y) * p.width_px + x) * 3]; };
    const int w = p.width_px - 1, h = p.height_px - 1;
    const std::string side = dark_side[orientation - 1];
    const bool first_is_dark = side == "left" || side == "top";
    EXPECT_EQ(at(0, 0) < 128, first_is_dark) << orientation;
    EXPECT_EQ(at(w, h) < 128, !first_is_dark) << orientation;
    EXPECT_EQ(at(w, 0) < 128, side == "right" || side == "top") << orientation;
  }
}

TEST(Picture, UserCommentsOfOtherWritersAreRead) {
  const auto comment = [](std::string_view text) {
    return decode_user_comment({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  };
  using std::string_view_literals::operator""sv;
  EXPECT_EQ(comment("UNICODE\0\0S\0t\0e\0p"sv), "Step");
  EXPECT_EQ(comment("UNICODE\0S\0t\0e\0p\0"sv), "Step");
  EXPECT_EQ(comment("UNICODE\0\xff\xfeS\0t\0"sv), "St");
  EXPECT_EQ(comment("UNICODE\0\xfe\xff\0S\0t"sv), "St");
  EXPECT_EQ(comment("ASCII\0\0\0Steps: 2\0\0"sv), "Steps: 2");
  EXPECT_EQ(comment("UNIC"sv), "");
  const Bytes block = write_exif("ä🦜");
  EXPECT_EQ(read_exif(block).user_comment, "ä🦜");
}

TEST(Picture, TheHeaderAloneTellsSizeAndAlphaAsDecodingDoes) {
  std::vector<Bytes> files{make_png({PNG_COLOR_TYPE_PALETTE, 2, false}, 1, {0, 0}), make_png({PNG_COLOR_TYPE_PALETTE, 2, true}, 1, {0, 0}),
                           make_png({PNG_COLOR_TYPE_GRAY, 16, false}, 8, Bytes(16)), make_png({PNG_COLOR_TYPE_GRAY_ALPHA, 8, false}, 8, Bytes(16)),
                           make_jpeg(true, {})};
  for (uint8_t orientation = 1; orientation <= 8; ++orientation) files.push_back(make_jpeg(false, orientation_exif(orientation)));
  for (const PictureFormat format : {PictureFormat::png, PictureFormat::jpeg, PictureFormat::webp}) {
    for (const int channels : {1, 3, 4}) files.push_back(encode_picture(format, gradient(24, 16, channels), kText));
  }
  for (const Bytes& file : files) {
    const PictureInfo info = picture_info(file);
    const Picture picture = decode_picture(file).picture;
    EXPECT_EQ(info.width_px, picture.width_px) << name(info.format);
    EXPECT_EQ(info.height_px, picture.height_px) << name(info.format);
    EXPECT_EQ(info.alpha, picture.channels == 4) << name(info.format);
  }
}

TEST(Picture, TheHeaderAloneFindsTruncationAndAPngsWrongChecksum) {
  for (const PictureFormat format : {PictureFormat::png, PictureFormat::jpeg, PictureFormat::webp}) {
    const Bytes whole = encode_picture(format, gradient(24, 24, 3), kText);
    for (size_t size = 0; size + 2 < whole.size(); size += 1 + whole.size() / 97)
      EXPECT_THROW(picture_info({whole.data(), size}), Error) << name(format) << " cut to " << size;
    Bytes longer = whole;  // what cameras append
    longer.insert(longer.end(), 100, 0xFF);
    EXPECT_EQ(picture_info(longer).width_px, 24) << name(format);
  }
  Bytes png = encode_picture(PictureFormat::png, gradient(24, 24, 3));
  png[png.size() - 20] ^= 1;  // in the pixels
  EXPECT_THROW(picture_info(png), Error);
}

TEST(Picture, EveryTruncationIsOneError) {
  for (const PictureFormat format : {PictureFormat::png, PictureFormat::jpeg, PictureFormat::webp}) {
    const Bytes whole = encode_picture(format, gradient(24, 24, 3), kText);
    for (size_t size = 0; size + 2 < whole.size(); size += 1 + whole.size() / 97)
      EXPECT_EQ(kind_of_decoding({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)}), ErrorKind::bad_input)
          << name(format) << " cut to " << size;
  }
}

TEST(Picture, BombsAreRefusedBeforeMemoryIsTaken) {
  Bytes png = encode_picture(PictureFormat::png, gradient(8, 8, 3));
  png[16] = 0, png[17] = 0, png[18] = 0x40, png[19] = 0;  // width 16384
  png[20] = 0, png[21] = 0, png[22] = 0x40, png[23] = 0;  // height 16384: 268 million pixels
  const auto crc = [&](size_t from, size_t size) {
    uint32_t value = 0xFFFFFFFF;
    for (size_t i = from; i < from + size; ++i) {
      value ^= png[i];
      for (int k = 0; k < 8; ++k) value = value >> 1 ^ (value & 1 ? 0xEDB88320 : 0);
    }
    return ~value;
  };
  const uint32_t sum = crc(12, 17);
  for (int i = 0; i < 4; ++i) png[29 + i] = static_cast<uint8_t>(sum >> (24 - 8 * i));
  try {
    decode_picture(png);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("too large"), std::string::npos) << error.what();
  }
}

TEST(Picture, OtherFilesAreNamed) {
  EXPECT_EQ(kind_of_decoding({}), ErrorKind::bad_input);
  EXPECT_EQ(kind_of_decoding({'P', 'K', 3, 4}), ErrorKind::bad_input);
  EXPECT_THROW(read_picture("/nowhere/a.png"), Error);
  EXPECT_THROW(picture_format_of_path("a.gif"), Error);
  EXPECT_EQ(picture_format_of_path("A.JPG"), PictureFormat::jpeg);
}

TEST(Picture, ATextThatAJpegCannotHoldIsAnErrorAndLeavesNoFile) {
  const fs::path path = fs::temp_directory_path() / "lorikeet_picture_test.jpg";
  fs::remove(path);
  EXPECT_THROW(write_picture(path, gradient(8, 8, 3), {{"parameters", std::string(40000, 'a')}}), Error);
  EXPECT_FALSE(fs::exists(path));
  write_picture(path, gradient(8, 8, 3), kText);
  EXPECT_EQ(read_picture_text(path), kText);
  fs::remove(path);
}

TEST(Picture, Base64ComesBackAtEveryLength) {
  Bytes bytes;
  for (int i = 0; i < 40; ++i) {
    EXPECT_EQ(from_base64(to_base64(bytes)), bytes);
    bytes.push_back(static_cast<uint8_t>(i * 37 + 200));
  }
  EXPECT_EQ(to_base64(Bytes{'M', 'a'}), "TWE=");
  EXPECT_THROW(from_base64("a*b="), Error);
  const Picture picture = gradient(5, 4, 3);
  EXPECT_EQ(picture_from_base64(to_data_uri(picture)).picture, picture);
}

TEST(Picture, ThousandsOfDamagedFilesNeverDoWorseThanAnError) {
  std::mt19937 random(7);
  for (const PictureFormat format : {PictureFormat::png, PictureFormat::jpeg, PictureFormat::webp}) {
    const Bytes whole = encode_picture(format, gradient(24, 16, 3), kUnicodeText);
    for (int round = 0; round < 1000; ++round) {
      Bytes damaged = whole;
      for (unsigned k = 0; k <= random() % 6; ++k) damaged[random() % damaged.size()] = static_cast<uint8_t>(random());
      EXPECT_EQ(fuzz_picture(damaged.data(), damaged.size()), 0);
    }
  }
}
