// Writing what a person changed into NAME.json: A1111's keys, ours under "lorikeet", and everything else as it was.
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "io/atomic_file.h"
#include "library/sidecar.h"

namespace fs = std::filesystem;

namespace lorikeet {
namespace {

using Json = nlohmann::ordered_json;  // the keys keep their order

constexpr size_t kMostText = size_t{64} << 10;
constexpr int kMostNesting = 64;

void check_text(std::string_view what, std::string_view text) {
  if (text.size() > kMostText) throw Error(ErrorKind::bad_input, std::string(what) + " is longer than 64 KiB");
  if (!is_valid_utf8(text)) throw Error(ErrorKind::bad_input, std::string(what) + " is no valid UTF-8");
}

void check(const LibraryEdit& change) {
  if (change.trigger_words) {
    size_t size = 0;
    for (const std::string& word : *change.trigger_words) {
      check_text("a trigger word", word);
      size += word.size() + 2;
    }
    if (size > kMostText) throw Error(ErrorKind::bad_input, "the trigger words are longer than 64 KiB");
  }
  if (change.negative_text) check_text("negative_text", *change.negative_text);
  if (change.description) check_text("description", *change.description);
  if (change.notes) check_text("notes", *change.notes);
  if (change.sd_version) check_text("sd_version", *change.sd_version);
  if (change.preferred_multiplier && !(*change.preferred_multiplier >= -100 && *change.preferred_multiplier <= 100))
    throw Error(ErrorKind::bad_input, "preferred_multiplier must be between -100 and 100");
  if (change.rating && (*change.rating < 0 || *change.rating > 5)) throw Error(ErrorKind::bad_input, "rating must be between 0 (none) and 5");
}

Json read_existing(const fs::path& path) {
  std::error_code code;
  if (!fs::exists(path, code)) return Json::object();
  std::ifstream in(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const auto limit = [](int depth, Json::parse_event_t, Json&) {
    if (depth > kMostNesting) throw Error(ErrorKind::bad_input, "the JSON nests too deep");
    return true;
  };
  Json card = Json::parse(text, limit, false);
  if (!card.is_object())
    throw Error(ErrorKind::bad_input, path.filename().string() + " is there and is no JSON object, so nothing is written over it",
                "mend or remove that file first");
  return card;
}

void set_own(Json& card, const char* key, Json value) {
  const bool nothing = value.is_null() || value == false;
  if (nothing && !card.contains("lorikeet")) return;
  Json& own = card["lorikeet"];
  if (!own.is_object()) own = Json::object();
  if (nothing)
    own.erase(key);
  else
    own[key] = std::move(value);
  if (own.empty()) card.erase("lorikeet");
}

void apply(const LibraryEdit& change, Json& card) {
  if (change.description) card["description"] = *change.description;
  if (change.sd_version) card["sd version"] = *change.sd_version;
  if (change.trigger_words) {
    std::vector<std::string> words;
    for (const std::string& word : *change.trigger_words)
      for (std::string& one : comma_words(word)) words.push_back(std::move(one));
    card["activation text"] = join(words, ", ");
    set_own(card, "no trigger words", words.empty());
  }
  if (change.preferred_multiplier) card["preferred weight"] = *change.preferred_multiplier;
  if (change.negative_text) card["negative text"] = *change.negative_text;
  if (change.notes) card["notes"] = *change.notes;
  // false is kept: the Lora Manager's own file may say true.
  if (change.favourite) {
    set_own(card, "favourite", true);
    card["lorikeet"]["favourite"] = *change.favourite;
  }
  if (change.rating) set_own(card, "rating", *change.rating == 0 ? Json() : Json(*change.rating));
}

}  // namespace

void write_card_file(const fs::path& model, const LibraryEdit& change) {
  check(change);
  const fs::path path = card_path(model);
  Json card = read_existing(path);
  apply(change, card);
  write_file_atomically(path, card.dump(4, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace lorikeet
