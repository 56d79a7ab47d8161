// Repair of text that was written in UTF-8 and read in another encoding ("schÃ¶n" -> "schön"). The rules, and so the results, are
// those of the Python library ftfy 6.1 (Robyn Speer, https://ftfy.readthedocs.io), which CLIP's tokenizers run on every prompt.
#pragma once
#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace lorikeet {

// A single-byte encoding of ASCII and 128 other characters.
class CodePage {
 public:
  static constexpr unsigned char kLossyByte = 0x1A;  // SUBSTITUTE: stands for a character that was lost
  // upper_half: 128 characters, null: Latin-1. sloppy: kLossyByte is U+FFFD.
  CodePage(const char32_t* upper_half, bool sloppy);

  std::optional<std::string> encode(std::u32string_view text) const;  // nothing when a character is not in the page
  char32_t decode(unsigned char byte) const { return from_byte_[byte]; }
  bool sloppy() const { return from_byte_[kLossyByte] == 0xFFFD; }

 private:
  std::array<char32_t, 256> from_byte_{};
  std::unordered_map<char32_t, unsigned char> to_byte_;
};

// Latin-1, Windows-1252, -1251, -1250, -1253, -1254, ISO-8859-2, MacRoman, CP437.
std::span<const CodePage> code_pages();

// The text holds a sequence of characters that hardly occurs except in misread text.
bool looks_misread(std::u32string_view text);

// Undoes as many layers of misreading as it finds; other text comes back as it is.
std::u32string repair_encoding(std::u32string text);

// Characters U+0080..U+009F become what Windows-1252 means by that byte.
std::u32string repair_c1_controls(std::u32string text);

}  // namespace lorikeet
