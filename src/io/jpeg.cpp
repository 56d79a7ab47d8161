// JPEG through libjpeg(-turbo).
// jpeglib.h wants FILE and size_t to be known.
// clang-format off
#include <cstdio>
#include <jpeglib.h>
#include <jerror.h>
// clang-format on

#include <csetjmp>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "io/picture_codecs.h"
#include "io/picture_text.h"

namespace lorikeet {

namespace {
constexpr int kMostScans = 500;             // a progressive file of a few KB can ask for any number of passes over all pixels
constexpr size_t kMostMarkerBytes = 65533;  // JPEG (ITU-T T.81, B.1.1.4): a 16-bit length that counts itself
constexpr std::string_view kExifPrefix("Exif\0\0", 6);

bool is_jpeg(std::span<const uint8_t> bytes) { return bytes.size() >= 3 && bytes[0] == 0xFF && bytes[1] == 0xD8 && bytes[2] == 0xFF; }

// First member: libjpeg hands back a pointer to it.
struct Failing {
  jpeg_error_mgr manager;
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void on_error(j_common_ptr info) {
  auto* failing = reinterpret_cast<Failing*>(info->err);
  info->err->format_message(info, failing->message);
  std::longjmp(failing->jump, 1);
}

// libjpeg fills up a truncated picture with gray and only warns; here it is an error. Other warnings (bytes too many) pass.
void on_message(j_common_ptr info, int level) {
  const int code = info->err->msg_code;
  if (level < 0 && (code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER || code == JWRN_HUFF_BAD_CODE)) on_error(info);
}

void on_progress(j_common_ptr info) {
  const auto* decoder = reinterpret_cast<j_decompress_ptr>(info);
  if (decoder->input_scan_number > kMostScans) {
    info->err->msg_code = JERR_BAD_PROGRESSION;
    on_error(info);
  }
}

void install(Failing& failing, j_common_ptr info) {
  info->err = jpeg_std_error(&failing.manager);
  failing.manager.error_exit = on_error;
  failing.manager.emit_message = on_message;
  failing.message[0] = 0;
}

struct JpegReading {
  std::span<const uint8_t> bytes;
  jpeg_decompress_struct info{};
  Failing failing{};
  jpeg_progress_mgr progress{};
  std::vector<uint8_t> row{};
  Picture picture{};

  ~JpegReading() { jpeg_destroy_decompress(&info); }
};

bool begin_reading(JpegReading& r) {
  install(r.failing, reinterpret_cast<j_common_ptr>(&r.info));
  if (setjmp(r.failing.jump)) return false;
  jpeg_create_decompress(&r.info);
  r.progress.progress_monitor = on_progress;
  r.info.progress = &r.progress;
  jpeg_mem_src(&r.info, r.bytes.data(), r.bytes.size());
  jpeg_save_markers(&r.info, JPEG_APP0 + 1, 0xFFFF);
  jpeg_read_header(&r.info, TRUE);
  return true;
}

bool is_cmyk(const jpeg_decompress_struct& info) { return info.jpeg_color_space == JCS_CMYK || info.jpeg_color_space == JCS_YCCK; }

// Adobe stores CMYK inverted, and everybody follows it: then ink 0 is 255 and R = C * K / 255.
void append_cmyk_row(const JpegReading& r, std::vector<uint8_t>& pixels) {
  for (size_t x = 0; x + 3 < r.row.size(); x += 4) {
    const auto ink = [&](size_t i) { return r.info.saw_Adobe_marker ? r.row[x + i] : 255 - r.row[x + i]; };
    for (size_t i = 0; i < 3; ++i) pixels.push_back(static_cast<uint8_t>((ink(i) * ink(3) + 127) / 255));
  }
}

bool read_rows(JpegReading& r) {
  if (setjmp(r.failing.jump)) return false;
  r.info.out_color_space = is_cmyk(r.info) ? JCS_CMYK : r.info.num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_start_decompress(&r.info);
  r.row.resize(static_cast<size_t>(r.info.output_width) * static_cast<size_t>(r.info.output_components));
  while (r.info.output_scanline < r.info.output_height) {
    JSAMPROW row = r.row.data();
    jpeg_read_scanlines(&r.info, &row, 1);
    if (is_cmyk(r.info)) {
      append_cmyk_row(r, r.picture.pixels);
    } else {
      r.picture.pixels.insert(r.picture.pixels.end(), r.row.begin(), r.row.end());
    }
  }
  jpeg_finish_decompress(&r.info);
  return true;
}

Exif exif_of(const jpeg_decompress_struct& info) {
  for (const jpeg_marker_struct* marker = info.marker_list; marker; marker = marker->next)
    if (marker->data_length > 6 && std::memcmp(marker->data, kExifPrefix.data(), 6) == 0)
      return read_exif({marker->data, marker->data_length});
  return {};
}

PictureText jpeg_text(std::span<const uint8_t> bytes) {
  JpegReading r{bytes};
  if (!begin_reading(r)) throw_damaged(PictureFormat::jpeg, r.failing.message);
  return text_of(exif_of(r.info));
}

// Whether the end marker is there. Inside of the pixels' data 0xFF is followed by 0 or by a restart marker (ITU-T T.81, B.1.1.5), so
// a walk from marker to marker sees it without decoding.
bool reaches_end(std::span<const uint8_t> bytes) {
  for (size_t at = 2; at + 1 < bytes.size();) {
    const uint8_t marker = bytes[at + 1];
    if (bytes[at] != 0xFF || marker == 0xFF || marker == 0 || (marker >= 0xD0 && marker <= 0xD7)) {
      const void* next = std::memchr(bytes.data() + at + 1, 0xFF, bytes.size() - at - 1);
      if (!next) return false;
      at = static_cast<size_t>(static_cast<const uint8_t*>(next) - bytes.data());
      continue;
    }
    if (marker == 0xD9) return true;
    if (at + 3 >= bytes.size()) return false;
    at += 2 + (size_t{bytes[at + 2]} << 8 | bytes[at + 3]);
  }
  return false;
}

PictureInfo jpeg_info(std::span<const uint8_t> bytes) {
  JpegReading r{bytes};
  if (!begin_reading(r)) throw_damaged(PictureFormat::jpeg, r.failing.message);
  check_picture_size(r.info.image_width, r.info.image_height);
  if (!reaches_end(bytes)) throw_damaged(PictureFormat::jpeg, "it ends too early");
  PictureInfo info{PictureFormat::jpeg, static_cast<int>(r.info.image_width), static_cast<int>(r.info.image_height), false};
  apply_orientation(info, exif_of(r.info).orientation);
  return info;
}

PictureFile decode_jpeg(std::span<const uint8_t> bytes) {
  JpegReading r{bytes};
  if (!begin_reading(r)) throw_damaged(PictureFormat::jpeg, r.failing.message);
  check_picture_size(r.info.image_width, r.info.image_height);
  r.picture.width_px = static_cast<int>(r.info.image_width);
  r.picture.height_px = static_cast<int>(r.info.image_height);
  r.picture.channels = r.info.num_components == 1 ? 1 : 3;
  r.picture.pixels.reserve(static_cast<size_t>(r.picture.width_px) * r.picture.height_px * r.picture.channels);
  const Exif exif = exif_of(r.info);  // finishing frees the markers
  if (!read_rows(r)) throw_damaged(PictureFormat::jpeg, r.failing.message);
  apply_orientation(r.picture, exif.orientation);
  return {std::move(r.picture), text_of(exif)};
}

struct JpegWriting {
  jpeg_compress_struct info{};
  Failing failing{};
  unsigned char* out = nullptr;
  unsigned long out_size = 0;
  std::vector<uint8_t> exif, row;

  ~JpegWriting() {
    jpeg_destroy_compress(&info);
    std::free(out);
  }
};

bool write_all(JpegWriting& w, const Picture& picture, int quality) {
  install(w.failing, reinterpret_cast<j_common_ptr>(&w.info));
  if (setjmp(w.failing.jump)) return false;
  const int channels = picture.channels == 1 ? 1 : 3;
  jpeg_create_compress(&w.info);
  jpeg_mem_dest(&w.info, &w.out, &w.out_size);
  w.info.image_width = static_cast<JDIMENSION>(picture.width_px);
  w.info.image_height = static_cast<JDIMENSION>(picture.height_px);
  w.info.input_components = channels;
  w.info.in_color_space = channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(&w.info);
  jpeg_set_quality(&w.info, quality, TRUE);
  jpeg_start_compress(&w.info, TRUE);
  if (!w.exif.empty()) jpeg_write_marker(&w.info, JPEG_APP0 + 1, w.exif.data(), static_cast<unsigned>(w.exif.size()));
  w.row.resize(static_cast<size_t>(picture.width_px) * channels);
  for (int y = 0; y < picture.height_px; ++y) {
    const uint8_t* from = picture.pixels.data() + static_cast<size_t>(y) * picture.width_px * picture.channels;
    for (int x = 0; x < picture.width_px; ++x)
      std::memcpy(&w.row[static_cast<size_t>(x) * channels], from + x * picture.channels, channels);
    JSAMPROW row = w.row.data();
    jpeg_write_scanlines(&w.info, &row, 1);
  }
  jpeg_finish_compress(&w.info);
  return true;
}

std::vector<uint8_t> encode_jpeg(const Picture& picture, const PictureText& text, int quality) {
  JpegWriting w;
  if (const std::string parameters = text_named(text, "parameters"); !parameters.empty()) {
    w.exif.assign(kExifPrefix.begin(), kExifPrefix.end());
    const auto block = write_exif(parameters);
    w.exif.insert(w.exif.end(), block.begin(), block.end());
    if (w.exif.size() > kMostMarkerBytes)
      throw Error(ErrorKind::unsupported, "the prompt and settings are too long to be kept in a JPEG file", "choose png or webp");
  }
  if (!write_all(w, picture, quality))
    throw Error(ErrorKind::internal, std::string("libjpeg cannot write this picture: ") + w.failing.message);
  return {w.out, w.out + w.out_size};
}
}  // namespace

const PictureCodec kJpegCodec{PictureFormat::jpeg, is_jpeg, decode_jpeg, jpeg_text, jpeg_info, encode_jpeg};

}  // namespace lorikeet
