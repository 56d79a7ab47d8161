// The embedding that a picture carries, as AUTOMATIC1111's webui stores it (modules/textual_inversion/image_embedding.py): as base64
// JSON in a PNG text, or in the lower four bits of the pixels left and right of the visible picture.
#include <zlib.h>

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "io/picture_base64.h"
#include "prompt/embedding_file.h"

namespace lorikeet {

namespace {
constexpr uint8_t kDataBits = 0x0F;
constexpr size_t kLargestJson = size_t{64} << 20;

// A rectangle of a picture: columns [left, right), rows [top, bottom).
struct Area {
  int left, right, top, bottom;
};

uint8_t sample(const Picture& picture, int x, int y, int channel) {
  const auto place = static_cast<size_t>(y) * picture.width_px + x;
  return picture.pixels[place * picture.channels + channel];
}

// What remains without the black border: rows and columns in which no pixel has all three channels above zero are cut off.
Area without_border(const Picture& picture) {
  Area area{picture.width_px, 0, picture.height_px, 0};
  for (int y = 0; y < picture.height_px; ++y) {
    for (int x = 0; x < picture.width_px; ++x) {
      if (!sample(picture, x, y, 0) || !sample(picture, x, y, 1) || !sample(picture, x, y, 2)) continue;
      area = {std::min(area.left, x), std::max(area.right, x + 1), std::min(area.top, y), std::max(area.bottom, y + 1)};
    }
  }
  return area;
}

bool is_empty_column(const Picture& picture, const Area& area, int x) {
  for (int y = area.top; y < area.bottom; ++y)
    for (int channel = 0; channel < 3; ++channel)
      if (sample(picture, x, y, channel) & kDataBits) return false;
  return true;
}

// The data bits of an area, without the mask that a linear congruential generator (Numerical Recipes' constants) laid over them.
std::vector<uint8_t> read_nibbles(const Picture& picture, const Area& area) {
  std::vector<uint8_t> nibbles;
  uint32_t state = 0;
  for (int y = area.top; y < area.bottom; ++y) {
    for (int x = area.left; x < area.right; ++x) {
      for (int channel = 0; channel < 3; ++channel) {
        state = 1664525U * state + 1013904223U;
        nibbles.push_back((sample(picture, x, y, channel) ^ (state % 255)) & kDataBits);
      }
    }
  }
  return nibbles;
}

// The zlib stream at the start of `bytes`; nothing when there is none.
std::optional<std::string> inflate_start(std::vector<uint8_t> bytes) {
  z_stream stream{};
  if (inflateInit(&stream) != Z_OK) return std::nullopt;
  stream.next_in = bytes.data();
  stream.avail_in = static_cast<uInt>(bytes.size());
  std::string text;
  std::vector<uint8_t> block(1 << 16);
  int state = Z_OK;
  while (state == Z_OK && text.size() < kLargestJson) {
    stream.next_out = block.data();
    stream.avail_out = static_cast<uInt>(block.size());
    state = inflate(&stream, Z_NO_FLUSH);
    text.append(block.begin(), block.end() - stream.avail_out);
  }
  inflateEnd(&stream);
  return state == Z_STREAM_END ? std::optional(text) : std::nullopt;
}

std::optional<std::string> read_pixels(const Picture& picture) {
  if (picture.channels < 3) return std::nullopt;
  const Area area = without_border(picture);
  std::vector<int> empty;
  for (int x = area.left; x < area.right; ++x)
    if (is_empty_column(picture, area, x)) empty.push_back(x);
  if (empty.size() < 2) return std::nullopt;
  const auto low = read_nibbles(picture, {area.left, empty.front(), area.top, area.bottom});
  const auto high = read_nibbles(picture, {empty.back() + 1, area.right, area.top, area.bottom});
  if (low.empty() || low.size() != high.size()) return std::nullopt;
  std::vector<uint8_t> bytes(low.size());
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(high[i] << 4 | low[i]);
  return inflate_start(std::move(bytes));
}
}  // namespace

std::optional<std::string> embedding_json_of(const PictureFile& picture) {
  if (const std::string text = text_named(picture.text, "sd-ti-embedding"); !text.empty()) {
    const auto bytes = from_base64(text);
    return std::string(bytes.begin(), bytes.end());
  }
  return read_pixels(picture.picture);
}

}  // namespace lorikeet
