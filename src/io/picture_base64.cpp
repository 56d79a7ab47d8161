#include "io/picture_base64.h"

#include <array>

#include "base/error.h"
#include "base/text.h"

namespace lorikeet {

namespace {
constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
}

std::string to_base64(std::span<const uint8_t> bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const auto byte = [&](size_t k) { return i + k < bytes.size() ? uint32_t{bytes[i + k]} : 0; };
    const uint32_t three = byte(0) << 16 | byte(1) << 8 | byte(2);
    for (size_t k = 0; k < 4; ++k) text += i + k > bytes.size() ? '=' : kAlphabet[three >> (18 - 6 * k) & 63];
  }
  return text;
}

std::vector<uint8_t> from_base64(std::string_view text) {
  std::vector<uint8_t> bytes;
  bytes.reserve(text.size() / 4 * 3);
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    if (c == '=' || trim({&c, 1}).empty()) continue;
    const size_t value = kAlphabet.find(c);
    if (value == std::string_view::npos) throw Error(ErrorKind::bad_input, "this is no base64 text");
    bits = bits << 6 | static_cast<uint32_t>(value);
    if (++count % 4 == 0) {
      for (const int shift : {16, 8, 0}) bytes.push_back(static_cast<uint8_t>(bits >> shift));
      bits = 0;
    }
  }
  if (count % 4 == 1) throw Error(ErrorKind::bad_input, "this base64 text ends too early");
  if (count % 4 >= 2) bytes.push_back(static_cast<uint8_t>(bits >> (count % 4 == 2 ? 4 : 10)));
  if (count % 4 == 3) bytes.push_back(static_cast<uint8_t>(bits >> 2));
  return bytes;
}

bool is_data_uri(std::string_view text) { return starts_with(lower(text.substr(0, 5)), "data:"); }

std::string to_data_uri(const Picture& picture) {
  return "data:image/png;base64," + to_base64(encode_picture(PictureFormat::png, picture));
}

PictureFile picture_from_base64(std::string_view text) {
  if (is_data_uri(text)) {
    const size_t comma = text.find(',');
    const bool base64 = comma != std::string_view::npos && ends_with(lower(text.substr(0, comma)), ";base64");
    if (!base64) throw Error(ErrorKind::bad_input, "a data URI without base64", "give \"data:image/png;base64,…\"");
    text.remove_prefix(comma + 1);
  }
  return decode_picture(from_base64(text));
}

}  // namespace lorikeet
