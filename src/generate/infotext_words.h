// The words and quoting that infotext's writer and reader share.
#pragma once
#include <string>
#include <string_view>

namespace lorikeet {

inline constexpr std::string_view kExactPrompt = "Exact prompt", kExactNegativePrompt = "Exact negative prompt";

// What a setting that is on reads like: "Tiling: True", "Mask mode: Inpaint not masked", "Inpaint area: Only masked".
std::string_view word_for_true(std::string_view infotext_key);

// JSON-quoted where the value holds ',', ':' or a line break (A1111's quote()), or where the reader would not give it back: white space or
// quotes at an end.
std::string quote_infotext(std::string_view value);
// The inverse; text that is not quoted, or not well, comes back as it is (A1111's unquote()).
std::string unquote_infotext(std::string_view value);

}  // namespace lorikeet
