// generate --from: the settings of a picture, with its models as files of this machine.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "generate/request.h"
#include "io/model_folders.h"

namespace lorikeet {

struct FromPicture {
  Request request;
  std::optional<FoundModel> checkpoint;  // the local file with the picture's model hash, else of its name
  std::vector<std::string> notes;
  bool needs_picture = false, needs_mask = false;  // it was made from another picture, by a mask, which are not in it
};

// Reads infotext from a picture. LoRA tags are renamed to the local files with the same hash, as A1111's paste does. Error{bad_input}: the
// picture carries no settings.
FromPicture read_from_picture(const std::filesystem::path& picture, const ModelFolders& folders);

}  // namespace lorikeet
