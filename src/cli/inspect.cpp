// lorikeet inspect FILE: what a file is, what is in it, and what it is for.
#include <CLI/CLI.hpp>
#include <map>
#include <nlohmann/json.hpp>
#include <ostream>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "workshop/lora_summary.h"
#include "cli/options.h"
#include "generate/infotext.h"
#include "io/hash.h"
#include "io/picture.h"
#include "io/tensor_file.h"
#include "model/spec.h"
#include "prompt/embedding_file.h"

namespace fs = std::filesystem;

namespace lorikeet {

namespace {
using nlohmann::ordered_json;

constexpr size_t kLongestShown = 300;  // characters of one value of metadata, unless --json or --full

struct InspectOptions {
  FolderOptions folders;
  std::string file;
  bool json = false, no_hash = false;
};

ordered_json pairs_json(const NamedHashes& hashes) {
  ordered_json json = ordered_json::object();
  for (const auto& [name, hash] : hashes) json[name] = hash;
  return json;
}

ordered_json inspect_picture(const fs::path& path) {
  const PictureFile file = read_picture(path);
  ordered_json json{
      {"kind", "picture"}, {"width", file.picture.width_px}, {"height", file.picture.height_px}, {"channels", file.picture.channels}};
  if (const auto embedding = embedding_json_of(file)) json["embedding"] = "this picture carries a textual-inversion embedding";
  const std::string text = text_named(file.text, "parameters");
  if (text.empty()) {
    for (const auto& [key, value] : file.text) json["text"][key] = value;
    return json;
  }
  Infotext info = parse_infotext(text);
  if (const std::string note = note_of_other_pictures(info.from_picture, info.inpainted); !note.empty()) info.notes.push_back(note);
  json["prompt"] = info.request.prompts[0];
  if (!info.request.negative_prompt.empty()) json["negative_prompt"] = info.request.negative_prompt;
  for (const auto& [key, value] : info.parameters) json["settings"][key] = value;
  if (!info.lora_hashes.empty()) json["lora_hashes"] = pairs_json(info.lora_hashes);
  if (!info.notes.empty()) json["notes"] = info.notes;
  json["infotext"] = text;
  return json;
}

// What any file of tensors tells: how many, of which dtypes, the metadata.
ordered_json inspect_tensors(const TensorFile& file) {
  int64_t parameters = 0;
  std::map<std::string, int64_t> dtypes;
  for (const auto& [name, entry] : file.tensors()) {
    int64_t count = 1;
    for (const int64_t side : entry.shape) count *= side;
    parameters += count;
    ++dtypes[entry.stored_dtype];
  }
  ordered_json json{{"format", name(file.format())}, {"tensors", file.tensors().size()}, {"parameters", parameters}, {"dtypes", dtypes}};
  if (!file.unread().empty()) json["not_read"] = file.unread();
  if (file.tensors().size() <= 12)
    for (const auto& [name, entry] : file.tensors()) json["shapes"][name] = to_string(entry.shape);
  return json;
}

// Each returns nothing when the file is something else.
std::optional<ordered_json> as_lora(const fs::path& path) {
  try {
    ordered_json json{{"kind", "LoRA"}};
    json.update(ordered_json(json_of(LoraFile::open(path)->summary())));
    return json;
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::optional<ordered_json> as_embedding(const fs::path& path) {
  try {
    ordered_json json{{"kind", "embedding"}};
    for (const Embedding& embedding : read_embedding_file(path)) {
      ordered_json widths = ordered_json::array();
      for (const Tensor& vectors : embedding.vectors) widths.push_back(vectors.size(1));
      json["words"].push_back({{"name", embedding.name}, {"vectors", embedding.count()}, {"widths", widths}});
    }
    return json;
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::optional<ordered_json> as_checkpoint(const fs::path& path, std::string& why_not) {
  try {
    const auto checkpoint = Checkpoint::open(path);
    ordered_json json{{"kind", "checkpoint"}};
    const ModelSpec spec = recognise_model(*checkpoint);
    json["family"] = spec.family;
    json["model"] = spec.label;
    json["prediction"] = spec.prediction.empty() ? "epsilon or v: only a trial step can tell" : spec.prediction;
    if (spec.zero_terminal_snr) json["zero_terminal_snr"] = true;
    json["inpainting"] = spec.inpainting();
    json["dtype"] = checkpoint->stored_dtype();
    json["trained_at"] = std::to_string(spec.native_size_px) + " px";
    return json;
  } catch (const Error& error) {
    why_not = error.message();
    return std::nullopt;
  }
}

ordered_json inspect_model(const fs::path& path, bool hashes) {
  const bool folder = fs::is_directory(path);
  const auto file = folder ? nullptr : TensorFile::open(path);
  std::string why_not;
  std::optional<ordered_json> what;
  if (!folder) what = as_lora(path);
  if (!what && !folder) what = as_embedding(path);
  if (!what) what = as_checkpoint(path, why_not);
  if (!what && folder) throw Error(ErrorKind::bad_input, path.string() + " is not a checkpoint in diffusers' layout: " + why_not);
  ordered_json json =
      what ? *what : ordered_json{{"kind", "tensors"}, {"note", "no checkpoint, LoRA or embedding that is known: " + why_not}};
  if (!file) return json;
  json.update(inspect_tensors(*file));
  json["size"] = size_text(fs::file_size(path));
  if (hashes) {
    const std::string whole = sha256_file(path);
    json["hashes"] = {
        {"sha256", whole}, {"AutoV1", legacy_model_hash(path)}, {"AutoV2", whole.substr(0, 10)}, {"AutoV3", auto_v3(path).substr(0, 12)}};
  }
  if (!file->metadata().empty()) json["metadata"] = file->metadata();
  return json;
}

// "key: value" lines, deeper ones indented.
void print(const ordered_json& json, const std::string& indent, Output& output) {
  for (const auto& [key, value] : json.items()) {
    if (json.is_object() && value == "") continue;  // what the file does not tell
    output.out << indent << (json.is_array() ? "-" : key + ":");
    if (value.is_object() || (value.is_array() && !value.empty() && value[0].is_object())) {
      output.out << "\n";
      print(value, indent + "  ", output);
      continue;
    }
    std::string text = value.is_string() ? value.get<std::string>() : value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    if (text.size() > kLongestShown && indent.size() >= 2)
      text = valid_utf8(text.substr(0, kLongestShown)) + "… (" + std::to_string(text.size()) + " characters; all with --json)";
    output.out << " " << replace_all(text, "\n", "\n" + indent + "    ") << "\n";
  }
}

fs::path find_file(const InspectOptions& options) {
  if (options.file.empty()) throw Error(ErrorKind::bad_input, "which file?", "lorikeet inspect FILE");
  if (is_model_path(options.file)) return options.file;
  const ModelFolders folders = open_folders(options.folders);
  for (const ModelKind kind : {ModelKind::checkpoint, ModelKind::lora, ModelKind::embedding, ModelKind::vae}) {
    try {
      return folders.find(kind, options.file).file.path;
    } catch (const Error&) {  // another kind may have it
    }
  }
  std::error_code code;
  if (fs::exists(options.file, code)) return options.file;  // a folder that is no model: what is missing in it will be told
  throw Error(ErrorKind::not_found, "there is no file " + options.file + ", and no model of that name in the models folders");
}

int run_inspect(const InspectOptions& options, Output& output) {
  const fs::path path = find_file(options);
  ordered_json json{{"file", path.string()}};
  json.update(!fs::is_directory(path) && is_picture(path) ? inspect_picture(path) : inspect_model(path, !options.no_hash));
  if (options.json)
    output.out << json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
  else
    print(json, "", output);
  return 0;
}
}  // namespace

RunCommand define_inspect(CLI::App& app) {
  const auto options = std::make_shared<InspectOptions>();
  app.add_option("file", options->file, "A file, a folder in diffusers' layout, or a name in the models folder.")
      ->group("Options")
      ->type_name("FILE");
  app.add_flag("--json", options->json, "As JSON, nothing shortened.")->group("Options");
  app.add_flag("--no-hash", options->no_hash, "Leave out the hashes; large files are told at once.")->group("Options");
  add_folder_options(app, options->folders);
  return [options](Output& output) { return run_inspect(*options, output); };
}

}  // namespace lorikeet
