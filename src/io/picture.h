// Pictures in memory and as PNG, JPEG or WebP files, with the text that travels in them (A1111's infotext).
// The three formats are png.cpp, jpeg.cpp and webp.cpp; picture_text.h reads and writes the text of the last two.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lorikeet {

struct Picture {
  int width_px = 0, height_px = 0;
  int channels = 3;             // 1 gray, 3 RGB, 4 RGBA (not premultiplied)
  std::vector<uint8_t> pixels;  // interleaved, rows top-down, width * height * channels bytes, sRGB
  bool operator==(const Picture&) const = default;
};

// In the order of the file. PNG: tEXt, zTXt and iTXt chunks; JPEG and WebP: the EXIF UserComment under the name "parameters". UTF-8.
using PictureText = std::vector<std::pair<std::string, std::string>>;

struct PictureFile {
  Picture picture;
  PictureText text;
};

enum class PictureFormat { png, jpeg, webp };
std::string_view name(PictureFormat format);
PictureFormat picture_format_of_path(const std::filesystem::path& path);  // by extension; Error{bad_input} for others

// Larger pictures are refused before memory is taken for them.
inline constexpr int kMostPictureSidePx = 16384;
inline constexpr int64_t kMostPicturePixels = int64_t{1} << 27;

// Read by content, never by name. 16-bit and palette samples become 8-bit gray, RGB or RGBA; CMYK becomes RGB; EXIF orientation is
// applied. Errors: not_found and io (the file), bad_input (not a picture, damaged or truncated, too large).
PictureFile read_picture(const std::filesystem::path& path);
PictureFile decode_picture(std::span<const uint8_t> bytes);

// What a file says of its picture, without decoding it: for looking through thousands.
struct PictureInfo {
  PictureFormat format = PictureFormat::png;
  int width_px = 0, height_px = 0;  // as shown: EXIF orientation applied
  bool alpha = false;               // decoding gives RGBA
};
// Same errors as read_picture. Truncation is found in all three formats, other damage in PNG by its checksums; the rest only decoding finds.
PictureInfo read_picture_info(const std::filesystem::path& path);
PictureInfo picture_info(std::span<const uint8_t> bytes);

// The text alone; no pixel is decoded. Same errors.
PictureText read_picture_text(const std::filesystem::path& path);
PictureText decode_picture_text(std::span<const uint8_t> bytes);

// "" when the file carries no such text.
std::string text_named(const PictureText& text, std::string_view name);

// quality: 1..100 for JPEG and WebP (100: lossless WebP); PNG is always lossless. PNG text goes to tEXt where Latin-1 can hold it, else to
// iTXt, as A1111 does. JPEG and WebP keep only the text named "parameters". JPEG drops alpha. The file appears whole or not at all.
void write_picture(const std::filesystem::path& path, const Picture& picture, const PictureText& text = {}, int quality = 90);
std::vector<uint8_t> encode_picture(PictureFormat format, const Picture& picture, const PictureText& text = {}, int quality = 90);

}  // namespace lorikeet
