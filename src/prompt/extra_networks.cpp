#include "prompt/extra_networks.h"

#include <algorithm>

#include "base/text.h"
#include "prompt/unicode.h"

namespace lorikeet {

namespace {
ExtraNetworkTag read_tag(std::u32string_view whole, size_t colon) {
  ExtraNetworkTag tag{
      .text = unicode::encode(whole), .type = unicode::encode(whole.substr(1, colon - 1)), .items = {}, .positional = {}, .named = {}};
  const std::string arguments = unicode::encode(whole.substr(colon + 1, whole.size() - colon - 2));
  for (const auto item : split(arguments, ':')) {
    tag.items.emplace_back(item);
    if (std::count(item.begin(), item.end(), '=') == 1) {
      tag.named[std::string(item.substr(0, item.find('=')))] = item.substr(item.find('=') + 1);
    } else {
      tag.positional.emplace_back(item);
    }
  }
  return tag;
}
}  // namespace

TaggedPrompt take_extra_networks(std::string_view prompt) {
  const std::u32string wide = unicode::decode(prompt);
  const std::u32string_view text = wide;
  TaggedPrompt result;
  std::u32string kept;
  size_t close = 0;  // the first '>' at or behind i
  for (size_t i = 0; i < text.size();) {
    size_t colon = i + 1;
    while (text[i] == U'<' && colon < text.size() && unicode::is_word(text[colon])) ++colon;
    const bool opens = text[i] == U'<' && colon > i + 1 && colon < text.size() && text[colon] == U':';
    if (opens && close < colon) close = std::min(text.find(U'>', colon), text.size());
    if (opens && close < text.size() && close > colon + 1) {
      result.tags.push_back(read_tag(text.substr(i, close + 1 - i), colon - i));
      i = close + 1;
    } else {
      kept += text[i++];
    }
  }
  result.text = unicode::encode(kept);
  return result;
}

}  // namespace lorikeet
