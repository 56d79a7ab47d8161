// Which file a name of the library means, where several have it.
#pragma once
#include <string>
#include <vector>

#include "io/model_folders.h"

namespace lorikeet {

struct NamedFile {
  ModelFile file;
  std::string base_name;  // file.name as valid UTF-8
  std::string name;       // what the library calls it: base_name, or with the extension where another file has that
  bool shown = true;      // false: a file of the same name and extension in an earlier place hides it
};

// `files`: of one kind, as ModelFolders::list() gives them. The rules are those of ModelFolders::find(): the earlier place, then
// .safetensors before others in the same folder.
std::vector<NamedFile> name_files(std::vector<ModelFile> files);

}  // namespace lorikeet
