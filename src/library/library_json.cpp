#include "library/library_json.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"

namespace lorikeet {
namespace {

using nlohmann::json;

template <class T>
json or_null(const std::optional<T>& value) {
  return value ? json(*value) : json(nullptr);
}

json or_null(const std::string& text) { return text.empty() ? json(nullptr) : json(text); }

// --- reading a card: what is missing or of another type stays as it is

template <class T>
void take(const json& object, const char* key, T& into) {
  const auto found = object.find(key);
  if (found == object.end()) return;
  constexpr bool number = std::is_arithmetic_v<T> && !std::is_same_v<T, bool>;
  if ((number && found->is_number()) || (std::is_same_v<T, bool> && found->is_boolean()) || (std::is_same_v<T, std::string> && found->is_string()))
    into = found->get<T>();
}

template <class T>
void take(const json& object, const char* key, std::optional<T>& into) {
  const auto found = object.find(key);
  if (found != object.end() && found->is_number()) into = found->get<T>();
}

void take(const json& object, const char* key, std::vector<std::string>& into) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_array()) return;
  for (const json& text : *found)
    if (text.is_string()) into.push_back(text.get<std::string>());
}

// --- reading an edit: what is of another type is an error

[[noreturn]] void refuse_key(const std::string& key, std::string_view wanted) {
  throw Error(ErrorKind::bad_input, key + " must be " + std::string(wanted));
}

void read(const std::string& key, const json& value, std::optional<std::string>& into) {
  if (!value.is_string() && !value.is_null()) refuse_key(key, "a text");
  into = value.is_null() ? std::string() : value.get<std::string>();
}

void read(const std::string& key, const json& value, std::optional<bool>& into) {
  if (!value.is_boolean()) refuse_key(key, "true or false");
  into = value.get<bool>();
}

void read(const std::string& key, const json& value, std::optional<double>& into) {
  if (!value.is_number() && !value.is_null()) refuse_key(key, "a number or null");
  into = value.is_null() ? 0 : value.get<double>();
}

void read(const std::string& key, const json& value, std::optional<int>& into) {
  const bool fits = value.is_number_integer() && value.get<int64_t>() >= 0 && value.get<int64_t>() <= 5;
  if (!fits && !value.is_null()) refuse_key(key, "a whole number from 0 (none) to 5, or null");
  into = value.is_null() ? 0 : value.get<int>();
}

void read(const std::string& key, const json& value, std::optional<std::vector<std::string>>& into) {
  into.emplace();
  if (value.is_null()) return;
  if (!value.is_array()) refuse_key(key, "a list of texts");
  for (const json& word : value) {
    if (!word.is_string()) refuse_key(key, "a list of texts");
    into->push_back(word.get<std::string>());
  }
}

int64_t whole_number(const std::string& key, const std::string& text) {
  const auto number = parse_int(text);
  if (!number) refuse_key(key, "a whole number");
  return *number;
}

bool yes_or_no(const std::string& key, const std::string& text) {
  if (text == "true" || text == "1") return true;
  if (text == "false" || text == "0" || text.empty()) return false;
  refuse_key(key, "true or false");
}

LibrarySort sort_of(const std::string& text) {
  const auto list = choices(LibrarySort{});
  std::vector<std::string> names;
  for (size_t i = 0; i < list.size(); ++i) {
    if (list[i].name == text) return static_cast<LibrarySort>(i);
    names.emplace_back(list[i].name);
  }
  refuse_key("sort", "one of " + join(names, ", "));
}

}  // namespace

std::span<const Choice> choices(LibrarySort) {
  static constexpr Choice kSorts[] = {
      {"name", "Name"}, {"date_modified", "Date modified"}, {"date_added", "Date added"}, {"size", "Size"}, {"rating", "Rating"}};
  return kSorts;
}

namespace {
constexpr std::string_view kPlurals[] = {"checkpoints", "loras", "embeddings", "vaes"};
}

std::optional<ModelKind> model_kind_of(std::string_view word) {
  for (size_t i = 0; i < std::size(kPlurals); ++i)
    if (kPlurals[i] == word) return static_cast<ModelKind>(i);
  return std::nullopt;
}

std::string_view plural(ModelKind kind) { return kPlurals[static_cast<size_t>(kind)]; }

json json_of(const LibraryCard& card) {
  json tags = json::array();
  for (const auto& [tag, count] : card.tags) tags.push_back({{"tag", tag}, {"count", count}});
  json object{{"kind", plural(card.kind)},
              {"name", card.name},
              {"file_name", card.file_name},
              {"folder", card.folder},
              {"title", card.title},
              {"alias", card.alias},
              {"family", card.family},
              {"kinds", card.kinds},
              {"rank", or_null(card.rank)},
              {"size_bytes", card.size_bytes},
              {"modified", card.modified},
              {"date_added", card.added},
              {"sha256", or_null(card.sha256)},
              {"autov2", or_null(card.sha256.substr(0, 10))},
              {"autov3", or_null(card.autov3.substr(0, 12))},
              {"has_preview", card.has_preview},
              {"preview_version", card.preview_version},
              {"trigger_words", card.trigger_words},
              {"tags", std::move(tags)},
              {"preferred_multiplier", or_null(card.preferred_multiplier)},
              {"negative_text", card.negative_text},
              {"description", card.description},
              {"notes", card.notes},
              {"favourite", card.favourite},
              {"rating", or_null(card.rating)},
              {"base_model_claim", card.base_model_claim},
              {"duplicates", card.duplicates}};
  if (card.vectors) object["vectors"] = *card.vectors;
  if (card.native_size_px) object["native_size_px"] = *card.native_size_px;
  if (!card.error.empty()) object["error"] = card.error;
  return object;
}

LibraryCard card_from_json(const json& object) {
  LibraryCard card;
  if (!object.is_object()) return card;
  std::string kind;
  take(object, "kind", kind);
  card.kind = model_kind_of(kind).value_or(ModelKind::lora);
  take(object, "name", card.name);
  take(object, "file_name", card.file_name);
  take(object, "folder", card.folder);
  take(object, "title", card.title);
  take(object, "alias", card.alias);
  take(object, "family", card.family);
  take(object, "kinds", card.kinds);
  take(object, "rank", card.rank);
  take(object, "size_bytes", card.size_bytes);
  take(object, "modified", card.modified);
  take(object, "date_added", card.added);
  take(object, "sha256", card.sha256);
  take(object, "autov3", card.autov3);
  take(object, "has_preview", card.has_preview);
  take(object, "preview_version", card.preview_version);
  take(object, "trigger_words", card.trigger_words);
  take(object, "preferred_multiplier", card.preferred_multiplier);
  take(object, "negative_text", card.negative_text);
  take(object, "description", card.description);
  take(object, "notes", card.notes);
  take(object, "favourite", card.favourite);
  take(object, "rating", card.rating);
  take(object, "base_model_claim", card.base_model_claim);
  take(object, "vectors", card.vectors);
  take(object, "native_size_px", card.native_size_px);
  take(object, "duplicates", card.duplicates);
  take(object, "error", card.error);
  const auto tags = object.find("tags");
  if (tags == object.end() || !tags->is_array()) return card;
  for (const json& row : *tags) {
    std::pair<std::string, int64_t> tag;
    if (!row.is_object()) continue;
    take(row, "tag", tag.first);
    take(row, "count", tag.second);
    card.tags.push_back(std::move(tag));
  }
  return card;
}

json json_of(const LibraryItem& item) {
  json object = json_of(item.card);
  object["metadata"] = item.metadata;
  object["sidecar"] = json::parse(item.sidecar, nullptr, false);
  if (!object["sidecar"].is_object()) object["sidecar"] = json::object();
  object["modules"] = item.modules;
  object["tensors"] = item.tensors;
  object["dtype"] = item.dtype;
  object["path_in_folder"] = item.path_in_folder;
  object["duplicates_of"] = item.duplicates_of;
  object["warnings"] = item.warnings;
  return object;
}

json json_of(const LibraryPage& page) {
  json items = json::array();
  for (const LibraryCard& card : page.items) items.push_back(json_of(card));
  return {{"total", page.total},       {"offset", page.offset},     {"items", std::move(items)}, {"folders", page.folders},
          {"families", page.families}, {"scanning", page.scanning}, {"version", page.version},   {"problems", page.problems}};
}

json json_of(const LoraFit& fit) {
  return {{"fits", fit.fits}, {"matched", fit.matched}, {"total", fit.total}, {"reason", fit.reason}};
}

LibraryEdit edit_from_json(const json& object) {
  if (!object.is_object()) throw Error(ErrorKind::bad_input, "a JSON object with what shall change is wanted");
  const std::vector<std::string> known{"trigger_words", "preferred_multiplier", "negative_text", "description", "notes",
                                       "favourite",     "rating",               "sd_version"};
  LibraryEdit edit;
  for (const auto& [key, value] : object.items()) {
    if (key == "trigger_words")
      read(key, value, edit.trigger_words);
    else if (key == "preferred_multiplier")
      read(key, value, edit.preferred_multiplier);
    else if (key == "negative_text")
      read(key, value, edit.negative_text);
    else if (key == "description")
      read(key, value, edit.description);
    else if (key == "notes")
      read(key, value, edit.notes);
    else if (key == "favourite")
      read(key, value, edit.favourite);
    else if (key == "rating")
      read(key, value, edit.rating);
    else if (key == "sd_version")
      read(key, value, edit.sd_version);
    else
      throw Error(ErrorKind::bad_input, "there is no field \"" + key + "\" to change", did_you_mean(key, known));
  }
  return edit;
}

LibraryQuery query_from_parameters(ModelKind kind, const std::map<std::string, std::string>& parameters) {
  LibraryQuery query;
  query.kind = kind;
  for (const auto& [key, value] : parameters) {
    if (key == "query")
      query.text = value;
    else if (key == "folder")
      query.folder = value;
    else if (key == "family")
      query.family = value;
    else if (key == "tag")
      query.tag = value;
    else if (key == "favourite")
      query.favourites = yes_or_no(key, value);
    else if (key == "sort")
      query.sort = sort_of(value);
    else if (key == "order" && (value == "asc" || value == "desc"))
      query.descending = value == "desc";
    else if (key == "order")
      refuse_key(key, "asc or desc");
    else if (key == "offset")
      query.offset = whole_number(key, value);
    else if (key == "limit")
      query.limit = whole_number(key, value);
    else
      throw Error(ErrorKind::bad_input, "there is no parameter \"" + key + "\"");
  }
  return query;
}

}  // namespace lorikeet
