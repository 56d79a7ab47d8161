// The clean-up that CLIP's tokenizers run on a prompt before anything else: what ftfy.fix_text of the Python library ftfy 6.1
// does with its defaults: misread encodings, HTML references, ligatures, full-width forms, curly quotes, line breaks, terminal
// escapes, control characters, normalisation form C.
#pragma once
#include <string>
#include <string_view>

namespace lorikeet {

std::u32string repair_text(std::u32string_view text);

}  // namespace lorikeet
