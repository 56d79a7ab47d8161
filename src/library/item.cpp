// The details of one model: its header anew, its sidecar, what there is to say about it.
#include "library/item.h"

#include <algorithm>

#include "base/text.h"
#include "library/facts.h"
#include "library/sidecar.h"

namespace fs = std::filesystem;

namespace lorikeet {
namespace {

constexpr size_t kMostValue = size_t{64} << 10;

std::map<std::string, std::string> shown_metadata(const std::map<std::string, std::string>& metadata) {
  std::map<std::string, std::string> shown;
  for (const auto& [key, value] : metadata) {
    const bool picture = key == "ssmd_cover_images" || key == "modelspec.thumbnail";
    std::string& text = shown[valid_utf8(key)];
    text = picture ? "(a picture)" : valid_utf8(std::string_view(value).substr(0, kMostValue));
    if (!picture && value.size() > kMostValue) text += "…";
  }
  return shown;
}

bool leads_elsewhere(const StoredCard& stored) {
  std::error_code code;
  const std::string real = fs::weakly_canonical(stored.path, code).string();
  const std::string place = fs::weakly_canonical(stored.place, code).string();
  return !code && !starts_with(real, place + "/");
}

std::vector<std::string> warnings(const StoredCard& stored, const Sidecar& sidecar, Index& index) {
  std::vector<std::string> warnings = sidecar.faults;
  const std::string stem = stored.base_name.substr(stored.base_name.rfind('/') + 1);
  const auto others = index.same_stem(stored);
  if (!others.empty())
    warnings.push_back("\"" + stem + "\" alone could also mean " + join(others, ", ") + ": other programs go by the file name alone");
  for (const std::string& path : index.hidden_by(stored))
    if (path != stored.path)
      warnings.push_back("this file hides " + valid_utf8(fs::path(path).filename().string()) + " of the same name in another models folder");
  if (!is_valid_utf8(fs::path(stored.path).filename().string()))
    warnings.push_back("the file's name is no valid UTF-8: rename it to use it in a prompt");
  if (leads_elsewhere(stored)) warnings.push_back("this is a link that leads out of the models folder");
  if (stored.card.kind == ModelKind::lora && fs::path(stored.path).extension() != ".safetensors")
    warnings.push_back("this is not a safetensors file; other programs may run code that such files can hold");
  return warnings;
}

}  // namespace

LibraryItem read_item(const StoredCard& stored, Index& index) {
  LibraryItem item;
  item.card = stored.card;
  item.path = stored.path;
  const FileFacts facts = read_facts({stored.card.kind, stored.base_name, item.path});
  const Sidecar sidecar = read_sidecars(find_sidecars(item.path, read_folder_names(item.path.parent_path())));
  item.metadata = shown_metadata(facts.metadata);
  item.sidecar = sidecar.card_json;
  item.modules = facts.lora ? facts.lora->modules : 0;
  item.tensors = facts.tensors;
  item.dtype = facts.dtype;
  item.path_in_folder = valid_utf8(item.path.lexically_relative(stored.place).generic_string());
  item.duplicates_of = index.same_content(stored);
  item.warnings = warnings(stored, sidecar, index);
  return item;
}

}  // namespace lorikeet
