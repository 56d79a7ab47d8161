#include "generate/infotext.h"

#include <algorithm>

#include "base/text.h"
#include "base/version.h"
#include "generate/infotext_words.h"
#include "generate/request.h"

namespace lorikeet {

namespace {
using Pairs = std::vector<std::pair<std::string, std::string>>;

bool is_hires(const Request& r) { return r.enable_hr; }
bool is_image(const Request& r) { return !r.init_image.empty(); }
bool is_inpaint(const Request& r) { return is_image(r) && !r.mask_image.empty(); }

bool is_told(InInfotext when, const Request& r, bool changed) {
  switch (when) {
    case InInfotext::if_changed: return changed;
    case InInfotext::always: return true;
    case InInfotext::if_variation: return r.subseed_strength > 0;
    case InInfotext::if_image_or_hires: return is_image(r) || is_hires(r);
    case InInfotext::if_hires: return is_hires(r);
    case InInfotext::if_hires_and_changed: return is_hires(r) && changed;
    case InInfotext::if_inpaint: return is_inpaint(r);
    case InInfotext::if_inpaint_and_changed: return is_inpaint(r) && changed;
    case InInfotext::if_only_masked: return is_inpaint(r) && r.inpaint_full_res;
  }
  return false;
}

// One member as infotext spells it.
struct Word {
  const Field& field;
  std::string_view key;
  std::string operator()(int value) const { return std::to_string(value); }
  std::string operator()(int64_t value) const { return std::to_string(value); }
  std::string operator()(double value) const { return format_number(value); }
  std::string operator()(const std::optional<double>& value) const { return value ? format_number(*value) : ""; }
  std::string operator()(bool value) const { return value ? std::string(word_for_true(key)) : ""; }
  std::string operator()(const std::string& value) const {
    if (field.choices)
      for (const Choice& choice : field.choices())
        if (choice.name == value) return std::string(choice.label);
    return value;
  }
  std::string operator()(const std::vector<std::string>&) const { return {}; }
  std::string operator()(const PictureSource&) const { return {}; }
  template <Enum E>
  std::string operator()(E value) const {
    return std::string(choice_of(value).label);
  }
};

// "name: hash, name2: hash2", as A1111 keys them: without ':' and ','.
std::string hashes_text(const NamedHashes& hashes) {
  std::vector<std::string> parts;
  for (const auto& [name, hash] : hashes) parts.push_back(replace_all(replace_all(name, ":", ""), ",", "") + ": " + hash.substr(0, 12));
  return join(parts, ", ");
}

struct Writer {
  const Request& request;
  const Request defaults{};
  Pairs pairs{};

  template <class T>
  void operator()(const T& member, const Field& field, const InfotextKey& infotext) {
    if (infotext.key.empty()) return;
    bool changed = false;
    visit_field(defaults, field.name, [&](const auto& before, const Field&) {
      if constexpr (std::is_same_v<std::decay_t<decltype(before)>, T>) changed = !(member == before);
    });
    if (is_told(infotext.when, request, changed)) pairs.emplace_back(infotext.key, Word{field, infotext.key}(member));
  }
};

std::string* find_value(Pairs& pairs, std::string_view key) {
  const auto found = std::find_if(pairs.begin(), pairs.end(), [&](const auto& pair) { return pair.first == key; });
  return found == pairs.end() ? nullptr : &found->second;
}

void set_value(Pairs& pairs, std::string_view key, const std::string& value) {
  if (std::string* found = find_value(pairs, key)) *found = value;
}

void remove_key(Pairs& pairs, std::string_view key) {
  std::erase_if(pairs, [&](const auto& pair) { return pair.first == key; });
}

// Puts a pair before the first of `keys` that is there, else at the end.
void insert_before(Pairs& pairs, std::initializer_list<std::string_view> keys, std::string_view key, const std::string& value) {
  if (value.empty()) return;
  const auto at = std::find_if(pairs.begin(), pairs.end(),
                               [&](const auto& pair) { return std::find(keys.begin(), keys.end(), pair.first) != keys.end(); });
  pairs.emplace(at, key, value);
}

// "Size-1", "Size-2" -> "Size: 512x768". Half a pair (the other half is its default) is completed with that.
void join_sizes(Pairs& pairs, std::string_view key, int first, int second) {
  const std::string one = std::string(key) + "-1", two = std::string(key) + "-2";
  const auto at = std::find_if(pairs.begin(), pairs.end(), [&](const auto& pair) { return pair.first == one || pair.first == two; });
  if (at == pairs.end()) return;
  *at = {std::string(key), std::to_string(first) + "x" + std::to_string(second)};
  remove_key(pairs, one);
  remove_key(pairs, two);
}

void add_facts(Pairs& pairs, const Request& r, const InfotextFacts& facts) {
  set_value(pairs, "Seed", std::to_string(facts.seed));
  set_value(pairs, "Variation seed", std::to_string(facts.subseed));
  const std::string vae = facts.vae.empty() ? r.vae : facts.vae;
  remove_key(pairs, "VAE");
  const auto size = std::find_if(pairs.begin(), pairs.end(), [](const auto& pair) { return pair.first == "Size"; });
  const Pairs model{{"Model hash", facts.model_hash}, {"Model", facts.model}, {"VAE hash", facts.vae_hash}, {"VAE", vae}};
  Pairs told;
  std::copy_if(model.begin(), model.end(), std::back_inserter(told), [](const auto& pair) { return !pair.second.empty(); });
  pairs.insert(size + 1, told.begin(), told.end());
  // The samplers add theirs after the networks were loaded.
  for (const auto& [key, value] :
       {std::pair{"Lora hashes", hashes_text(facts.lora_hashes)}, std::pair{"TI hashes", hashes_text(facts.ti_hashes)}})
    insert_before(pairs, {"Eta", "Sigma churn", "Sigma tmin", "Sigma tmax", "Sigma noise", "CFG Rescale phi"}, key, value);
}

Pairs pairs_of(const Request& r, const InfotextFacts& facts) {
  Writer writer{r};
  fields(writer, r);
  Pairs& pairs = writer.pairs;
  if (r.hr_resize_x != 0 || r.hr_resize_y != 0) remove_key(pairs, "Hires upscale");
  if (r.seed_resize_from_w <= 0 || r.seed_resize_from_h <= 0) {
    remove_key(pairs, "Seed resize from-1");
    remove_key(pairs, "Seed resize from-2");
  }
  join_sizes(pairs, "Size", r.width, r.height);
  join_sizes(pairs, "Seed resize from", r.seed_resize_from_w, r.seed_resize_from_h);
  join_sizes(pairs, "Hires resize", r.hr_resize_x, r.hr_resize_y);
  if (r.sampler == "ddim")
    for (auto& pair : pairs)
      if (pair.first == "Eta") pair.first = "Eta DDIM";
  add_facts(pairs, r, facts);
  return std::move(pairs);
}

std::string compose(const std::string& prompt, const std::string& negative, const Pairs& pairs) {
  std::vector<std::string> parts;
  for (const auto& [key, value] : pairs) parts.push_back(key + ": " + quote_infotext(value));
  const std::string text = prompt + (negative.empty() ? "" : "\nNegative prompt: " + negative) + "\n" + join(parts, ", ");
  return std::string(trim(text));
}
}  // namespace

std::string write_infotext(const Request& request, const InfotextFacts& facts) {
  const std::string prompt = facts.prompt < request.prompts.size() ? request.prompts[facts.prompt] : "";
  Pairs pairs = pairs_of(request, facts);
  const auto version = std::pair<std::string, std::string>("Version", std::string("lorikeet ") + program_version());
  pairs.push_back(version);
  std::string text = compose(prompt, request.negative_prompt, pairs);
  // The format loses white space at line ends and takes a line "Negative prompt:" of the prompt for the negative one. Then, and only then,
  // the texts are kept once more, quoted; other programs pass over these keys.
  const Request read = parse_infotext(text).request;
  if (read.prompts[0] == prompt && read.negative_prompt == request.negative_prompt) return text;
  pairs.pop_back();
  pairs.emplace_back(kExactPrompt, prompt);
  pairs.emplace_back(kExactNegativePrompt, request.negative_prompt);
  pairs.push_back(version);
  return compose(prompt, request.negative_prompt, pairs);
}

}  // namespace lorikeet
