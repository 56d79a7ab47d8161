#include "lora/surgery/edit.h"

#include "base/error.h"
#include "base/text.h"
#include "io/tensor_file.h"
#include "lora/file.h"
#include "lora/surgery/draft.h"

namespace lorikeet {
namespace {

void refuse_own_keys(const std::string& key) {
  for (const std::string_view own : {std::string_view(kHistory), kModelHash, kLegacyHash, kSpecHash})
    if (key == own) throw Error(ErrorKind::bad_input, key + " is written by the program itself", "leave it as it is");
}

Metadata edited(Metadata metadata, const MetadataEdit& edit) {
  for (const auto& [key, text] : edit.set) {
    refuse_own_keys(key);
    if (key.empty() || !is_valid_utf8(key) || !is_valid_utf8(text))
      throw Error(ErrorKind::bad_input, "an entry of the metadata has a name and a text, both in UTF-8");
    metadata[key] = text;
  }
  for (const std::string& key : edit.unset) {
    refuse_own_keys(key);
    if (metadata.erase(key) > 0) continue;
    std::vector<std::string> known;
    for (const auto& [name, text] : metadata) known.push_back(name);
    throw Error(ErrorKind::not_found, "the file's metadata has no entry " + key, did_you_mean(key, known));
  }
  return metadata;
}

}  // namespace

void edit_metadata(const std::filesystem::path& path, const MetadataEdit& edit, const std::filesystem::path& output, Progress& progress) {
  if (edit.set.empty() && edit.unset.empty())
    throw Error(ErrorKind::bad_input, "what is to be changed?", "--set KEY=TEXT, --unset KEY, --trigger TEXT");
  const auto file = LoraFile::open(path);
  if (file->format() != FileFormat::safetensors)
    throw Error(ErrorKind::bad_input, path.string() + " is not a safetensors file and cannot hold such texts",
                "lorikeet lora convert " + path.filename().string() + " -o " + path.stem().string() + ".safetensors");
  Metadata metadata = edited(file->metadata(), edit);
  nlohmann::ordered_json words = nlohmann::ordered_json::object();
  for (const auto& [key, text] : edit.set) words["set"][key] = text;
  for (const std::string& key : edit.unset) words["unset"].push_back(key);
  add_history(metadata, "edit", {history_input(path, file->metadata())}, words, file->metadata());
  ask_for_hashes(metadata);
  std::vector<DraftTensor> tensors;
  for (const auto& [key, entry] : file->tensors()) {
    if (starts_with(entry.stored_dtype, "F8"))
      throw Error(ErrorKind::unsupported, key + " is stored in 8 bits, which cannot be written",
                  "lorikeet lora convert --dtype f16 makes 16 of them");
    tensors.push_back({key, entry.dtype, entry.shape, entry.view, true});
  }
  write_planned(output, tensors, std::move(metadata), progress);
}

}  // namespace lorikeet
