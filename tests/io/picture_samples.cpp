#include "io/picture_samples.h"

#include <png.h>

#include <cstdio>
#include <cstdlib>

// clang-format off
#include <jpeglib.h>  // wants FILE and size_t before it
// clang-format on

namespace lorikeet::testing {

Picture gradient(int width, int height, int channels) {
  Picture picture{width, height, channels, {}};
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int c = 0; c < channels; ++c)
        picture.pixels.push_back(static_cast<uint8_t>((x * (c + 2) + y * 3 + 40 * c) * 255 / (width * 5 + height * 3 + 120)));
  return picture;
}

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
  png_set_IHDR(png, info, static_cast<png_uint_32>(kind.width_px), static_cast<png_uint_32>(kind.height_px), kind.depth, kind.color,
               PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  const png_color palette[4] = {{1, 2, 3}, {10, 20, 30}, {100, 110, 120}, {255, 0, 7}};
  if (kind.color == PNG_COLOR_TYPE_PALETTE) png_set_PLTE(png, info, palette, 4);
  const png_byte alpha[2] = {0, 128};
  if (kind.transparent_color) png_set_tRNS(png, info, alpha, 2, nullptr);
  png_write_info(png, info);
  for (int y = 0; y < kind.height_px; ++y) png_write_row(png, rows.data() + y * row_bytes);
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  return out;
}

Bytes make_jpeg(bool cmyk, const Bytes& exif, int width_px, int height_px) {
  jpeg_compress_struct info;
  jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* out = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &out, &size);
  info.image_width = static_cast<JDIMENSION>(width_px), info.image_height = static_cast<JDIMENSION>(height_px);
  info.input_components = cmyk ? 4 : 3;
  info.in_color_space = cmyk ? JCS_CMYK : JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 100, TRUE);
  jpeg_start_compress(&info, TRUE);
  if (!exif.empty()) jpeg_write_marker(&info, JPEG_APP0 + 1, exif.data(), static_cast<unsigned>(exif.size()));
  for (int y = 0; y < height_px; ++y) {
    Bytes row;
    for (int x = 0; x < width_px; ++x)
      for (int c = 0; c < info.input_components; ++c) row.push_back(c == 3 ? 255 : x < width_px / 2 ? 16 : 240);
    JSAMPROW pointer = row.data();
    jpeg_write_scanlines(&info, &pointer, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  Bytes result(out, out + size);
  std::free(out);
  return result;
}

Bytes orientation_exif(uint8_t value) {
  return {'E', 'x', 'i', 'f', 0, 0, 'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 0x01, 3, 0, 1, 0, 0, 0, value, 0, 0, 0, 0, 0, 0, 0};
}

}  // namespace lorikeet::testing
