// Where the pictures of a run go: one file, numbered files, or A1111-like names in a folder.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "io/picture.h"

namespace lorikeet {

class OutputFiles {
 public:
  // where: a file (its extension is that of a picture), or a folder. Makes missing folders. Error{io}: it cannot be written to, told before
  // the work rather than after it.
  OutputFiles(const std::filesystem::path& where, PictureFormat format);

  // The format that the extension asks for, where `where` is a file.
  static std::optional<PictureFormat> format_of(const std::filesystem::path& where);

  // The path of the next picture: the file, then file-2, file-3, …; in a folder 00012-SEED.png, counting on from what is there.
  std::filesystem::path next(int64_t seed);

 private:
  std::filesystem::path file_, folder_;
  std::string extension_;
  int number_ = 0;
};

}  // namespace lorikeet
