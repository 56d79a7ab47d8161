// The text side of picture files: EXIF blocks (JPEG, WebP) and the character sets that the formats use. Neighbour of picture.h.
// EXIF 2.32 (CIPA DC-008-2019): a TIFF header, a directory IFD0 with the orientation and a pointer to the Exif directory, there the
// UserComment.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lorikeet {

struct Exif {
  int orientation = 1;       // 1..8, EXIF tag 0x0112
  std::string user_comment;  // EXIF tag 0x9286 as UTF-8; "" when absent
};

// `block` begins with the TIFF header, or with "Exif\0\0" before it. A damaged block gives what could be read, never an error:
// the picture beside it may be whole.
Exif read_exif(std::span<const uint8_t> block);

// A block with this UserComment as piexif writes it (big endian, "UNICODE\0", UTF-16), beginning with the TIFF header.
std::vector<uint8_t> write_exif(std::string_view user_comment_utf8);

// nullopt where a character is outside of Latin-1, or where the text is no valid UTF-8.
std::optional<std::string> utf8_to_latin1(std::string_view utf8);
std::string latin1_to_utf8(std::string_view latin1);
std::vector<uint16_t> utf8_to_utf16(std::string_view utf8);         // bad bytes become U+FFFD
std::string utf16_to_utf8(std::span<const uint16_t> units);         // lone surrogates become U+FFFD
std::string decode_user_comment(std::span<const uint8_t> comment);  // with its 8 bytes of character code; either byte order

}  // namespace lorikeet
