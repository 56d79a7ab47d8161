// Writing a file so that a reader sees the old one or the new one, never half of one: a temporary file in the same folder,
// fsync, rename, fsync of the folder.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace lorikeet {

class AtomicFile {
 public:
  // Begins a temporary file beside `path` (beside the target, where `path` is a symbolic link).
  // Throws Error: not_found (no such folder), io (folder not writable, disk full), bad_input (`path` is a folder).
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();  // without commit() nothing is left behind and an older file stays as it was
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::string_view bytes);
  // Writes over what was written before, from byte `offset` on.
  void rewrite(uint64_t offset, std::string_view bytes);
  void commit();  // the file is in place and on the disk when this returns

 private:
  void close_file();
  [[noreturn]] void fail(const std::string& doing, int code);
  std::filesystem::path path_, temporary_;
  int fd_ = -1;
};

void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

}  // namespace lorikeet
