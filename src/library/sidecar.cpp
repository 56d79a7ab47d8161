#include "library/sidecar.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "library/html_text.h"
#include "library/json_limits.h"

namespace fs = std::filesystem;

namespace lorikeet {
namespace {

using nlohmann::json;

constexpr std::uintmax_t kMostSidecarBytes = std::uintmax_t{4} << 20;  // Civitai's answers have some 100 kB

std::string text_at(const json& object, const char* key) {
  if (!object.is_object()) return {};
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

const json& at(const json& object, const char* key) {
  static const json none;
  if (!object.is_object()) return none;
  const auto found = object.find(key);
  return found == object.end() ? none : *found;
}

void set_when_empty(std::string& text, std::string value) {
  if (text.empty()) text = std::move(value);
}

void add_words(std::vector<std::string>& words, const json& list) {
  if (!list.is_array()) return;
  for (const json& entry : list)
    if (entry.is_string())
      for (std::string& word : comma_words(entry.get<std::string>()))
        if (std::ranges::find(words, word) == words.end()) words.push_back(std::move(word));
}

std::optional<double> usable_multiplier(const json& value) {
  if (!value.is_number()) return std::nullopt;
  const double number = value.get<double>();
  return number != 0 && number >= -100 && number <= 100 ? std::optional(number) : std::nullopt;
}

std::optional<int> usable_rating(const json& value) {
  if (!value.is_number_integer()) return std::nullopt;
  const auto number = value.get<int64_t>();
  return number >= 1 && number <= 5 ? std::optional(static_cast<int>(number)) : std::nullopt;
}

// A1111, ui_extra_networks_user_metadata.py and extensions-builtin/Lora/ui_edit_user_metadata.py; "lorikeet" is ours.
void read_card(const json& card, Sidecar& sidecar) {
  sidecar.card_json = card.dump(-1, ' ', false, json::error_handler_t::replace);
  sidecar.description = text_at(card, "description");
  sidecar.notes = text_at(card, "notes");
  sidecar.negative_text = text_at(card, "negative text");
  sidecar.sd_version = text_at(card, "sd version");
  if (sidecar.sd_version == "Unknown") sidecar.sd_version.clear();
  sidecar.preferred_multiplier = usable_multiplier(at(card, "preferred weight"));
  const json& own = at(card, "lorikeet");
  if (auto words = comma_words(text_at(card, "activation text")); !words.empty())
    sidecar.chosen_words = std::move(words);
  else if (at(own, "no trigger words") == true)
    sidecar.chosen_words.emplace();
  if (at(own, "favourite").is_boolean()) sidecar.favourite = at(own, "favourite").get<bool>();
  sidecar.rating = usable_rating(at(own, "rating"));
}

// An answer of Civitai's model-versions API, as its Helper and the Lora Manager keep it.
void read_version(const json& version, Sidecar& sidecar) {
  add_words(sidecar.trained_words, at(version, "trainedWords"));
  set_when_empty(sidecar.base_model, text_at(version, "baseModel"));
  const json& model = at(version, "model");
  set_when_empty(sidecar.title, text_at(model, "name"));
  add_words(sidecar.tags, at(model, "tags"));
  set_when_empty(sidecar.description, html_text(text_at(model, "description")));
  set_when_empty(sidecar.description, html_text(text_at(version, "description")));
}

void read_manager(const json& entry, Sidecar& sidecar) {
  set_when_empty(sidecar.title, text_at(entry, "model_name"));
  set_when_empty(sidecar.base_model, text_at(entry, "base_model"));
  set_when_empty(sidecar.notes, text_at(entry, "notes"));
  set_when_empty(sidecar.description, html_text(text_at(entry, "modelDescription")));
  add_words(sidecar.tags, at(entry, "tags"));
  if (!sidecar.favourite && at(entry, "favorite").is_boolean()) sidecar.favourite = at(entry, "favorite").get<bool>();
  // A text that is JSON by itself: {"strength": 0.8}.
  const json tips = json::parse(text_at(entry, "usage_tips"), limit_json_depth, false);
  if (!sidecar.preferred_multiplier) sidecar.preferred_multiplier = usable_multiplier(at(tips, "strength"));
  read_version(at(entry, "civitai"), sidecar);
}

std::string read_text(const fs::path& path) {
  std::error_code code;
  if (!fs::is_regular_file(path, code)) throw Error(ErrorKind::bad_input, "it is no file");
  if (fs::file_size(path, code) > kMostSidecarBytes) throw Error(ErrorKind::bad_input, "it is too large");
  std::ifstream in(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  if (!in && !in.eof()) throw Error(ErrorKind::io, "the disk or the system refuses");
  return text;
}

void read_json(const fs::path& path, Sidecar& sidecar, void (*read)(const json&, Sidecar&)) {
  if (path.empty()) return;
  try {
    const json object = json::parse(read_text(path), limit_json_depth, false);
    if (!object.is_object()) throw Error(ErrorKind::bad_input, "it is no JSON object");
    read(object, sidecar);
  } catch (const std::exception& error) {  // nlohmann's too; and one bad file is a line of the details, not their end
    const auto* known = dynamic_cast<const Error*>(&error);
    sidecar.faults.push_back(valid_utf8(path.filename().string() + " cannot be read: " + (known ? known->message() : error.what())));
  }
}

}  // namespace

FolderNames read_folder_names(const fs::path& folder) {
  FolderNames names;
  std::error_code code;
  for (fs::directory_iterator it(folder, code), end; !code && it != end; it.increment(code))
    if (std::string name = it->path().filename().string(); !name.starts_with('.')) names.insert(std::move(name));
  return names;
}

std::string sidecar_stem(const fs::path& model) {
  std::error_code code;
  return (fs::is_directory(model, code) ? model.filename() : model.stem()).string();
}

fs::path card_path(const fs::path& model) { return model.parent_path() / (sidecar_stem(model) + ".json"); }

SidecarFiles find_sidecars(const fs::path& model, const FolderNames& names) {
  SidecarFiles files;
  const std::string stem = sidecar_stem(model);
  const auto take = [&](fs::path& path, const std::string& ending) {
    if (!path.empty() || !names.contains(stem + ending)) return;
    const fs::path found = model.parent_path() / (stem + ending);
    struct stat status {};
    if (::stat(found.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return;
    path = found;
    const int64_t changed = int64_t{status.st_mtim.tv_sec} * 1000 + status.st_mtim.tv_nsec / 1000000;
    if (&path == &files.preview) files.preview_version = std::max<int64_t>(1, changed);
    files.stamp += ending + ":" + std::to_string(status.st_size) + ":" + std::to_string(changed) + ";";
  };
  take(files.card, ".json");
  take(files.civitai, ".civitai.info");
  take(files.manager, ".metadata.json");
  take(files.description, ".description.txt");
  take(files.description, ".txt");
  for (const char* before : {".preview.", "."})
    for (const char* extension : {"png", "jpg", "jpeg", "webp", "gif"}) take(files.preview, before + std::string(extension));
  return files;
}

std::vector<std::string> comma_words(std::string_view text) {
  std::vector<std::string> words;
  for (const std::string_view part : split(text, ',')) {
    std::string word(trim(part));
    if (!word.empty() && std::ranges::find(words, word) == words.end()) words.push_back(std::move(word));
  }
  return words;
}

Sidecar read_sidecars(const SidecarFiles& files) {
  Sidecar sidecar;
  read_json(files.card, sidecar, read_card);
  read_json(files.manager, sidecar, read_manager);
  read_json(files.civitai, sidecar, read_version);
  if (files.description.empty() || !sidecar.description.empty()) return sidecar;
  try {
    sidecar.description = valid_utf8(trim(read_text(files.description)));
  } catch (const Error& error) {
    sidecar.faults.push_back(valid_utf8(files.description.filename().string() + " cannot be read: " + error.message()));
  }
  return sidecar;
}

}  // namespace lorikeet
