// Changing what a LoRA file says about itself; its tensors stay as they are, byte by byte.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "base/progress.h"
#include "lora/surgery/provenance.h"

namespace lorikeet {

struct MetadataEdit {
  Metadata set;
  std::vector<std::string> unset;  // Error{not_found} when the file has no such entry
};

// Writes `output`, which may be the file itself: it is replaced as a whole or not at all. Hashes are computed anew, and the history gains
// an entry with the former texts. Error{bad_input}: nothing to change, a file that is not safetensors (convert it first), a key that the
// program keeps itself (lorikeet.history, the hashes).
void edit_metadata(const std::filesystem::path& file, const MetadataEdit& edit, const std::filesystem::path& output, Progress& progress);

}  // namespace lorikeet
