#include "library/compose.h"

#include <algorithm>

#include "base/text.h"
#include "library/embedded_picture.h"

namespace lorikeet {
namespace {

constexpr size_t kMostTags = 24;  // as A1111's card shows

std::string first_text(std::initializer_list<std::string> texts) {
  for (const std::string& text : texts)
    if (!trim(text).empty()) return std::string(trim(text));
  return {};
}

void add_words(std::vector<std::string>& words, const std::vector<std::string>& more) {
  for (const std::string& word : more)
    if (std::ranges::find(words, word) == words.end()) words.push_back(word);
}

// ssmd_…: AddNet's metadata editor.
std::vector<std::string> trigger_words(const FileFacts& facts, const Sidecar& sidecar) {
  if (sidecar.chosen_words) return *sidecar.chosen_words;
  std::vector<std::string> words = comma_words(metadata_text(facts.metadata, "modelspec.trigger_phrase"));
  add_words(words, sidecar.trained_words);
  add_words(words, comma_words(metadata_text(facts.metadata, "ssmd_keywords")));
  return words;
}

std::vector<std::pair<std::string, int64_t>> tags(const FileFacts& facts, const Sidecar& sidecar) {
  std::vector<std::pair<std::string, int64_t>> tags;
  if (facts.lora) tags = facts.lora->tags;
  if (tags.size() > kMostTags) tags.resize(kMostTags);
  std::vector<std::string> others = sidecar.tags;
  for (const char* key : {"ssmd_tags", "modelspec.tags"}) add_words(others, comma_words(metadata_text(facts.metadata, key)));
  for (const std::string& tag : others)
    if (std::ranges::find(tags, tag, [](const auto& row) { return row.first; }) == tags.end()) tags.emplace_back(tag, 0);
  return tags;
}

std::optional<int> rating(const FileFacts& facts, const Sidecar& sidecar) {
  if (sidecar.rating) return sidecar.rating;
  const auto stated = parse_int(metadata_text(facts.metadata, "ssmd_rating"));
  return stated && *stated >= 1 && *stated <= 5 ? std::optional(static_cast<int>(*stated)) : std::nullopt;
}

void set_lora(LibraryCard& card, const LoraSummary& summary) {
  if (summary.alias != summary.name) card.alias = summary.alias;
  for (const auto& [kind, count] : summary.kinds) card.kinds.push_back(kind);
  if (!summary.ranks.empty()) card.rank = summary.ranks.rbegin()->first;
}

}  // namespace

LibraryCard compose_card(const NamedFile& file, const FileFacts& facts, const SidecarFiles& sidecars, const Sidecar& sidecar) {
  const auto& metadata = facts.metadata;
  const std::string& base = file.base_name;
  const size_t slash = base.rfind('/');
  LibraryCard card;
  card.kind = file.file.kind;
  card.name = file.name;
  card.file_name = valid_utf8(file.file.path.filename().string());
  card.folder = slash == std::string::npos ? "" : base.substr(0, slash);
  const std::string stem = slash == std::string::npos ? base : base.substr(slash + 1);
  card.title =
      first_text({sidecar.title, metadata_text(metadata, "ssmd_display_name"), metadata_text(metadata, "modelspec.title"), stem});
  card.alias = stem;
  if (facts.lora) set_lora(card, *facts.lora);
  card.base_model_claim = first_text({facts.claim, sidecar.base_model, sidecar.sd_version});
  card.family = first_text({facts.family, facts.lora ? facts.lora->claimed_family : "", family_of_words(sidecar.sd_version),
                            family_of_words(sidecar.base_model), family_of_words(facts.claim)});
  card.has_preview = !sidecars.preview.empty() || has_embedded_picture(metadata);
  card.preview_version = sidecars.preview_version;
  card.trigger_words = trigger_words(facts, sidecar);
  card.tags = tags(facts, sidecar);
  card.preferred_multiplier = sidecar.preferred_multiplier;
  card.negative_text = sidecar.negative_text;
  card.description = first_text({sidecar.description, metadata_text(metadata, "ssmd_description"), metadata_text(metadata, "modelspec.description")});
  card.notes = sidecar.notes;
  card.favourite = sidecar.favourite.value_or(false);
  card.rating = rating(facts, sidecar);
  card.vectors = facts.vectors;
  card.native_size_px = facts.native_size_px;
  card.error = facts.error;
  return card;
}

std::string claimed_hash(const FileFacts& facts) {
  const std::string text = lower(metadata_text(facts.metadata, "sshs_model_hash"));
  const bool sound = text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos && !starts_with(text, "e3b0c44298fc");
  return sound ? text : std::string();
}

}  // namespace lorikeet
