// A file that only grows, record by record: logs. Each record goes to the system in one call, so that it survives the end of the program,
// and a record that does not fit on the disk is taken back.
#pragma once
#include <filesystem>
#include <string_view>

namespace lorikeet {

class AppendFile {
 public:
  // Opens the file, or begins it. Error: not_found (no such folder), io.
  explicit AppendFile(std::filesystem::path path);
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  bool empty() const;
  // Error{io}: disk full, …; the file is then as it was before.
  void append(std::string_view record);

 private:
  std::filesystem::path path_;
  int fd_ = -1;
};

}  // namespace lorikeet
