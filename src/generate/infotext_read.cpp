// Reading infotext, as A1111's parse_generation_parameters does, and what its paste buttons make of it.
#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "generate/infotext.h"
#include "generate/infotext_words.h"
#include "generate/request.h"
#include "sampling/sampler.h"
#include "sampling/schedules.h"

namespace lorikeet {

namespace {
using Pairs = std::vector<std::pair<std::string, std::string>>;

bool is_word(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}
bool is_key(char c) { return is_word(c) || c == ' ' || c == '-' || c == '/'; }
bool is_space(char c) { return trim({&c, 1}).empty(); }

// The end of a value that begins at `from`: behind the closing quote where "…" is followed by ',' or the end, else the next ','.
size_t value_end(std::string_view line, size_t from) {
  if (from < line.size() && line[from] == '"') {
    size_t at = from + 1;
    while (at < line.size() && line[at] != '"') at += line[at] == '\\' ? 2 : 1;
    if (at < line.size() && at > from + 1 && (at + 1 == line.size() || line[at + 1] == ',')) return at + 1;
  }
  return std::min(line.find(',', from), line.size());
}

// Values as they are meant, and the way to look at them that the reader needs.
struct Values {
  Pairs pairs;
  const std::string* find(std::string_view key) const {
    const std::string* found = nullptr;
    for (const auto& pair : pairs)
      if (pair.first == key) found = &pair.second;  // the last one wins, as in a Python dict
    return found;
  }
  std::string text(std::string_view key) const {
    const std::string* found = find(key);
    return found ? *found : std::string{};
  }
  // "Size-1" of "Size: 512x768" is "512".
  std::optional<std::string> value_of(std::string_view key) const {
    const bool half = ends_with(key, "-1") || ends_with(key, "-2");
    const std::string* whole = find(half ? key.substr(0, key.size() - 2) : key);
    if (!whole) return std::nullopt;
    if (!half) return *whole;
    const auto parts = split(*whole, 'x');
    if (parts.size() != 2 || !parse_int(parts[0]) || !parse_int(parts[1])) return std::nullopt;
    return std::string(parts[key.back() == '2']);
  }
};

// Each setting from its key; what cannot be read becomes a note.
struct Reader {
  const Values& values;
  std::vector<std::string>& notes;

  template <class T>
  void operator()(T& member, const Field& field, const InfotextKey& infotext) {
    if (infotext.key.empty()) return;
    auto value = values.value_of(infotext.key);
    if (!value && infotext.key == "Eta") value = values.value_of("Eta DDIM");
    if (!value) return;
    try {
      if constexpr (std::is_same_v<T, bool>)
        member = lower(trim(*value)) == lower(word_for_true(infotext.key));
      else
        read(member, field, *value);
    } catch (const Error&) {
      notes.push_back(std::string(infotext.key) + ": " + value->substr(0, 80) + " cannot be read; the usual value is taken");
    }
  }
  template <class T>
  void read(T& member, const Field& field, const std::string& value) const {
    ReadText{value}(member, field);
  }
  void read(std::string& member, const Field& field, const std::string& value) const {
    member = value;
    if (!field.choices) return;
    if (starts_with(lower(value), "use same")) {
      member.clear();
      return;
    }
    for (const Choice& choice : field.choices())  // an unknown name stays, so that the check of the request can name the near ones
      if (lower(choice.label) == lower(trim(value))) member = choice.name;
  }
};

// A line of the text belongs to the prompt, to the negative prompt, or is the last one with the parameters.
struct Parts {
  std::string prompt, negative_prompt, parameters;
};

Parts split_parts(std::string_view text) {
  auto lines = split(trim(text), '\n');
  Parts parts;
  if (infotext_pairs(lines.back()).size() >= 3) {
    parts.parameters = lines.back();
    lines.pop_back();
  }
  constexpr std::string_view kNegative = "Negative prompt:";
  bool negative = false;
  for (std::string_view line : lines) {
    line = trim(line);
    if (starts_with(line, kNegative)) {
      negative = true;
      line = trim(line.substr(kNegative.size()));
    }
    std::string& to = negative ? parts.negative_prompt : parts.prompt;
    if (!to.empty()) to += '\n';
    to += line;
  }
  return parts;
}

NamedHashes read_hashes(const std::string& text) {
  NamedHashes hashes;
  if (text.empty()) return hashes;
  for (const auto part : split(text, ',')) {
    const size_t colon = part.find(':');
    if (colon == std::string_view::npos) continue;
    const std::string hash = lower(trim(part.substr(colon + 1)));
    if (!starts_with(hash, "e3b0c44298fc"))
      hashes.emplace_back(trim(part.substr(0, colon)), hash);  // the hash of nothing: some tools write it
  }
  return hashes;
}

// "AddNet Module 1: LoRA, AddNet Model 1: name(hash), AddNet Weight A 1: 0.8" -> "\n<lora:name:0.8>" (A1111's networks.py infotext_pasted).
std::string addnet_tags(const Values& values) {
  std::string tags;
  for (const auto& [key, model] : values.pairs) {
    constexpr std::string_view kModel = "AddNet Model ";
    if (!starts_with(key, kModel)) continue;
    const std::string number = key.substr(kModel.size());
    if (values.text("AddNet Module " + number) != "LoRA") continue;
    const size_t open = model.rfind('(');
    const bool hashed = open != std::string::npos && ends_with(model, ")") &&
                        model.find_first_not_of("0123456789abcdefABCDEF", open + 1) == model.size() - 1 && open + 2 < model.size();
    const std::string weight = values.text("AddNet Weight A " + number);
    tags += "<lora:" + std::string(trim(hashed ? model.substr(0, open) : model)) + ":" + (weight.empty() ? "1.0" : weight) + ">";
  }
  return tags.empty() ? tags : "\n" + tags;
}

// The keys that settings stand under.
const std::set<std::string_view>& setting_keys() {
  static const auto all = [] {
    std::set<std::string_view> keys;
    const auto add = [&](const auto&, const Field&, const InfotextKey& infotext) { keys.insert(infotext.key); };
    const Request any;
    fields(add, any);
    return keys;
  }();
  return all;
}

void note_what_is_missing(const Values& values, std::vector<std::string>& notes) {
  static constexpr std::string_view kKnown[] = {
      "Model hash",       "Model",        "VAE hash", "Lora hashes", "LoRA hashes",       "TI hashes", "Version", "Size",
      "Seed resize from", "Hires resize", "Eta DDIM", kExactPrompt,  kExactNegativePrompt};
  std::vector<std::string> others;
  for (const auto& [key, value] : values.pairs) {
    const bool known =
        std::find(std::begin(kKnown), std::end(kKnown), key) != std::end(kKnown) || starts_with(key, "AddNet ") || setting_keys().contains(key);
    if (!known) others.push_back(key);
  }
  if (!others.empty()) notes.push_back("not repeated: " + join(others, ", "));
}
}  // namespace

Pairs infotext_pairs(std::string_view line) {
  Pairs pairs;
  for (size_t at = 0; at < line.size();) {
    // A run of key characters up to ':'; the key begins at its first word character. Anything else cannot hold a key.
    size_t begin = at;
    while (begin < line.size() && !is_word(line[begin]) && line[begin] != ':') ++begin;
    size_t end = begin;
    while (end < line.size() && is_key(line[end])) ++end;
    size_t second = begin + 1;  // a key has two characters or more, of however many bytes
    while (second < end && (static_cast<unsigned char>(line[second]) & 0xC0) == 0x80) ++second;
    if (end >= line.size() || line[end] != ':' || second >= end) {
      at = end + 1;
      continue;
    }
    size_t from = end + 1;
    while (from < line.size() && is_space(line[from])) ++from;
    const size_t to = value_end(line, from);
    pairs.emplace_back(line.substr(begin, end - begin), line.substr(from, to - from));
    at = to + 1;
  }
  return pairs;
}

std::string note_of_other_pictures(bool needs_picture, bool needs_mask) {
  if (needs_picture && needs_mask)
    return "made from another picture through a mask (inpainting), which are not in the text; give them with --init-image and --mask";
  if (needs_mask) return "only what a mask shows was painted, and the mask is not in the text; give it with --mask";
  return needs_picture ? "made from another picture (img2img), which is not in the text; give it with --init-image" : "";
}

Infotext parse_infotext(std::string_view text) {
  const std::string valid = valid_utf8(text);
  const Parts parts = split_parts(valid);
  Values values{infotext_pairs(parts.parameters)};
  for (auto& pair : values.pairs) pair.second = unquote_infotext(pair.second);
  Infotext result;
  Reader reader{values, result.notes};
  fields(reader, result.request);
  Request& r = result.request;
  const std::string *exact = values.find(kExactPrompt), *exact_negative = values.find(kExactNegativePrompt);
  r.prompts = {(exact ? *exact : parts.prompt) + addnet_tags(values)};
  r.negative_prompt = exact_negative ? *exact_negative : parts.negative_prompt;
  r.enable_hr = values.find("Hires upscale") || values.find("Hires upscaler") || values.find("Hires resize");
  result.model = values.text("Model");
  result.model_hash = values.text("Model hash");
  result.vae_hash = values.text("VAE hash");
  result.version = values.text("Version");
  for (const std::string_view key : {"Lora hashes", "LoRA hashes"})
    for (auto& hash : read_hashes(values.text(key))) result.lora_hashes.push_back(std::move(hash));
  result.ti_hashes = read_hashes(values.text("TI hashes"));
  note_what_is_missing(values, result.notes);
  result.from_picture = values.find("Denoising strength") && !r.enable_hr;
  result.inpainted = result.from_picture && (values.find("Mask blur") || values.find("Mask mode") || values.find("Masked content") || values.find("Inpaint area"));
  result.parameters = std::move(values.pairs);
  return result;
}

std::string rename_loras(std::string_view prompt, const std::vector<std::pair<std::string, std::string>>& new_names) {
  std::string result;
  constexpr std::string_view kTag = "<lora:";
  for (size_t at = 0;;) {
    const size_t tag = prompt.find(kTag, at);
    if (tag == std::string_view::npos) return result += prompt.substr(at);
    const size_t from = tag + kTag.size(), to = std::min(prompt.find_first_of(":>", from), prompt.size());
    const std::string_view name = prompt.substr(from, to - from);
    const auto found = std::find_if(new_names.begin(), new_names.end(), [&](const auto& pair) { return pair.first == name; });
    result += prompt.substr(at, from - at);
    result += found == new_names.end() ? name : std::string_view(found->second);
    at = to;
  }
}

}  // namespace lorikeet
