// PNG through libpng (pixels) and an own walk over the chunks (text: it may follow the pixels, and must be readable without them).
#include <png.h>
#include <zlib.h>

#include <csetjmp>
#include <cstring>

#include "base/error.h"
#include "base/text.h"
#include "io/picture_codecs.h"
#include "io/picture_text.h"

namespace lorikeet {

namespace {
constexpr size_t kMostTextBytes = size_t{16} << 20;  // of one compressed text chunk, and of all text of a file

bool is_png(std::span<const uint8_t> bytes) { return bytes.size() >= 8 && png_sig_cmp(bytes.data(), 0, 8) == 0; }

std::string_view chars(std::span<const uint8_t> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

struct Chunk {
  std::string_view type;
  std::span<const uint8_t> data;
};

// PNG 1.2, section 3.2: length, type, data, CRC-32 of type and data. see(chunk, sound) for each chunk up to IEND; sound() computes the checksum.
template <class See>
void walk_chunks(std::span<const uint8_t> bytes, See&& see) {
  for (size_t at = 8;;) {
    if (bytes.size() - at < 12) throw_damaged(PictureFormat::png, "it ends too early");
    const auto u32 = [&](size_t i) { return uint32_t{bytes[i]} << 24 | bytes[i + 1] << 16 | bytes[i + 2] << 8 | bytes[i + 3]; };
    const size_t length = u32(at);
    if (length > bytes.size() - at - 12) throw_damaged(PictureFormat::png, "it ends too early");
    const Chunk chunk{chars(bytes.subspan(at + 4, 4)), bytes.subspan(at + 8, length)};
    if (chunk.type == "IEND") return;
    see(chunk, [&] { return crc32(0, bytes.data() + at + 4, static_cast<uInt>(length + 4)) == u32(at + 8 + length); });
    at += 12 + length;
  }
}

std::string inflate_text(std::span<const uint8_t> packed) {
  std::string text(std::min(kMostTextBytes, packed.size() * 4 + 1024), '\0');
  for (;;) {
    uLongf length = text.size();
    const int code = uncompress(reinterpret_cast<Bytef*>(text.data()), &length, packed.data(), packed.size());
    if (code == Z_OK) {
      text.resize(length);
      return text;
    }
    if (code != Z_BUF_ERROR || text.size() >= kMostTextBytes)
      throw_damaged(PictureFormat::png, "a compressed text in it cannot be unpacked");
    text.resize(std::min(kMostTextBytes, text.size() * 4));
  }
}

// The part of `data` before the next NUL; `data` goes on behind it.
std::span<const uint8_t> take_until_nul(std::span<const uint8_t>& data) {
  const size_t length = std::min(chars(data).find('\0'), data.size());
  const auto head = data.first(length);
  data = data.subspan(std::min(length + 1, data.size()));
  return head;
}

// PNG 1.2, section 4.2.3: keyword NUL, then what the type says.
std::pair<std::string, std::string> read_text_chunk(const Chunk& chunk) {
  auto data = chunk.data;
  std::string key = latin1_to_utf8(chars(take_until_nul(data)));
  if (chunk.type == "tEXt") return {std::move(key), latin1_to_utf8(chars(data))};
  if (data.empty()) return {std::move(key), ""};
  if (chunk.type == "zTXt") return {std::move(key), latin1_to_utf8(inflate_text(data.subspan(1)))};  // one byte: the method, always 0
  const bool packed = data[0] != 0;
  data = data.subspan(std::min<size_t>(2, data.size()));  // flag and method
  take_until_nul(data);                                   // language
  take_until_nul(data);                                   // translated keyword
  return {std::move(key), valid_utf8(packed ? inflate_text(data) : std::string(chars(data)))};
}

struct Extras {
  PictureText text;
  int orientation = 1;
};

Extras read_extras(std::span<const uint8_t> bytes) {
  Extras extras;
  size_t total = 0;
  walk_chunks(bytes, [&](const Chunk& chunk, auto sound) {
    const bool wanted = chunk.type == "tEXt" || chunk.type == "zTXt" || chunk.type == "iTXt" || chunk.type == "eXIf";
    if (!wanted || !sound()) return;
    if (chunk.type == "eXIf") {
      extras.orientation = read_exif(chunk.data).orientation;
      return;
    }
    extras.text.push_back(read_text_chunk(chunk));
    total += extras.text.back().second.size();
    if (total > kMostTextBytes) throw_damaged(PictureFormat::png, "it holds too much text");
  });
  return extras;
}

PictureText png_text(std::span<const uint8_t> bytes) { return read_extras(bytes).text; }

// PNG 1.2, section 4.1.1, IHDR: width, height, bit depth, colour type (4: with alpha), …
PictureInfo png_info(std::span<const uint8_t> bytes) {
  PictureInfo info{PictureFormat::png, 0, 0, false};
  int orientation = 1;
  walk_chunks(bytes, [&](const Chunk& chunk, auto sound) {
    if (!sound()) {
      if (chunk.type[0] & 0x20) return;  // ancillary (section 3.3): decoding passes it over as well
      throw_damaged(PictureFormat::png, "the checksum of its chunk " + valid_utf8(chunk.type) + " is wrong");
    }
    if (chunk.type == "IHDR" && chunk.data.size() >= 10) {
      const auto u32 = [&](size_t i) {
        const auto* p = chunk.data.data() + i;
        return int64_t{p[0]} << 24 | int64_t{p[1]} << 16 | p[2] << 8 | p[3];
      };
      check_picture_size(u32(0), u32(4));
      info.width_px = static_cast<int>(u32(0)), info.height_px = static_cast<int>(u32(4));
      info.alpha = (chunk.data[9] & 4) != 0;
    }
    if (chunk.type == "tRNS") info.alpha = true;
    if (chunk.type == "eXIf") orientation = read_exif(chunk.data).orientation;
  });
  if (info.width_px == 0) throw_damaged(PictureFormat::png, "it has no header");
  apply_orientation(info, orientation);
  return info;
}

// All that lives across libpng's longjmp; the functions that call setjmp keep nothing of their own.
struct PngReading {
  std::span<const uint8_t> bytes;
  size_t at = 0;
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::string error{};
  std::vector<png_bytep> rows{};

  ~PngReading() { png_destroy_read_struct(&png, &info, nullptr); }
};

void on_read(png_structp png, png_bytep to, size_t length) {
  auto& reading = *static_cast<PngReading*>(png_get_io_ptr(png));
  if (length > reading.bytes.size() - reading.at) png_error(png, "it ends too early");
  std::memcpy(to, reading.bytes.data() + reading.at, length);
  reading.at += length;
}

void on_error(png_structp png, png_const_charp message) {
  *static_cast<std::string*>(png_get_error_ptr(png)) = message;
  png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}

// Up to the first row, with everything set so that rows come as 8-bit gray, RGB or RGBA.
bool begin_reading(PngReading& r) {
  if (setjmp(png_jmpbuf(r.png))) return false;
  png_set_read_fn(r.png, &r, on_read);
  png_set_user_limits(r.png, kMostPictureSidePx, kMostPictureSidePx);
  png_set_chunk_malloc_max(r.png, kMostTextBytes);
  png_set_keep_unknown_chunks(r.png, PNG_HANDLE_CHUNK_NEVER, reinterpret_cast<png_const_bytep>("tEXt\0zTXt\0iTXt\0iCCP\0eXIf"), 5);
  png_read_info(r.png, r.info);
  const int color = png_get_color_type(r.png, r.info);
  png_set_scale_16(r.png);
  png_set_expand(r.png);  // palette to RGB, small gray to 8 bits, a transparent colour to alpha
  if (color == PNG_COLOR_TYPE_GRAY_ALPHA || (color == PNG_COLOR_TYPE_GRAY && png_get_valid(r.png, r.info, PNG_INFO_tRNS)))
    png_set_gray_to_rgb(r.png);
  png_set_interlace_handling(r.png);
  png_read_update_info(r.png, r.info);
  return true;
}

bool read_rows(PngReading& r) {
  if (setjmp(png_jmpbuf(r.png))) return false;
  png_read_image(r.png, r.rows.data());
  png_read_end(r.png, nullptr);
  return true;
}

PictureFile decode_png(std::span<const uint8_t> bytes) {
  Extras extras = read_extras(bytes);
  PngReading r{bytes};
  r.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &r.error, on_error, on_warning);
  r.info = r.png ? png_create_info_struct(r.png) : nullptr;
  if (!r.info) throw Error(ErrorKind::out_of_memory, "no memory to read a PNG picture");
  if (!begin_reading(r)) throw_damaged(PictureFormat::png, r.error);
  Picture picture;
  picture.width_px = static_cast<int>(png_get_image_width(r.png, r.info));
  picture.height_px = static_cast<int>(png_get_image_height(r.png, r.info));
  picture.channels = png_get_channels(r.png, r.info);
  check_picture_size(picture.width_px, picture.height_px);
  const size_t stride = static_cast<size_t>(picture.width_px) * picture.channels;
  if (png_get_rowbytes(r.png, r.info) != stride) throw_damaged(PictureFormat::png, "an unknown kind of pixels");
  picture.pixels.resize(stride * picture.height_px);
  for (int y = 0; y < picture.height_px; ++y) r.rows.push_back(picture.pixels.data() + stride * y);
  if (!read_rows(r)) throw_damaged(PictureFormat::png, r.error);
  apply_orientation(picture, extras.orientation);
  return {std::move(picture), std::move(extras.text)};
}

struct PngWriting {
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::string error;
  std::vector<uint8_t> out;
  std::vector<std::pair<std::string, std::string>> encoded;  // keeps the bytes that `texts` points into
  std::vector<png_text_struct> texts;

  ~PngWriting() { png_destroy_write_struct(&png, &info); }
};

void on_write(png_structp png, png_bytep from, size_t length) {
  auto& out = static_cast<PngWriting*>(png_get_io_ptr(png))->out;
  out.insert(out.end(), from, from + length);
}

void on_flush(png_structp) {}

bool write_all(PngWriting& w, const Picture& picture) {
  if (setjmp(png_jmpbuf(w.png))) return false;
  const int color = picture.channels == 1 ? PNG_COLOR_TYPE_GRAY : picture.channels == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_RGBA;
  png_set_write_fn(w.png, &w, on_write, on_flush);
  png_set_IHDR(w.png, w.info, static_cast<png_uint_32>(picture.width_px), static_cast<png_uint_32>(picture.height_px), 8, color,
               PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_set_text(w.png, w.info, w.texts.data(), static_cast<int>(w.texts.size()));
  png_write_info(w.png, w.info);
  for (int y = 0; y < picture.height_px; ++y)
    png_write_row(w.png, picture.pixels.data() + static_cast<size_t>(y) * picture.width_px * picture.channels);
  png_write_end(w.png, nullptr);
  return true;
}

// tEXt where Latin-1 can hold the text, else iTXt (what Pillow's add_text does, and so A1111). A NUL would end the text: it is left out.
void prepare_texts(PngWriting& w, const PictureText& text) {
  std::vector<bool> plain;
  for (const auto& [key, value] : text) {
    const std::string clean = replace_all(valid_utf8(value), std::string_view("\0", 1), "");
    const auto latin1 = utf8_to_latin1(clean);
    plain.push_back(latin1.has_value());
    w.encoded.emplace_back(utf8_to_latin1(key).value_or(key).substr(0, 79), latin1.value_or(clean));
  }
  for (size_t i = 0; i < w.encoded.size(); ++i) {
    png_text_struct entry{};
    entry.compression = plain[i] ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE;
    entry.key = w.encoded[i].first.data();
    entry.text = w.encoded[i].second.data();
    w.texts.push_back(entry);
  }
}

std::vector<uint8_t> encode_png(const Picture& picture, const PictureText& text, int) {
  PngWriting w;
  w.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &w.error, on_error, on_warning);
  w.info = w.png ? png_create_info_struct(w.png) : nullptr;
  if (!w.info) throw Error(ErrorKind::out_of_memory, "no memory to write a PNG picture");
  prepare_texts(w, text);
  if (!write_all(w, picture)) throw Error(ErrorKind::internal, "libpng cannot write this picture: " + w.error);
  return std::move(w.out);
}
}  // namespace

const PictureCodec kPngCodec{PictureFormat::png, is_png, decode_png, png_text, png_info, encode_png};

}  // namespace lorikeet
