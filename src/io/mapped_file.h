// The bytes of a file, read-only, without reading it: a private memory mapping that lives as long as somebody holds it.
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace lorikeet {

class MappedFile {
 public:
  // Throws Error: not_found, bad_input (a folder, a device), io (no permission, mapping failed). An empty file is no error here.
  // A file that another program cuts short while it is mapped ends this program (SIGBUS); writers must replace, not rewrite.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);

  // The same over bytes in memory (a test, an upload); `name` stands for the path in messages.
  static std::shared_ptr<const MappedFile> from_bytes(std::string bytes, std::filesystem::path name);

  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::string_view bytes() const { return bytes_; }
  size_t size() const { return bytes_.size(); }

  // Gives the pages that were read back to the operating system; they come again from the file when they are next touched.
  void release_pages() const;

 private:
  explicit MappedFile(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
  std::string owned_;        // from_bytes() only
  void* mapping_ = nullptr;  // open() only
  std::string_view bytes_;
};

}  // namespace lorikeet
