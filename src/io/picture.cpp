#include "io/picture.h"

#include <algorithm>
#include <fstream>

#include "base/error.h"
#include "base/text.h"
#include "io/atomic_file.h"
#include "io/picture_codecs.h"
#include "io/picture_text.h"

namespace lorikeet {

namespace {
constexpr int64_t kMostFileBytes = int64_t{1} << 30;

const PictureCodec& codec_of(std::span<const uint8_t> bytes) {
  for (const PictureCodec* codec : picture_codecs())
    if (codec->recognise(bytes)) return *codec;
  if (picture_codecs().empty()) throw Error(ErrorKind::unsupported, "this build of the engine alone reads and writes no pictures");
  throw Error(ErrorKind::bad_input, bytes.empty() ? "the file is empty" : "this is not a PNG, JPEG or WebP picture",
              "give a picture in one of these formats");
}

std::vector<uint8_t> read_bytes(const std::filesystem::path& path) {
  std::error_code code;
  if (!std::filesystem::exists(path, code)) throw Error(ErrorKind::not_found, "there is no file " + path.string());
  if (!std::filesystem::is_regular_file(path, code)) throw Error(ErrorKind::bad_input, path.string() + " is not a file");
  const auto size = static_cast<int64_t>(std::filesystem::file_size(path, code));
  if (size > kMostFileBytes) throw Error(ErrorKind::bad_input, path.string() + " is too large for a picture");
  std::ifstream file(path, std::ios::binary);
  std::vector<uint8_t> bytes(static_cast<size_t>(size));
  file.read(reinterpret_cast<char*>(bytes.data()), size);
  if (!file) throw Error(ErrorKind::io, "cannot read " + path.string(), "check its permissions");
  return bytes;
}
}  // namespace

std::string_view name(PictureFormat format) {
  constexpr std::string_view kNames[] = {"png", "jpeg", "webp"};
  return kNames[static_cast<size_t>(format)];
}

PictureFormat picture_format_of_path(const std::filesystem::path& path) {
  const std::string extension = lower(path.extension().string());
  if (extension == ".png") return PictureFormat::png;
  if (extension == ".jpg" || extension == ".jpeg") return PictureFormat::jpeg;
  if (extension == ".webp") return PictureFormat::webp;
  throw Error(ErrorKind::bad_input, "cannot tell the picture format of " + path.string(), "end the name in .png, .jpg or .webp");
}

void check_picture_size(int64_t width_px, int64_t height_px) {
  if (width_px < 1 || height_px < 1) throw Error(ErrorKind::bad_input, "the picture has no pixels");
  if (width_px > kMostPictureSidePx || height_px > kMostPictureSidePx || width_px * height_px > kMostPicturePixels)
    throw Error(ErrorKind::bad_input,
                "the picture of " + std::to_string(width_px) + " x " + std::to_string(height_px) + " pixels is too large",
                "sides up to " + std::to_string(kMostPictureSidePx) + " and " + std::to_string(kMostPicturePixels >> 20) +
                    " million pixels in all are read; make it smaller first");
}

void throw_damaged(PictureFormat format, const std::string& why) {
  throw Error(ErrorKind::bad_input, "the " + std::string(name(format)) + " picture is damaged: " + why, "make or download it again");
}

void apply_orientation(PictureInfo& info, int exif_orientation) {
  if (exif_orientation >= 5 && exif_orientation <= 8) std::swap(info.width_px, info.height_px);
}

// EXIF 2.32, tag 0x0112: where the 0th row and 0th column of the stored picture belong.
PictureText text_of(const Exif& exif) { return exif.user_comment.empty() ? PictureText{} : PictureText{{"parameters", exif.user_comment}}; }

void apply_orientation(Picture& picture, int exif_orientation) {
  if (exif_orientation < 2 || exif_orientation > 8) return;
  const int w = picture.width_px, h = picture.height_px, channels = picture.channels;
  const bool turned = exif_orientation >= 5;
  Picture result{turned ? h : w, turned ? w : h, channels, std::vector<uint8_t>(picture.pixels.size())};
  for (int y = 0; y < result.height_px; ++y) {
    for (int x = 0; x < result.width_px; ++x) {
      int from_x = turned ? y : x, from_y = turned ? x : y;
      const bool mirror_x = exif_orientation == 2 || exif_orientation == 3 || exif_orientation == 7 || exif_orientation == 8;
      const bool mirror_y = exif_orientation == 3 || exif_orientation == 4 || exif_orientation == 6 || exif_orientation == 7;
      if (mirror_x) from_x = w - 1 - from_x;
      if (mirror_y) from_y = h - 1 - from_y;
      const uint8_t* from = picture.pixels.data() + (static_cast<size_t>(from_y) * w + from_x) * channels;
      std::copy_n(from, channels, result.pixels.data() + (static_cast<size_t>(y) * result.width_px + x) * channels);
    }
  }
  picture = std::move(result);
}

PictureInfo picture_info(std::span<const uint8_t> bytes) { return codec_of(bytes).info(bytes); }
PictureFile decode_picture(std::span<const uint8_t> bytes) { return codec_of(bytes).decode(bytes); }
PictureText decode_picture_text(std::span<const uint8_t> bytes) { return codec_of(bytes).text(bytes); }

PictureFile read_picture(const std::filesystem::path& path) {
  return with_context("while reading picture " + path.string(), [&] { return decode_picture(read_bytes(path)); });
}

PictureInfo read_picture_info(const std::filesystem::path& path) {
  return with_context("while reading picture " + path.string(), [&] { return picture_info(read_bytes(path)); });
}

PictureText read_picture_text(const std::filesystem::path& path) {
  return with_context("while reading picture " + path.string(), [&] { return decode_picture_text(read_bytes(path)); });
}

std::string text_named(const PictureText& text, std::string_view name) {
  for (const auto& [key, value] : text)
    if (key == name) return value;
  return {};
}

std::vector<uint8_t> encode_picture(PictureFormat format, const Picture& picture, const PictureText& text, int quality) {
  check_picture_size(picture.width_px, picture.height_px);
  const size_t wanted = static_cast<size_t>(picture.width_px) * picture.height_px * picture.channels;
  if (picture.pixels.size() != wanted || (picture.channels != 1 && picture.channels != 3 && picture.channels != 4))
    throw Error(ErrorKind::internal, "a picture whose pixels do not fit its size");
  for (const PictureCodec* codec : picture_codecs())
    if (codec->format == format) return codec->encode(picture, text, quality);
  throw Error(ErrorKind::unsupported, "this build of the engine alone reads and writes no pictures");
}

void write_picture(const std::filesystem::path& path, const Picture& picture, const PictureText& text, int quality) {
  const auto bytes = encode_picture(picture_format_of_path(path), picture, text, quality);
  write_file_atomically(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

}  // namespace lorikeet
