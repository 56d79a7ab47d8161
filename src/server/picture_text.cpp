#include "server/picture_text.h"

#include <fstream>
#include <sstream>

#include "base/error.h"
#include "base/text.h"
#include "io/fields_json.h"
#include "server/app.h"

namespace lorikeet {

namespace {
using nlohmann::json;

std::optional<std::string> name_of_hash(App& app, ModelKind kind, const std::string& hash) {
  if (hash.empty()) return std::nullopt;
  const auto card = app.library.card(kind, hash);
  return card ? std::optional(card->name) : std::nullopt;
}

json checkpoint_here(App& app, const Infotext& text, std::vector<std::string>& notes) {
  if (auto name = name_of_hash(app, ModelKind::checkpoint, text.model_hash)) return *name;
  if (text.model.empty()) return nullptr;
  if (const auto card = app.library.card(ModelKind::checkpoint, text.model)) return card->name;
  notes.push_back("the picture's checkpoint " + text.model + " is not here");
  return nullptr;
}
}  // namespace

Infotext read_infotext(App& app, const std::string& infotext) {
  Infotext text = parse_infotext(infotext);
  std::vector<std::pair<std::string, std::string>> names;
  for (const auto& [name, hash] : text.lora_hashes) {
    const auto here = name_of_hash(app, ModelKind::lora, hash);
    if (here && *here != name) names.emplace_back(name, *here);
    if (!here && !app.library.card(ModelKind::lora, name))
      text.notes.push_back("the picture's LoRA " + name + " (" + hash + ") is not here");
  }
  for (std::string& prompt : text.request.prompts) prompt = rename_loras(prompt, names);
  text.request.hr_prompt = rename_loras(text.request.hr_prompt, names);
  return text;
}

json settings_in_text(App& app, const std::string& infotext) {
  json answer{{"infotext", valid_utf8(infotext)}, {"request", nullptr}, {"checkpoint", nullptr}, {"unused", json::array()}};
  if (trim(infotext).empty()) return answer;
  Infotext text = read_infotext(app, infotext);
  json request = json::object();
  const json all = write_fields(text.request);
  for (const std::string& name : differing_fields(text.request, Request{})) request[name] = all[name];
  for (const char* always : {"prompt", "negative_prompt", "steps", "sampler", "schedule", "cfg_scale", "seed", "width", "height"})
    request[always] = all[always];
  answer["request"] = std::move(request);
  answer["checkpoint"] = checkpoint_here(app, text, text.notes);
  if (const std::string note = note_of_other_pictures(text.from_picture, text.inpainted); !note.empty()) text.notes.push_back(note);
  answer["unused"] = text.notes;
  return answer;
}

HttpResponse file_response(const HttpRequest& request, const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream bytes;
  if (!stream || !(bytes << stream.rdbuf())) throw Error(ErrorKind::io, "cannot read " + path.filename().string());
  std::error_code code;
  const auto changed = std::filesystem::last_write_time(path, code).time_since_epoch().count();
  std::string text = std::move(bytes).str();
  const std::string etag = std::to_string(changed) + "-" + std::to_string(text.size());
  return bytes_response(request, std::move(text), std::string(media_type_of(path)), etag);
}

}  // namespace lorikeet
