// Pictures: what is written is read back, what is damaged gives one Error. Samples that we cannot write ourselves (palette, 16 bits, CMYK,
// orientation) are made with the libraries here.
#include "io/picture.h"

#include <gtest/gtest.h>
#include <png.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "base/error.h"
#include "io/picture_base64.h"
#include "io/picture_text.h"

// clang-format off
#include <jpeglib.h>  // wants FILE and size_t before it
// clang-format on

namespace lorikeet {
int fuzz_picture(const uint8_t* data, size_t size);
}

using namespace lorikeet;
namespace fs = std::filesystem;

namespace {
using Bytes = std::vector<uint8_t>;

// Smooth, so that lossy formats stay near; every channel differs.
Picture gradient(int width, int height, int channels) {
  Picture picture{width, height, channels, {}};
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int c = 0; c < channels; ++c)
        picture.pixels.push_back(static_cast<uint8_t>((x * (c + 2) + y * 3 + 40 * c) * 255 / (width * 5 + height * 3 + 120)));
  return picture;
}

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

struct PngKind {
  int color, depth;
  bool transparent_color;
};

// 4 x 2 pixels of a kind that Lorikeet never writes.
Bytes make_png(const PngKind& kind, int row_bytes, const Bytes& rows) {
  Bytes out;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_set_write_fn(
      png, &out,
      [](png_structp p, png_bytep d, size_t n) {
        static_cast<Bytes*>(png_get_io_ptr(p))->insert(static_cast<Bytes*>(png_get_io_ptr(p))->end(), d, d + n);
      },
      nullptr);
  png_set_IHDR(png, info, 4, 2, kind.depth, kind.color, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  const png_color palette[4] = {{1, 2, 3}, {10, 20, 30}, {100, 110, 120}, {255, 0, 7}};
  if (kind.color == PNG_COLOR_TYPE_PALETTE) png_set_PLTE(png, info, palette, 4);
  const png_byte alpha[2] = {0, 128};
  if (kind.transparent_color) png_set_tRNS(png, info, alpha, 2, nullptr);
  png_write_info(png, info);
  for (int y = 0; y < 2; ++y) png_write_row(png, rows.data() + y * row_bytes);
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  return out;
}

// A 16 x 8 JPEG, left half dark, right half light; `exif` may be empty. inks: CMYK with Adobe's marker.
Bytes make_jpeg(bool cmyk, const Bytes& exif) {
  jpeg_compress_struct info;
  jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* out = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &out, &size);
  info.image_width = 16, info.image_height = 8;
  info.input_components = cmyk ? 4 : 3;
  info.in_color_space = cmyk ? JCS_CMYK : JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 100, TRUE);
  jpeg_start_compress(&info, TRUE);
  if (!exif.empty()) jpeg_write_marker(&info, JPEG_APP0 + 1, exif.data(), static_cast<unsigned>(exif.size()));
  for (int y = 0; y < 8; ++y) {
    Bytes row;
    for (int x = 0; x < 16; ++x)
      for (int c = 0; c < info.input_components; ++c) row.push_back(c == 3 ? 255 : x < 8 ? 16 : 240);
    JSAMPROW pointer = row.data();
    jpeg_write_scanlines(&info, &pointer, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  Bytes result(out, out + size);
  std::free(out);
  return result;
}

// "Exif\0\0", little endian, IFD0 with the orientation alone.
Bytes orientation_exif(uint8_t value) {
  return {'E', 'x', 'i', 'f', 0, 0, 'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 0x01, 3, 0, 1, 0, 0, 0, value, 0, 0, 0, 0, 0, 0, 0};
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
