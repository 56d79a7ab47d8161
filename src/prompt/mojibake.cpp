#include "prompt/mojibake.h"

#include <algorithm>

#include "base/text.h"
#include "prompt/unicode.h"

namespace lorikeet {

namespace {
constexpr int kMostLayers = 32;  // text misread more often than this stays as it is

unsigned char byte_at(std::string_view bytes, size_t i) { return i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0; }
bool in(unsigned char c, unsigned char first, unsigned char last) { return c >= first && c <= last; }
bool one_of(unsigned char c, std::string_view set) { return set.find(static_cast<char>(c)) != std::string_view::npos; }

// Replaces each match of `length_at` (its length, 0: none) by `replacement(match)`.
template <class LengthAt, class Replacement>
std::string replace_matches(std::string_view bytes, LengthAt length_at, Replacement replacement) {
  std::string result;
  result.reserve(bytes.size());
  for (size_t i = 0; i < bytes.size();) {
    const size_t length = length_at(bytes.substr(i));
    if (length == 0) {
      result += bytes[i++];
    } else {
      result += replacement(bytes.substr(i, length));
      i += length;
    }
  }
  return result;
}

// A UTF-8 sequence in which a space stands for byte 0xA0 (a no-break space that was "cleaned up").
size_t spaced_sequence(std::string_view s) {
  const auto at = [&](size_t i) { return byte_at(s, i); };
  const auto tail = [&](size_t i) { return in(at(i), 0x80, 0xBF); };
  const auto chosen_tail = [&](size_t i) { return tail(i) && at(i) != 0x85 && at(i) != 0xA0; };
  if (one_of(at(0), "\xC2\xC3\xC5\xCE\xD0\xD9") && at(1) == ' ') return 2;
  if (in(at(0), 0xE2, 0xE3) && at(1) == ' ' && chosen_tail(2)) return 3;
  if (in(at(0), 0xE0, 0xE3) && chosen_tail(1) && at(2) == ' ') return 3;
  if (at(0) != 0xF0) return 0;
  const int spaces = (at(1) == ' ') + (at(2) == ' ') + (at(3) == ' ');
  return spaces == 1 && (tail(1) || at(1) == ' ') && (tail(2) || at(2) == ' ') && (tail(3) || at(3) == ' ') ? 4 : 0;
}

// "Ã " as a word of its own, "à"; but not where Portuguese goes on ("às", "àquele").
size_t a_grave_word(std::string_view s) {
  if (!starts_with(s, "\xC3 ")) return 0;
  const std::string_view rest = s.substr(2);
  for (const std::string_view going_on : {" ", "quele", "quela", "quilo", "s "})
    if (starts_with(rest, going_on)) return 0;
  return 2;
}

std::string restore_no_break_spaces(const std::string& bytes) {
  bool any = false;
  for (size_t i = 0; i < bytes.size() && !any; ++i) any = spaced_sequence(std::string_view(bytes).substr(i)) > 0;
  if (!any) return bytes;
  const std::string words = replace_matches(bytes, a_grave_word, [](std::string_view) { return std::string("\xC3\xA0 "); });
  return replace_matches(words, spaced_sequence, [](std::string_view match) { return replace_all(std::string(match), " ", "\xA0"); });
}

// A UTF-8 (or CESU-8) sequence that lost bytes to kLossyByte, one of them perhaps to '?'.
size_t lossy_sequence(std::string_view s) {
  const auto at = [&](size_t i) { return byte_at(s, i); };
  const auto lost = [&](size_t i) { return at(i) == CodePage::kLossyByte; };
  const auto gone = [&](size_t i) { return lost(i) || at(i) == '?'; };
  const auto tail = [&](size_t i) { return lost(i) || in(at(i), 0x80, 0xBF); };
  if (in(at(0), 0xC2, 0xDF) && lost(1)) return 2;
  if (in(at(0), 0xC2, 0xC3) && at(1) == '?') return 2;
  const bool surrogates = at(0) == 0xED && in(at(1), 0xA0, 0xAF) && at(3) == 0xED && in(at(4), 0xB0, 0xBF);
  if (surrogates && ((gone(2) && (tail(5) || gone(5))) || ((tail(2) || gone(2)) && gone(5)))) return 6;
  if (in(at(0), 0xE0, 0xEF) && ((gone(1) && tail(2)) || (tail(1) && gone(2)))) return 3;
  if (in(at(0), 0xF0, 0xF4)) {
    if (gone(1) && tail(2) && tail(3)) return 4;
    if (tail(1) && gone(2) && tail(3)) return 4;
    if (tail(1) && tail(2) && gone(3)) return 4;
  }
  return lost(0) ? 1 : 0;
}

// Strict UTF-8; with `variants` also Java's two-byte NUL and surrogate pairs of three bytes each (CESU-8).
std::optional<std::u32string> decode_utf8(std::string_view bytes, bool variants) {
  if (!variants) return is_valid_utf8(bytes) ? std::optional(unicode::decode(bytes)) : std::nullopt;
  std::string plain;
  for (size_t i = 0; i < bytes.size();) {
    const auto at = [&](size_t k) { return byte_at(bytes, i + k); };
    const bool pair =
        at(0) == 0xED && in(at(1), 0xA0, 0xAF) && in(at(2), 0x80, 0xBF) && at(3) == 0xED && in(at(4), 0xB0, 0xBF) && in(at(5), 0x80, 0xBF);
    if (at(0) == 0xC0 && at(1) == 0x80) {
      plain += '\0';
      i += 2;
    } else if (pair) {
      const char32_t code = 0x10000 + ((at(1) & 0x0F) << 16) + ((at(2) & 0x3F) << 10) + ((at(4) & 0x0F) << 6) + (at(5) & 0x3F);
      plain += unicode::encode({&code, 1});
      i += 6;
    } else {
      plain += bytes[i++];
    }
  }
  return is_valid_utf8(plain) ? std::optional(unicode::decode(plain)) : std::nullopt;
}

std::optional<std::u32string> reread_as_utf8(const CodePage& page, std::string bytes) {
  bytes = restore_no_break_spaces(bytes);
  if (page.sloppy()) bytes = replace_matches(bytes, lossy_sequence, [](std::string_view) { return std::string("\xEF\xBF\xBD"); });
  return decode_utf8(bytes, bytes.find('\xED') != std::string::npos || bytes.find('\xC0') != std::string::npos);
}

// What the bytes of UTF-8 sequences look like in Latin-1 and its kin: lead bytes of sequences of two, three and four, and the others.
constexpr std::u32string_view kLeadOfTwo =
    U"ÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞßĂĆČĎĐĘĚĞİĹŃŇŐŘŞŢŮŰ"
    U"ΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩΪΫάέήίВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ";
constexpr std::u32string_view kLeadOfThree = U"àáâãäåæçèéêëìíîïăćčďęěĺŕΰαβγδεζηθικλμνξοабвгдежзийклмноп";
constexpr std::u32string_view kLeadOfFour = U"ðóđğπσру";
constexpr std::u32string_view kTails = U"ĄąĽľŁłŒœŚśŞşŠšŤťŸŹźŻżŽžƒˆˇ˘˛˜˝΄΅ΆΈΉΊΌΎΏЁЂЃЄЅІЇЈЉЊЋЌЎЏёђѓєѕіїјљњћќўџҐґ†‡•‰‹›€№™";
constexpr std::u32string_view kLooseTails = U"–—―‘’‚“”„… ";  // these also stand for themselves

bool is_strict_tail(char32_t c) { return (c >= 0x80 && c <= 0xBF) || kTails.find(c) != std::u32string_view::npos; }
bool is_tail(char32_t c) { return is_strict_tail(c) || kLooseTails.find(c) != std::u32string_view::npos; }

size_t sequence_length(std::u32string_view text) {
  size_t length = 0;
  if (kLeadOfTwo.find(text[0]) != std::u32string_view::npos) length = 2;
  if (kLeadOfThree.find(text[0]) != std::u32string_view::npos) length = 3;
  if (kLeadOfFour.find(text[0]) != std::u32string_view::npos) length = 4;
  if (length == 0 || text.size() < length) return 0;
  return std::all_of(text.begin() + 1, text.begin() + length, is_tail) ? length : 0;
}

// Repairs runs of misread sequences inside otherwise honest text, each by itself.
std::u32string repair_parts(const std::u32string& text) {
  std::u32string result;
  for (size_t i = 0; i < text.size();) {
    size_t end = i;
    const bool may_begin = i == 0 || !is_strict_tail(text[i - 1]);
    while (may_begin && end < text.size()) {
      const size_t length = sequence_length(std::u32string_view(text).substr(end));
      if (length == 0) break;
      end += length;
    }
    const std::u32string part = text.substr(i, std::max<size_t>(end - i, 1));
    const bool repair = end > i && part.size() < text.size() && looks_misread(part);
    result += repair ? repair_encoding(part) : part;
    i += part.size();
  }
  return result;
}

// Latin-1 control characters that must have been Windows-1252; nothing when a byte has no meaning there.
std::optional<std::u32string> reread_as_windows(const std::u32string& text) {
  std::u32string result = text;
  for (char32_t& c : result) {
    if (c < 0x80 || c > 0x9F) continue;
    const char32_t meant = code_pages()[1].decode(static_cast<unsigned char>(c));
    if (meant == c) return std::nullopt;
    c = meant;
  }
  return result;
}

std::u32string repair_one_layer(const std::u32string& text) {
  const bool ascii = std::all_of(text.begin(), text.end(), [](char32_t c) { return c < 0x80; });
  if (ascii || !looks_misread(text)) return text;
  bool latin1 = false;
  for (const CodePage& page : code_pages()) {
    const auto bytes = page.encode(text);
    if (!bytes) continue;
    latin1 = latin1 || &page == &code_pages()[0];
    if (const auto reread = reread_as_utf8(page, *bytes)) return *reread;
  }
  if (std::u32string parts = repair_parts(text); parts != text) return parts;
  if (latin1) {
    const auto windows = reread_as_windows(text);
    if (windows && *windows != text) return *windows;
  }
  return repair_c1_controls(text);
}
}  // namespace

std::u32string repair_encoding(std::u32string text) {
  for (int layer = 0; layer < kMostLayers; ++layer) {
    std::u32string repaired = repair_one_layer(text);
    if (repaired == text) break;
    text = std::move(repaired);
  }
  return text;
}

std::u32string repair_c1_controls(std::u32string text) {
  for (char32_t& c : text)
    if (c >= 0x80 && c <= 0x9F) c = code_pages()[1].decode(static_cast<unsigned char>(c));
  return text;
}

}  // namespace lorikeet
