#include "prompt/extra_networks.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "prompt/python_number.h"
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

[[noreturn]] void fail(const ExtraNetworkTag& tag, const std::string& what) {
  throw Error(ErrorKind::bad_input, tag.text + ": " + what,
              "write <lora:name:0.8>, or <lora:name:te:unet:dyn> with two multipliers and a whole number of ranks");
}

double read_multiplier(const ExtraNetworkTag& tag, const std::string& text) {
  const auto value = python_float(text);
  if (!value) fail(tag, "the multiplier \"" + text + "\" is no number");
  return *value;
}

int64_t read_rank(const ExtraNetworkTag& tag, const std::string& text) {
  const auto value = python_int(text);
  if (!value) fail(tag, "the number of ranks \"" + text + "\" is no whole number");
  return *value;
}

// The named argument, else the positional one, else nothing. Both are read, so that a malformed one is always reported.
template <class Read>
auto argument(const ExtraNetworkTag& tag, size_t place, const std::string& name, Read read) {
  std::optional<decltype(read(tag, name))> value;
  if (place < tag.positional.size()) value = read(tag, tag.positional[place]);
  if (const auto named = tag.named.find(name); named != tag.named.end()) value = read(tag, named->second);
  return value;
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

bool LoraTag::finite() const { return std::isfinite(te) && std::isfinite(unet); }

LoraTag parse_lora_tag(const ExtraNetworkTag& tag) {
  if (tag.positional.empty()) fail(tag, "the name is missing");
  LoraTag lora;
  lora.name = tag.positional[0];
  lora.te = argument(tag, 1, "te", read_multiplier).value_or(1.0);
  lora.unet = argument(tag, 2, "unet", read_multiplier).value_or(lora.te);
  lora.dyn = argument(tag, 3, "dyn", read_rank);
  for (const auto& [name, value] : tag.named)
    if (name != "te" && name != "unet" && name != "dyn") lora.ignored.push_back(name + "=" + value);
  return lora;
}

}  // namespace lorikeet
