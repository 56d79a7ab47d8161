#include "lora/surgery/provenance.h"

#include <algorithm>

#include "base/text.h"
#include "base/version.h"
#include "io/hash.h"
#include "io/safetensors_writer.h"

namespace lorikeet {
namespace {

using nlohmann::ordered_json;

std::string text_of(const ordered_json& json) { return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace); }

std::string value_of(const Metadata& metadata, const std::string& key) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? "" : found->second;
}

// JSON objects, the later ones' members added to the earlier ones'; numbers of one name are summed.
ordered_json united(ordered_json first, const ordered_json& second) {
  for (const auto& [key, value] : second.items()) {
    if (!first.contains(key))
      first[key] = value;
    else if (first[key].is_object() && value.is_object())
      first[key] = united(first[key], value);
    else if (first[key].is_number() && value.is_number())
      first[key] = first[key].get<int64_t>() + value.get<int64_t>();
  }
  return first;
}

// kohya's JSON entries about the pictures.
constexpr const char* kAboutPictures[] = {"ss_tag_frequency", "ss_dataset_dirs"};
constexpr const char* kTriggers = "modelspec.trigger_phrase";

}  // namespace

namespace {

// A checkpoint takes seconds to hash, which is worth remembering; a LoRA does not.
std::string file_hash(const std::filesystem::path& path) {
  constexpr uintmax_t kLarge = uintmax_t{512} << 20;
  return std::filesystem::file_size(path) < kLarge ? sha256_file(path) : cached_sha256_file(path);
}

}  // namespace

std::string content_hash(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) return file_hash(path);
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path))
    if (entry.is_regular_file() && (entry.path().extension() == ".safetensors" || entry.path().extension() == ".bin"))
      files.push_back(entry.path());
  std::ranges::sort(files);
  std::string hashes;
  for (const auto& file : files) hashes += file_hash(file);
  return sha256(hashes);
}

ordered_json history_input(const std::filesystem::path& path, const Metadata& metadata) {
  ordered_json input{{"name", path.filename().string()}, {"sha256", content_hash(path)}};
  if (ordered_json history = history_of(metadata); !history.empty()) input["history"] = std::move(history);
  return input;
}

ordered_json history_of(const Metadata& metadata) {
  ordered_json history = ordered_json::parse(value_of(metadata, kHistory), nullptr, false);
  return history.is_array() ? history : ordered_json::array();
}

void add_history(Metadata& metadata, const std::string& operation, std::vector<ordered_json> inputs, ordered_json options,
                 const Metadata& before) {
  ordered_json history = ordered_json::array();
  if (inputs.size() == 1 && inputs[0].contains("history")) {
    history = inputs[0]["history"];
    inputs[0].erase("history");
  }
  ordered_json entry{
      {"operation", operation}, {"program", std::string("lorikeet ") + program_version()}, {"inputs", inputs}, {"options", std::move(options)}};
  for (const auto& [key, value] : before) {
    const bool rewritten = key == kHistory || key == kModelHash || key == kLegacyHash || key == kSpecHash;
    if (!rewritten && value_of(metadata, key) != value) entry["former"][key] = value;
  }
  history.push_back(std::move(entry));
  metadata[kHistory] = text_of(history);
}

void ask_for_hashes(Metadata& metadata) {
  metadata[std::string(kModelHash)] = "";
  metadata[std::string(kLegacyHash)] = "";
  const bool has_spec = std::ranges::any_of(metadata, [](const auto& entry) { return starts_with(entry.first, "modelspec."); });
  if (has_spec) metadata[std::string(kSpecHash)] = "";
}

void note_ranks(Metadata& metadata, const std::map<int64_t, int>& ranks, const std::map<double, int>& alphas) {
  const auto note = [&](const char* key, const std::string& text) {
    if (metadata.contains(key)) metadata[key] = text;
  };
  if (!ranks.empty()) note("ss_network_dim", ranks.size() == 1 ? std::to_string(ranks.begin()->first) : "Dynamic");
  if (!alphas.empty()) note("ss_network_alpha", alphas.size() == 1 ? format_number(alphas.begin()->first) : "Dynamic");
}

Metadata mixed_metadata(const std::vector<Metadata>& all) {
  Metadata mixed;
  if (all.empty()) return mixed;
  for (const auto& [key, value] : all.front()) {
    const bool same = std::ranges::all_of(all, [&](const Metadata& one) { return value_of(one, key) == value; });
    if (same && key != kHistory) mixed[key] = value;
  }
  for (const char* key : kAboutPictures) {
    ordered_json sum = ordered_json::object();
    for (const Metadata& one : all)
      if (const auto json = ordered_json::parse(value_of(one, key), nullptr, false); json.is_object()) sum = united(sum, json);
    if (!sum.empty()) mixed[key] = text_of(sum);
  }
  std::vector<std::string> phrases;
  for (const Metadata& one : all)
    if (const std::string phrase = value_of(one, kTriggers); !phrase.empty() && std::ranges::find(phrases, phrase) == phrases.end())
      phrases.push_back(phrase);
  if (!phrases.empty()) mixed[kTriggers] = join(phrases, ", ");
  return mixed;
}

}  // namespace lorikeet
