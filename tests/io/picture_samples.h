// Picture files of kinds that Lorikeet never writes (palette, 16 bits, CMYK, EXIF orientation), made with the libraries.
#pragma once
#include <cstdint>
#include <vector>

#include "io/picture.h"

namespace lorikeet::testing {

using Bytes = std::vector<uint8_t>;

// Smooth, so that lossy formats stay near; every channel differs.
Picture gradient(int width, int height, int channels);

struct PngKind {
  int color, depth;  // PNG_COLOR_TYPE_…, bits
  bool transparent_color;
  int width_px = 4, height_px = 2;
};
// rows: height_px of row_bytes each.
Bytes make_png(const PngKind& kind, int row_bytes, const Bytes& rows);

// A 16 x 8 JPEG, left half dark, right half light; `exif` may be empty. cmyk: CMYK with Adobe's marker.
Bytes make_jpeg(bool cmyk, const Bytes& exif, int width_px = 16, int height_px = 8);

// "Exif\0\0", little endian, IFD0 with the orientation alone.
Bytes orientation_exif(uint8_t value);

}  // namespace lorikeet::testing
