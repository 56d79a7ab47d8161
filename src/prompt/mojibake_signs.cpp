// looks_misread(): which neighbouring characters betray misread text. The 400 or so characters that UTF-8 turns into when it is
// misread fall into a few classes; some classes hardly ever stand side by side in honest text. Classes and sequences: ftfy 6.1.
#include <algorithm>
#include <cstdint>

#include "prompt/mojibake.h"
#include "prompt/unicode.h"

namespace lorikeet {

namespace {
enum : uint32_t {
  kCommon = 1 << 0,  // occurs in many contexts
  kC1 = 1 << 1,      // control characters U+0080..U+009F
  kBad = 1 << 2,     // hardly occurs in honest text
  kCurrency = 1 << 3,
  kOpening = 1 << 4,  // punctuation before a word
  kClosing = 1 << 5,  // punctuation behind a word
  kNumeric = 1 << 6,
  kFace = 1 << 7,  // letters of faces such as (òÓ)
  kUpperAccented = 1 << 8,
  kLowerAccented = 1 << 9,
  kUpperCommon = 1 << 10,  // whole alphabets: may stand anywhere in a word
  kLowerCommon = 1 << 11,
  kBox = 1 << 12,
  kAsciiLower = 1 << 13,
  kAsciiUpper = 1 << 14,
  kSpace = 1 << 15,
  kWord = 1 << 16,
  kNoAsciiLetter = 1 << 17,
  kNoLineBreak = 1 << 18,
  kAccented = kUpperAccented | kLowerAccented,
  kAsciiLetter = kAsciiLower | kAsciiUpper,
};

// "a-z" is a range, other characters stand for themselves.
struct Members {
  uint32_t kind;
  std::u32string_view characters;
};

constexpr Members kMembers[] = {
    {kCommon, U"\u00A0\u00AD·´–—―…’"},
    {kC1, U"\u0080-\u009F"},
    {kBad, U"¦¤¨¬¯¶§¸ƒˆˇ˘˛˜†‡‰⌐◊\uFFFDªº"},
    {kCurrency, U"¢£¥₧€"},
    {kOpening, U"¡«¿©΄΅‘‚“„•‹\uF8FF"},
    {kClosing, U"®»˝”›™"},
    {kNumeric, U"²³¹±¼½¾×µ÷⁄∂∆∏∑√∞∩∫≈≠≡≤≥№"},
    {kFace, U"Ò-ÖÙ-Üò-öø-üŐ°"},
    {kUpperAccented, U"À-ÑØÜÝĂĄĆČĎĐĘĚĞİĹĽŁŃŇŒŘŚŞŠŢŤŮŰŸŹŻŽҐ"},
    {kLowerAccented, U"ßà-ñăąćčďđęěğĺľłœŕśşšťüźżžґﬁﬂ"},
    {kUpperCommon, U"ÞΑ-ΩΆΈΉΊΌΎΏΪΫЁ-Я"},
    {kLowerCommon, U"α-ωάέήίΰа-џ"},
    {kBox, U"│┌┐┘├┤┬┼═-╬▀▄█▌▐░▒▓"},
    {kAsciiLower, U"a-z"},
    {kAsciiUpper, U"A-Z"},
};

std::vector<uint32_t> build_kinds() {
  std::vector<uint32_t> kinds(0x10000, 0);
  for (const auto& [kind, characters] : kMembers) {
    for (size_t i = 0; i < characters.size(); ++i) {
      const bool range = i + 2 < characters.size() && characters[i + 1] == U'-';
      for (char32_t c = characters[i]; c <= characters[range ? i + 2 : i]; ++c) kinds[c] |= kind;
      if (range) i += 2;
    }
  }
  for (char32_t c = 0; c < kinds.size(); ++c) {
    if (unicode::is_space(c)) kinds[c] |= kSpace;
    if (unicode::is_word(c)) kinds[c] |= kWord;
    if (!(kinds[c] & kAsciiLetter)) kinds[c] |= kNoAsciiLetter;
    if (c != '\n') kinds[c] |= kNoLineBreak;
  }
  return kinds;
}

uint32_t kinds_of(char32_t c) {
  static const std::vector<uint32_t> kinds = build_kinds();
  if (c < kinds.size()) return kinds[c];
  return kNoAsciiLetter | kNoLineBreak | (unicode::is_word(c) ? uint32_t{kWord} : 0);
}

// One place of a sequence: a character of one of the kinds, or one of those listed.
struct Place {
  uint32_t kinds;
  std::u32string_view also = {};
};
using Sequence = std::vector<Place>;

constexpr uint32_t kSuspects = kAccented | kBox | kOpening | kClosing | kCurrency | kNumeric;
constexpr std::u32string_view kArabicTail = U"ŸŠ®°µ»";
constexpr uint32_t kArabicKinds = kCommon | kCurrency | kBad | kNumeric | kOpening;

const std::vector<Sequence>& sequences() {
  static const std::vector<Sequence> all{
      {{kC1}},
      {{kSuspects | kBad}, {kBad}},
      {{kAsciiLetter}, {kLowerCommon | kUpperCommon}, {kBad}},
      {{kBad}, {kSuspects}},
      {{kLowerAccented | kLowerCommon | kBox | kClosing | kCurrency | kNumeric}, {kUpperAccented}},
      {{kBox | kClosing | kCurrency | kNumeric}, {kLowerAccented}},
      {{kLowerAccented | kBox | kClosing}, {kCurrency}},
      {{kSpace}, {kUpperAccented}, {kCurrency}},
      {{kUpperAccented | kBox}, {kNumeric}},
      {{kAccented | kBox | kCurrency | kClosing}, {kOpening}, {kNumeric}},
      {{kAccented | kCurrency | kNumeric | kBox}, {kClosing}, {kOpening}},
      {{kCurrency | kNumeric | kBox}, {kOpening}},
      {{kAsciiLower}, {kUpperAccented}, {kOpening | kCurrency}},
      {{kBox}, {kFace}},
      {{kAccented | kCurrency | kNumeric | kOpening | kClosing}, {kBox}},
      {{kBox}, {kClosing}},
      {{kAccented}, {kClosing}, {kWord}},
      {{0, U"Œœ"}, {kNoAsciiLetter}},
      {{0, U"ÂÃÎÐ"}, {kOpening | kClosing, U"€Šš¢£Ÿž\u00A0\u00AD®©°·»–—´"}},  // Windows-1252
      {{0, U"×"}, {0, U"²³"}},
      {{0, U"ØÙ"}, {kArabicKinds, kArabicTail}, {0, U"ØÙ"}, {kArabicKinds, kArabicTail}},  // Arabic in Windows-1252
      {{0, U"à"}, {0, U"²µ¹¼½¾"}},                                                         // South Asian alphabets
      {{0, U"√"}, {0, U"±∂†≠®™´≤≥¥µø"}},                                                   // MacRoman
      {{0, U"≈"}, {0, U"°¢"}},
      {{0, U"‚"}, {0, U"Ä"}, {0, U"ìîïòôúùû†°¢π"}},
      {{0, U"‚"}, {0, U"âó"}, {0, U"àä°ê"}},
      {{0, U"в"}, {0, U"Ђ"}},  // Windows-1251
      {{0, U"ВГРС"}, {kC1 | kBad | kOpening | kClosing | kCurrency, U"°µ"}, {0, U"ВГРС"}},
      {{0, U"Г"}, {0, U"ў"}, {0, U"В"}, {0, U"Ђ"}, {0, U"В"}, {kNoLineBreak}, {kAsciiLetter, U" "}},
      {{0, U"Ã"}, {0, U"\u00A0¡"}},
      {{kAsciiLower}, {0, U"ÃÂ"}, {0, U" "}},
      {{kAsciiLower}, {kSpace}, {0, U"ÃÂ"}, {0, U" "}},
      {{kAsciiLower | kClosing, U".,?!"}, {0, U"Â"}, {kOpening | kClosing, U" "}},
      {{0, U"β"}, {0, U"€"}, {0, U"™\u00A0Ά\u00AD®°"}},  // Windows-1253
      {{0, U"ΒΓΞΟ"}, {kC1 | kBad | kOpening | kClosing | kCurrency, U"°"}, {0, U"ΒΓΞΟ"}},
  };
  return all;
}

bool fits(const Place& place, char32_t c, uint32_t kinds) {
  return (place.kinds & kinds) != 0 || place.also.find(c) != std::u32string_view::npos;
}

bool begins_with(std::u32string_view text, std::span<const uint32_t> kinds, const Sequence& sequence) {
  if (text.size() < sequence.size()) return false;
  for (size_t i = 0; i < sequence.size(); ++i)
    if (!fits(sequence[i], text[i], kinds[i])) return false;
  return true;
}
}  // namespace

bool looks_misread(std::u32string_view text) {
  if (text.size() > 1 && (text[0] == U'Ã' || text[0] == U'Â') && text[1] == U' ') return true;
  std::vector<uint32_t> kinds(text.size());
  std::transform(text.begin(), text.end(), kinds.begin(), kinds_of);
  for (size_t i = 0; i < text.size(); ++i)
    for (const auto& sequence : sequences())
      if (begins_with(text.substr(i), std::span(kinds).subspan(i), sequence)) return true;
  return false;
}

}  // namespace lorikeet
