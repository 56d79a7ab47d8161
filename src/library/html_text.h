// The text of a description that was written as HTML (Civitai's): without tags and entities. Not for showing as HTML: what it gives may
// contain "<" again and is plain text.
#pragma once
#include <string>
#include <string_view>

namespace lorikeet {

// Paragraphs and line breaks become line breaks. A text without tags stays as it is, trimmed.
std::string html_text(std::string_view html);

}  // namespace lorikeet
