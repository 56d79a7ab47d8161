#include "cli/from_picture.h"

#include "base/error.h"
#include "base/text.h"
#include "generate/infotext.h"

namespace lorikeet {

namespace {
// The local name for each LoRA of the picture whose file is here under another name, or with another content.
std::vector<std::pair<std::string, std::string>> local_names(const NamedHashes& hashes, const ModelFolders& folders,
                                                             std::vector<std::string>& notes) {
  std::vector<std::pair<std::string, std::string>> names;
  for (const auto& [name, hash] : hashes) {
    const auto file = folders.find_hash(ModelKind::lora, hash);
    if (!file) {
      notes.push_back("the picture's LoRA " + name + " has hash " + hash +
                      ", which no file here has; a file of that name is taken if there is one");
    } else if (file->name != name) {
      names.emplace_back(name, file->name);
    }
  }
  return names;
}

std::optional<FoundModel> local_checkpoint(const Infotext& text, const ModelFolders& folders, std::vector<std::string>& notes) {
  if (const auto file = folders.find_hash(ModelKind::checkpoint, text.model_hash)) return FoundModel{*file, {}};
  if (text.model.empty()) return std::nullopt;
  try {
    FoundModel found = folders.find(ModelKind::checkpoint, text.model);
    if (!text.model_hash.empty())
      notes.push_back("the checkpoint " + found.file.path.string() + " has the picture's name, but not its hash " + text.model_hash);
    return found;
  } catch (const Error&) {
    notes.push_back("the picture's checkpoint " + text.model + (text.model_hash.empty() ? "" : " (" + text.model_hash + ")") + " is not here");
    return std::nullopt;
  }
}
}  // namespace

FromPicture read_from_picture(const std::filesystem::path& picture, const ModelFolders& folders) {
  const std::string parameters = text_named(read_picture_text(picture), "parameters");
  if (parameters.empty())
    throw Error(ErrorKind::bad_input, picture.string() + " carries no settings", "programs that edit or send pictures often take them out");
  Infotext text = parse_infotext(parameters);
  FromPicture result{std::move(text.request), std::nullopt, std::move(text.notes), text.from_picture, text.inpainted};
  const auto names = local_names(text.lora_hashes, folders, result.notes);
  for (std::string& prompt : result.request.prompts) prompt = rename_loras(prompt, names);
  result.request.hr_prompt = rename_loras(result.request.hr_prompt, names);
  result.checkpoint = local_checkpoint(text, folders, result.notes);
  return result;
}

}  // namespace lorikeet
