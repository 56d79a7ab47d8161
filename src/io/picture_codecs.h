// One picture format each: png.cpp, jpeg.cpp, webp.cpp. Only picture.cpp and the codecs include this. Errors are Error{bad_input} without a
// path.
#pragma once
#include "io/picture.h"

namespace lorikeet {

// Error{bad_input} for sizes that picture.h does not allow.
void check_picture_size(int64_t width_px, int64_t height_px);
[[noreturn]] void throw_damaged(PictureFormat format, const std::string& why);
// The text of formats that have it in their EXIF block: {{"parameters", its UserComment}}, or nothing.
PictureText text_of(const struct Exif& exif);

void apply_orientation(Picture& picture, int exif_orientation);
void apply_orientation(PictureInfo& info, int exif_orientation);

struct PictureCodec {
  PictureFormat format;
  bool (*recognise)(std::span<const uint8_t> bytes);
  PictureFile (*decode)(std::span<const uint8_t> bytes);
  PictureText (*text)(std::span<const uint8_t> bytes);
  PictureInfo (*info)(std::span<const uint8_t> bytes);
  std::vector<uint8_t> (*encode)(const Picture& picture, const PictureText& text, int quality);
};
extern const PictureCodec kPngCodec, kJpegCodec, kWebpCodec;

std::span<const PictureCodec* const> picture_codecs();  // the one list; empty in the engine-only build, which has no picture libraries

}  // namespace lorikeet
