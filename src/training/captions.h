// Captions: how they are read from a file, how trigger words get into them, and what becomes of them at a step (tags shuffled, dropped, the
// whole caption dropped). What varies is a pure function of the caption, the settings and a number, so that caches, resumed runs and
// several processes agree.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lorikeet {

// Text of a file that says nothing of its encoding, as UTF-8: by byte order mark UTF-8 or UTF-16; UTF-16 without one where zero bytes tell;
// else UTF-8 if it is valid, else Latin-1, which takes any bytes.
struct DecodedText {
  std::string text;
  std::string_view encoding;  // "UTF-8", "UTF-16", "Latin-1"
};
DecodedText decode_text(std::string_view bytes);

// A caption file's text as one line: lines joined by a space, white space at both ends cut off.
std::string one_line(std::string_view text);

// "words" stand in the caption as whole words, whatever the case (the tokenizer lower-cases).
bool has_words(std::string_view caption, std::string_view words);
// "sks robot" and "a street" -> "sks robot, a street"; a caption that has the words stays as it is; the words alone where it is empty.
std::string with_words_in_front(std::string_view words, const std::string& caption);

struct CaptionRules {
  bool shuffle_tags = false;
  int keep_tags = 1;                            // so many tags stay in front and are never dropped
  double caption_dropout = 0, tag_dropout = 0;  // probabilities, 0…1

  bool varies_tags() const { return shuffle_tags || tag_dropout > 0; }
};

// Tags are what commas divide; white space around them is cut off, empty ones are left out.
std::vector<std::string> split_tags(std::string_view caption);

// The caption as trained at the draw `random` (see training/random.h). Dropped as a whole: "". Where nothing is shuffled or dropped it is
// the caption to the byte.
std::string varied_caption(std::string_view caption, const CaptionRules& rules, uint64_t random);

// The same out of only `count` variants of each caption, so that their encodings can be kept: every draw of a run with `seed` takes one of
// caption_variants(), or "" when the caption is dropped.
std::string varied_caption(std::string_view caption, const CaptionRules& rules, uint64_t random, uint64_t seed, int count);
// Distinct, in the order of their numbers; at least one.
std::vector<std::string> caption_variants(std::string_view caption, const CaptionRules& rules, uint64_t seed, int count);

// tag -> number of captions with it: kohya's ss_tag_frequency of one set.
std::map<std::string, int64_t> tag_frequency(std::span<const std::string> captions);

}  // namespace lorikeet
