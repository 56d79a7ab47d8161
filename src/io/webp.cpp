// WebP through libwebp, its EXIF chunk through libwebpmux.
#include <webp/decode.h>
#include <webp/encode.h>
#include <webp/mux.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "base/error.h"
#include "io/picture_codecs.h"
#include "io/picture_text.h"

namespace lorikeet {

namespace {
using Mux = std::unique_ptr<WebPMux, decltype(&WebPMuxDelete)>;

bool is_webp(std::span<const uint8_t> bytes) {
  return bytes.size() >= 12 && std::memcmp(bytes.data(), "RIFF", 4) == 0 && std::memcmp(bytes.data() + 8, "WEBP", 4) == 0;
}

Exif exif_of(std::span<const uint8_t> bytes) {
  // RIFF: the length of all behind it. What programs append to a file is no part of it.
  const size_t length = 8 + (size_t{bytes[4]} | size_t{bytes[5]} << 8 | size_t{bytes[6]} << 16 | size_t{bytes[7]} << 24);
  const WebPData all{bytes.data(), std::min(bytes.size(), length)};
  const Mux mux(WebPMuxCreate(&all, 0), WebPMuxDelete);
  if (!mux) throw_damaged(PictureFormat::webp, "it ends too early, or its chunks do not fit together");
  WebPData chunk{};
  return WebPMuxGetChunk(mux.get(), "EXIF", &chunk) == WEBP_MUX_OK ? read_exif({chunk.bytes, chunk.size}) : Exif{};
}

PictureText webp_text(std::span<const uint8_t> bytes) { return text_of(exif_of(bytes)); }

WebPBitstreamFeatures features_of(std::span<const uint8_t> bytes) {
  WebPBitstreamFeatures features{};
  if (WebPGetFeatures(bytes.data(), bytes.size(), &features) != VP8_STATUS_OK)
    throw_damaged(PictureFormat::webp, "its header cannot be read");
  check_picture_size(features.width, features.height);
  if (features.has_animation) throw Error(ErrorKind::unsupported, "this WebP file is an animation", "give a still picture");
  return features;
}

PictureInfo webp_info(std::span<const uint8_t> bytes) {
  const WebPBitstreamFeatures features = features_of(bytes);
  PictureInfo info{PictureFormat::webp, features.width, features.height, features.has_alpha != 0};
  apply_orientation(info, exif_of(bytes).orientation);
  return info;
}

PictureFile decode_webp(std::span<const uint8_t> bytes) {
  const WebPBitstreamFeatures features = features_of(bytes);
  const Exif exif = exif_of(bytes);
  Picture picture{features.width, features.height, features.has_alpha ? 4 : 3, {}};
  const int stride = picture.width_px * picture.channels;
  picture.pixels.resize(static_cast<size_t>(stride) * picture.height_px);
  const auto decode = features.has_alpha ? WebPDecodeRGBAInto : WebPDecodeRGBInto;
  if (!decode(bytes.data(), bytes.size(), picture.pixels.data(), picture.pixels.size(), stride))
    throw_damaged(PictureFormat::webp, "its pixels cannot be read");
  apply_orientation(picture, exif.orientation);
  return {std::move(picture), text_of(exif)};
}

Picture as_rgb(const Picture& gray) {
  Picture rgb{gray.width_px, gray.height_px, 3, {}};
  rgb.pixels.reserve(gray.pixels.size() * 3);
  for (const uint8_t value : gray.pixels) rgb.pixels.insert(rgb.pixels.end(), 3, value);
  return rgb;
}

std::vector<uint8_t> encode_pixels(const Picture& picture, int quality) {
  uint8_t* out = nullptr;
  const int w = picture.width_px, h = picture.height_px, stride = w * picture.channels;
  const uint8_t* pixels = picture.pixels.data();
  const bool alpha = picture.channels == 4;
  const size_t size = quality >= 100 ? (alpha ? WebPEncodeLosslessRGBA : WebPEncodeLosslessRGB)(pixels, w, h, stride, &out)
                                     : (alpha ? WebPEncodeRGBA : WebPEncodeRGB)(pixels, w, h, stride, static_cast<float>(quality), &out);
  const std::unique_ptr<uint8_t, decltype(&WebPFree)> owner(out, WebPFree);
  if (size == 0) throw Error(ErrorKind::internal, "libwebp cannot write this picture");
  return {out, out + size};
}

std::vector<uint8_t> add_exif(std::span<const uint8_t> file, const std::vector<uint8_t>& exif) {
  const WebPData all{file.data(), file.size()}, chunk{exif.data(), exif.size()};
  const Mux mux(WebPMuxCreate(&all, 0), WebPMuxDelete);
  WebPData out{};
  const bool good = mux && WebPMuxSetChunk(mux.get(), "EXIF", &chunk, 0) == WEBP_MUX_OK && WebPMuxAssemble(mux.get(), &out) == WEBP_MUX_OK;
  std::vector<uint8_t> result;
  if (good) result.assign(out.bytes, out.bytes + out.size);
  WebPDataClear(&out);
  if (!good) throw Error(ErrorKind::internal, "libwebp cannot write the text of this picture");
  return result;
}

std::vector<uint8_t> encode_webp(const Picture& picture, const PictureText& text, int quality) {
  if (picture.width_px > WEBP_MAX_DIMENSION || picture.height_px > WEBP_MAX_DIMENSION)
    throw Error(ErrorKind::unsupported, "a WebP picture has at most 16383 pixels a side", "choose png");
  const auto file = encode_pixels(picture.channels == 1 ? as_rgb(picture) : picture, quality);
  const std::string parameters = text_named(text, "parameters");
  return parameters.empty() ? file : add_exif(file, write_exif(parameters));
}
}  // namespace

const PictureCodec kWebpCodec{PictureFormat::webp, is_webp, decode_webp, webp_text, webp_info, encode_webp};

}  // namespace lorikeet
