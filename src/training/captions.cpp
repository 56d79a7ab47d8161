#include "training/captions.h"

#include <algorithm>

#include "base/text.h"
#include "io/picture_text.h"
#include "training/random.h"

namespace lorikeet {

namespace {

std::string utf16(std::string_view bytes, bool big_endian) {
  std::vector<uint16_t> units;
  for (size_t i = 0; i + 1 < bytes.size(); i += 2) {
    const auto first = static_cast<uint8_t>(bytes[i]), second = static_cast<uint8_t>(bytes[i + 1]);
    units.push_back(static_cast<uint16_t>(big_endian ? first << 8 | second : second << 8 | first));
  }
  return utf16_to_utf8(units);
}

// Signs of the Latin alphabet have a zero byte in UTF-16: in front in big-endian, behind in little-endian order. No other encoding of text
// has any.
bool looks_big_endian(std::string_view bytes) {
  int64_t in_front = 0, behind = 0;
  for (size_t i = 0; i + 1 < bytes.size(); i += 2) in_front += bytes[i] == 0, behind += bytes[i + 1] == 0;
  return in_front > behind;
}

// ASCII letters and digits, '_', and every byte of a sign beyond ASCII.
bool is_word_byte(char c) {
  const auto byte = static_cast<uint8_t>(c);
  return byte >= 0x80 || byte == '_' || (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z');
}

// Fisher and Yates, from the front. `first` on.
void shuffle(std::vector<std::string>& tags, size_t first, uint64_t random) {
  for (size_t i = first; i + 1 < tags.size(); ++i) {
    const auto left = static_cast<int64_t>(tags.size() - i);
    std::swap(tags[i], tags[i + static_cast<size_t>(below(random_bits(random, "shuffle", i), left))]);
  }
}

std::string varied_tags(std::string_view caption, const CaptionRules& rules, uint64_t random) {
  if (!rules.varies_tags()) return std::string(caption);
  std::vector<std::string> tags = split_tags(caption), kept;
  const size_t fixed = std::min(tags.size(), static_cast<size_t>(std::max(0, rules.keep_tags)));
  if (rules.shuffle_tags) shuffle(tags, fixed, random);
  for (size_t i = 0; i < tags.size(); ++i) {
    if (i < fixed || uniform_of(random_bits(random, "tag", i)) >= rules.tag_dropout) kept.push_back(tags[i]);
  }
  return join(kept, ", ");
}

bool is_dropped(const CaptionRules& rules, uint64_t random) {
  return rules.caption_dropout > 0 && uniform_of(random_bits(random, "caption", 0)) < rules.caption_dropout;
}

std::string variant(std::string_view caption, const CaptionRules& rules, uint64_t seed, int number) {
  return varied_tags(caption, rules, random_bits(seed, caption, static_cast<uint64_t>(number)));
}

}  // namespace

DecodedText decode_text(std::string_view bytes) {
  if (starts_with(bytes, "\xEF\xBB\xBF"))
    bytes.remove_prefix(3);
  else if (starts_with(bytes, "\xFF\xFE"))
    return {utf16(bytes.substr(2), false), "UTF-16"};
  else if (starts_with(bytes, "\xFE\xFF"))
    return {utf16(bytes.substr(2), true), "UTF-16"};
  if (bytes.size() % 2 == 0 && bytes.find('\0') != std::string_view::npos) return {utf16(bytes, looks_big_endian(bytes)), "UTF-16"};
  if (is_valid_utf8(bytes)) return {std::string(bytes), "UTF-8"};
  return {latin1_to_utf8(bytes), "Latin-1"};
}

std::string one_line(std::string_view text) {
  std::string line;
  for (const std::string_view part : split(text, '\n')) {
    const std::string_view words = trim(part);
    if (words.empty()) continue;
    if (!line.empty()) line += ' ';
    line += words;
  }
  return line;
}

bool has_words(std::string_view caption, std::string_view words) {
  const std::string text = lower(caption), wanted = lower(trim(words));
  if (wanted.empty()) return true;
  for (size_t at = text.find(wanted); at != std::string::npos; at = text.find(wanted, at + 1)) {
    const size_t end = at + wanted.size();
    // A word ends where a word byte meets another byte; words that begin or end in a sign ("<robot>") need no such border.
    const bool begins = at == 0 || !is_word_byte(text[at - 1]) || !is_word_byte(wanted.front());
    const bool ends = end == text.size() || !is_word_byte(text[end]) || !is_word_byte(wanted.back());
    if (begins && ends) return true;
  }
  return false;
}

std::string with_words_in_front(std::string_view words, const std::string& caption) {
  if (has_words(caption, words)) return caption;
  return std::string(trim(words)) + (caption.empty() ? "" : ", " + caption);
}

std::vector<std::string> split_tags(std::string_view caption) {
  std::vector<std::string> tags;
  for (const std::string_view part : split(caption, ',')) {
    if (const auto tag = trim(part); !tag.empty()) tags.emplace_back(tag);
  }
  return tags;
}

std::string varied_caption(std::string_view caption, const CaptionRules& rules, uint64_t random) {
  return is_dropped(rules, random) ? "" : varied_tags(caption, rules, random);
}

std::string varied_caption(std::string_view caption, const CaptionRules& rules, uint64_t random, uint64_t seed, int count) {
  if (is_dropped(rules, random)) return "";
  return variant(caption, rules, seed, static_cast<int>(below(random_bits(random, "variant", 0), std::max(1, count))));
}

std::vector<std::string> caption_variants(std::string_view caption, const CaptionRules& rules, uint64_t seed, int count) {
  std::vector<std::string> variants;
  for (int number = 0; number < std::max(1, rules.varies_tags() ? count : 1); ++number) {
    std::string text = variant(caption, rules, seed, number);
    if (std::find(variants.begin(), variants.end(), text) == variants.end()) variants.push_back(std::move(text));
  }
  return variants;
}

std::map<std::string, int64_t> tag_frequency(std::span<const std::string> captions) {
  std::map<std::string, int64_t> frequency;
  for (const std::string& caption : captions) {
    for (const std::string& tag : split_tags(caption)) ++frequency[lower(tag)];
  }
  return frequency;
}

}  // namespace lorikeet
