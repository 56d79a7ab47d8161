#include "library/names.h"

#include <map>
#include <set>

#include "base/text.h"

namespace lorikeet {
namespace {

bool is_safetensors(const ModelFile& file) { return lower(file.path.extension().string()) == ".safetensors"; }

// Of files that have one name, in their order.
size_t winner(const std::vector<NamedFile>& files, const std::vector<size_t>& same) {
  for (const size_t i : same)
    if (files[i].file.path.parent_path() == files[same[0]].file.path.parent_path() && is_safetensors(files[i].file)) return i;
  return same[0];
}

}  // namespace

std::vector<NamedFile> name_files(std::vector<ModelFile> files) {
  std::vector<NamedFile> named;
  std::map<std::string, std::vector<size_t>> by_name;
  for (ModelFile& file : files) {
    std::string name = valid_utf8(file.name);
    by_name[name].push_back(named.size());
    named.push_back({std::move(file), name, name, true});
  }
  std::set<std::string> taken;
  for (const auto& [name, same] : by_name) taken.insert(name);
  for (const auto& [name, same] : by_name) {
    if (same.size() == 1) continue;
    const size_t first = winner(named, same);
    const auto with_extension = [&](size_t i) { return name + valid_utf8(named[i].file.path.extension().string()); };
    taken.insert(with_extension(first));
    for (const size_t i : same) {
      if (i == first) continue;
      named[i].name = with_extension(i);
      named[i].shown = taken.insert(named[i].name).second;
    }
  }
  return named;
}

}  // namespace lorikeet
