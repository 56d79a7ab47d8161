// The upper halves of the single-byte encodings that text is most often misread in: what bytes 0x80..0xFF mean.
// Windows code pages leave some bytes unassigned; like web browsers we let those stand for the C1 control of the same number.
// Source of the tables: the Unicode Consortium's mapping files (unicode.org/Public/MAPPINGS).
#include "prompt/mojibake.h"

namespace lorikeet {

namespace {
constexpr char32_t kWindows1252[] =
    U"€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008DŽ\u008F\u0090‘’“”•–—˜™š›œ\u009DžŸ"
    U"\u00A0¡¢£¤¥¦§¨©ª«¬\u00AD®¯°±²³´µ¶·¸¹º»¼½¾¿"
    U"ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞß"
    U"àáâãäåæçèéêëìíîïðñòóôõö÷øùúûüýþÿ";
constexpr char32_t kWindows1251[] =
    U"ЂЃ‚ѓ„…†‡€‰Љ‹ЊЌЋЏђ‘’“”•–—\u0098™љ›њќћџ"
    U"\u00A0ЎўЈ¤Ґ¦§Ё©Є«¬\u00AD®Ї°±Ііґµ¶·ё№є»јЅѕї"
    U"АБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ"
    U"абвгдежзийклмнопрстуфхцчшщъыьэюя";
constexpr char32_t kWindows1250[] =
    U"€\u0081‚\u0083„…†‡\u0088‰Š‹ŚŤŽŹ\u0090‘’“”•–—\u0098™š›śťžź"
    U"\u00A0ˇ˘Ł¤Ą¦§¨©Ş«¬\u00AD®Ż°±˛ł´µ¶·¸ąş»Ľ˝ľż"
    U"ŔÁÂĂÄĹĆÇČÉĘËĚÍÎĎĐŃŇÓÔŐÖ×ŘŮÚŰÜÝŢß"
    U"ŕáâăäĺćçčéęëěíîďđńňóôőö÷řůúűüýţ˙";
constexpr char32_t kWindows1253[] =
    U"€\u0081‚ƒ„…†‡\u0088‰\u008A‹\u008C\u008D\u008E\u008F\u0090‘’“”•–—\u0098™\u009A›\u009C\u009D\u009E\u009F"
    U"\u00A0΅Ά£¤¥¦§¨©ª«¬\u00AD®―°±²³΄µ¶·ΈΉΊ»Ό½ΎΏ"
    U"ΐΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡÒΣΤΥΦΧΨΩΪΫάέήί"
    U"ΰαβγδεζηθικλμνξοπρςστυφχψωϊϋόύώÿ";
constexpr char32_t kWindows1254[] =
    U"€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008D\u008E\u008F\u0090‘’“”•–—˜™š›œ\u009D\u009EŸ"
    U"\u00A0¡¢£¤¥¦§¨©ª«¬\u00AD®¯°±²³´µ¶·¸¹º»¼½¾¿"
    U"ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏĞÑÒÓÔÕÖ×ØÙÚÛÜİŞß"
    U"àáâãäåæçèéêëìíîïğñòóôõö÷øùúûüışÿ";
constexpr char32_t kIso88592[] =
    U"\u0080\u0081\u0082\u0083\u0084\u0085\u0086\u0087\u0088\u0089\u008A\u008B\u008C\u008D\u008E\u008F\u0090\u0091\u0092\u0093\u0094\u0095"
    U"\u0096\u0097\u0098\u0099\u009A\u009B\u009C\u009D\u009E\u009F"
    U"\u00A0Ą˘Ł¤ĽŚ§¨ŠŞŤŹ\u00ADŽŻ°ą˛ł´ľśˇ¸šşťź˝žż"
    U"ŔÁÂĂÄĹĆÇČÉĘËĚÍÎĎĐŃŇÓÔŐÖ×ŘŮÚŰÜÝŢß"
    U"ŕáâăäĺćçčéęëěíîďđńňóôőö÷řůúűüýţ˙";
constexpr char32_t kMacRoman[] =
    U"ÄÅÇÉÑÖÜáàâäãåçéèêëíìîïñóòôöõúùûü"
    U"†°¢£§•¶ß®©™´¨≠ÆØ∞±≤≥¥µ∂∑∏π∫ªºΩæø"
    U"¿¡¬√ƒ≈∆«»…\u00A0ÀÃÕŒœ–—“”‘’÷◊ÿŸ⁄€‹›ﬁﬂ"
    U"‡·‚„‰ÂÊÁËÈÍÎÏÌÓÔ\uF8FFÒÚÛÙıˆ˜¯˘˙˚¸˝˛ˇ";
constexpr char32_t kCp437[] =
    U"ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒ"
    U"áíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐"
    U"└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀"
    U"αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00A0";
}  // namespace

std::span<const CodePage> code_pages() {
  // In the order in which they are tried. "sloppy": byte 0x1A stands for U+FFFD.
  static const std::vector<CodePage> pages{CodePage(nullptr, false),     CodePage(kWindows1252, true), CodePage(kWindows1251, true),
                                           CodePage(kWindows1250, true), CodePage(kWindows1253, true), CodePage(kWindows1254, true),
                                           CodePage(kIso88592, false),   CodePage(kMacRoman, false),   CodePage(kCp437, false)};
  return pages;
}

CodePage::CodePage(const char32_t* upper_half, bool sloppy) {
  for (int byte = 0; byte < 256; ++byte) {
    const bool upper = byte >= 0x80 && upper_half != nullptr;
    const char32_t c = upper ? upper_half[byte - 0x80] : static_cast<char32_t>(byte);
    from_byte_[byte] = sloppy && byte == kLossyByte ? 0xFFFD : c;
    to_byte_[from_byte_[byte]] = static_cast<unsigned char>(byte);
  }
}

std::optional<std::string> CodePage::encode(std::u32string_view text) const {
  std::string bytes;
  bytes.reserve(text.size());
  for (const char32_t c : text) {
    const auto found = to_byte_.find(c);
    if (found == to_byte_.end()) return std::nullopt;
    bytes += static_cast<char>(found->second);
  }
  return bytes;
}

}  // namespace lorikeet
