// The Unicode properties and mappings that the prompt language needs, as Python defines them (the language was defined by Python
// programs: what is white space, a word, a digit, lower case). Data: utf8proc.
#pragma once
#include <string>
#include <string_view>

namespace lorikeet::unicode {

std::u32string decode(std::string_view utf8);  // bytes that are no UTF-8 become U+FFFD
std::string encode(std::u32string_view text);

bool is_space(char32_t c);    // str.isspace(), re's \s
bool is_letter(char32_t c);   // \p{L}
bool is_number(char32_t c);   // \p{N}
bool is_word(char32_t c);     // re's \w: letters, numbers and '_' (no combining marks)
int digit_value(char32_t c);  // 0..9 for a decimal digit of any script (re's \d), else -1

std::u32string_view trim(std::u32string_view text);

// str.lower(): with the final sigma and the dotted capital I.
std::u32string lower(std::u32string_view text);

// Normalisation form C; n log n even for text of combining marks only.
std::u32string compose(std::u32string_view text);
// Normalisation form KC of one character.
std::u32string compatible(char32_t c);
char32_t upper(char32_t c);

}  // namespace lorikeet::unicode
