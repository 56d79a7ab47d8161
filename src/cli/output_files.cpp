#include "cli/output_files.h"

#include <unistd.h>

#include <cstdio>

#include "base/error.h"
#include "base/text.h"

namespace fs = std::filesystem;

namespace lorikeet {

namespace {
int highest_number(const fs::path& folder) {
  int highest = -1;
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(folder, code)) {
    const std::string name = entry.path().filename().string();
    const size_t dash = name.find('-');
    const auto number = dash == 5 ? parse_int(name.substr(0, 5)) : std::nullopt;
    if (number && *number > highest) highest = static_cast<int>(*number);
  }
  return highest;
}
}  // namespace

std::optional<PictureFormat> OutputFiles::format_of(const fs::path& where) {
  std::error_code code;
  if (where.extension().empty() || fs::is_directory(where, code)) return std::nullopt;
  return picture_format_of_path(where);
}

OutputFiles::OutputFiles(const fs::path& where, PictureFormat format)
    : extension_(format == PictureFormat::jpeg ? ".jpg" : "." + std::string(name(format))) {
  const bool is_file = format_of(where).has_value();
  if (is_file) file_ = where;
  folder_ = is_file ? where.parent_path() : where;
  if (folder_.empty()) folder_ = ".";
  std::error_code code;
  fs::create_directories(folder_, code);
  if (!fs::is_directory(folder_) || access(folder_.c_str(), W_OK) != 0)
    throw Error(ErrorKind::io, "cannot write pictures to " + folder_.string() + (code ? ": " + code.message() : ""),
                "choose another place with --output");
  number_ = is_file ? 0 : highest_number(folder_);
}

fs::path OutputFiles::next(int64_t seed) {
  ++number_;
  if (file_.empty()) {
    char digits[16];
    std::snprintf(digits, sizeof digits, "%05d", number_);
    return folder_ / (std::string(digits) + "-" + std::to_string(seed) + extension_);
  }
  if (number_ == 1) return file_;
  return fs::path(file_).replace_filename(file_.stem().string() + "-" + std::to_string(number_) + file_.extension().string());
}

}  // namespace lorikeet
