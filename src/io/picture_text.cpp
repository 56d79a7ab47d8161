#include "io/picture_text.h"

#include <algorithm>

#include "base/text.h"

namespace lorikeet {

namespace {
constexpr uint16_t kOrientation = 0x0112, kExifDirectory = 0x8769, kUserComment = 0x9286;
constexpr uint16_t kShort = 3, kLong = 4, kUndefined = 7;  // TIFF field types

// The code points of text that is valid UTF-8.
std::vector<uint32_t> code_points(std::string_view valid) {
  std::vector<uint32_t> points;
  for (size_t i = 0; i < valid.size();) {
    const auto byte = [&](size_t k) { return static_cast<uint32_t>(static_cast<unsigned char>(valid[i + k])); };
    const uint32_t first = byte(0);
    const int length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    uint32_t c = length == 1 ? first : first & (0xFF >> (length + 1));
    for (int k = 1; k < length; ++k) c = c << 6 | (byte(k) & 0x3F);
    points.push_back(c);
    i += length;
  }
  return points;
}

// Bounds-checked numbers of a TIFF block; everything outside reads as 0.
struct Tiff {
  std::span<const uint8_t> bytes;
  bool big;
  uint32_t byte(size_t at) const { return at < bytes.size() ? bytes[at] : 0; }
  uint16_t u16(size_t at) const { return static_cast<uint16_t>(big ? byte(at) << 8 | byte(at + 1) : byte(at + 1) << 8 | byte(at)); }
  uint32_t u32(size_t at) const { return big ? uint32_t{u16(at)} << 16 | u16(at + 2) : uint32_t{u16(at + 2)} << 16 | u16(at); }
};

// Reads the directory at `at`; follows the pointer to the Exif directory once.
void read_directory(const Tiff& tiff, size_t at, bool nested, Exif& exif) {
  if (at + 2 > tiff.bytes.size()) return;
  const size_t count = tiff.u16(at);
  for (size_t i = 0; i < count && at + 2 + 12 * (i + 1) <= tiff.bytes.size(); ++i) {
    const size_t entry = at + 2 + 12 * i;
    const uint16_t tag = tiff.u16(entry), type = tiff.u16(entry + 2);
    const size_t length = tiff.u32(entry + 4);
    if (tag == kOrientation && type == kShort) {
      const int value = tiff.u16(entry + 8);
      if (value >= 1 && value <= 8) exif.orientation = value;
    } else if (tag == kExifDirectory && !nested) {
      read_directory(tiff, tiff.u32(entry + 8), true, exif);
    } else if (tag == kUserComment) {
      const size_t from = length <= 4 ? entry + 8 : tiff.u32(entry + 8);
      if (from < tiff.bytes.size() && length <= tiff.bytes.size() - from)
        exif.user_comment = decode_user_comment(tiff.bytes.subspan(from, length));
    }
  }
}

// Writers disagree about the byte order of UTF-16: a mark rules; else the order in which more units are below 256.
std::string decode_utf16_of_unknown_order(std::span<const uint8_t> bytes) {
  std::vector<uint16_t> big, little;
  for (size_t i = 0; i + 1 < bytes.size(); i += 2) {
    big.push_back(static_cast<uint16_t>(bytes[i] << 8 | bytes[i + 1]));
    little.push_back(static_cast<uint16_t>(bytes[i + 1] << 8 | bytes[i]));
  }
  if (big.empty()) return {};
  const auto plain = [](const std::vector<uint16_t>& units) {
    return std::count_if(units.begin(), units.end(), [](uint16_t u) { return u < 256; });
  };
  const bool is_big = big[0] == 0xFEFF || (little[0] != 0xFEFF && plain(big) >= plain(little));
  std::vector<uint16_t>& units = is_big ? big : little;
  if (units[0] == 0xFEFF) units.erase(units.begin());
  return utf16_to_utf8(units);
}
}  // namespace

std::optional<std::string> utf8_to_latin1(std::string_view utf8) {
  if (!is_valid_utf8(utf8)) return std::nullopt;
  std::string latin1;
  for (const uint32_t c : code_points(utf8)) {
    if (c > 0xFF) return std::nullopt;
    latin1 += static_cast<char>(c);
  }
  return latin1;
}

std::string latin1_to_utf8(std::string_view latin1) {
  std::string utf8;
  for (const char c : latin1) append_utf8(utf8, static_cast<unsigned char>(c));
  return utf8;
}

std::vector<uint16_t> utf8_to_utf16(std::string_view utf8) {
  std::vector<uint16_t> units;
  for (const uint32_t c : code_points(valid_utf8(utf8))) {
    if (c < 0x10000) {
      units.push_back(static_cast<uint16_t>(c));
    } else {
      units.push_back(static_cast<uint16_t>(0xD800 + ((c - 0x10000) >> 10)));
      units.push_back(static_cast<uint16_t>(0xDC00 + ((c - 0x10000) & 0x3FF)));
    }
  }
  return units;
}

std::string utf16_to_utf8(std::span<const uint16_t> units) {
  std::string utf8;
  for (size_t i = 0; i < units.size(); ++i) {
    const uint32_t c = units[i];
    if (c < 0xD800 || c > 0xDFFF) {
      append_utf8(utf8, c);
    } else if (c < 0xDC00 && i + 1 < units.size() && units[i + 1] >= 0xDC00 && units[i + 1] <= 0xDFFF) {
      append_utf8(utf8, 0x10000 + ((c - 0xD800) << 10) + (units[++i] - 0xDC00));
    } else {
      append_utf8(utf8, 0xFFFD);
    }
  }
  return utf8;
}

std::string decode_user_comment(std::span<const uint8_t> comment) {
  if (comment.size() < 8) return {};
  const std::string_view code(reinterpret_cast<const char*>(comment.data()), 8);
  const auto body = comment.subspan(8);
  std::string text = starts_with(code, "UNICODE") ? decode_utf16_of_unknown_order(body)
                                                  : valid_utf8({reinterpret_cast<const char*>(body.data()), body.size()});
  while (!text.empty() && text.back() == '\0') text.pop_back();
  return text;
}

Exif read_exif(std::span<const uint8_t> block) {
  Exif exif;
  constexpr std::string_view kPrefix("Exif\0\0", 6);
  if (block.size() >= 6 && std::string_view(reinterpret_cast<const char*>(block.data()), 6) == kPrefix) block = block.subspan(6);
  if (block.size() < 8) return exif;
  const bool big = block[0] == 'M' && block[1] == 'M', little = block[0] == 'I' && block[1] == 'I';
  const Tiff tiff{block, big};
  if ((big || little) && tiff.u16(2) == 42) read_directory(tiff, tiff.u32(4), false, exif);
  return exif;
}

std::vector<uint8_t> write_exif(std::string_view user_comment_utf8) {
  std::vector<uint8_t> block;
  const auto u16 = [&](uint32_t v) {
    block.push_back(static_cast<uint8_t>(v >> 8));
    block.push_back(static_cast<uint8_t>(v));
  };
  const auto u32 = [&](uint32_t v) { u16(v >> 16), u16(v & 0xFFFF); };
  const auto directory_of_one = [&](uint16_t tag, uint16_t type, uint32_t count, uint32_t value) {
    u16(1), u16(tag), u16(type), u32(count), u32(value), u32(0);
  };
  constexpr uint32_t kHeader = 8, kDirectory = 18;  // a directory of one entry: count, entry, pointer to the next
  const auto units = utf8_to_utf16(user_comment_utf8);
  u16('M' << 8 | 'M'), u16(42), u32(kHeader);
  directory_of_one(kExifDirectory, kLong, 1, kHeader + kDirectory);
  directory_of_one(kUserComment, kUndefined, static_cast<uint32_t>(8 + 2 * units.size()), kHeader + 2 * kDirectory);
  for (const char c : std::string_view("UNICODE\0", 8)) block.push_back(static_cast<uint8_t>(c));
  for (const uint16_t unit : units) u16(unit);
  return block;
}

}  // namespace lorikeet
