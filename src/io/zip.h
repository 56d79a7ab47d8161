// A reader of zip archives over a mapped file (PKWARE APPNOTE 6.3, zip64 included): stored entries are views, deflated ones are
// unpacked when they are asked for. Checks what a stranger's file could get wrong.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "io/mapped_file.h"

namespace lorikeet {

// Bytes and what keeps them alive.
struct OwnedBytes {
  std::shared_ptr<const void> owner;
  std::string_view bytes;
};

struct ZipEntry {
  std::string_view packed;  // as it lies in the file
  uint64_t size;            // unpacked, in bytes
  uint32_t crc;
  bool deflated;
};

class ZipArchive {
 public:
  // Reads the directory. Throws Error: bad_input (truncated, damaged, two entries of one name), unsupported (encrypted, another
  // packing than stored and deflated, a zip bomb).
  explicit ZipArchive(std::shared_ptr<const MappedFile> file);

  const std::map<std::string_view, ZipEntry>& entries() const { return entries_; }
  const ZipEntry* find(std::string_view name) const;  // null: none

  // The unpacked bytes; one buffer for all who hold them at a time. Thread-safe. The sum of a deflated entry is checked.
  // Throws Error{bad_input}: damaged.
  OwnedBytes read(const ZipEntry& entry) const;

 private:
  void read_directory();
  size_t read_directory_entry(size_t at);
  std::shared_ptr<const MappedFile> file_;
  std::map<std::string_view, ZipEntry> entries_;
  mutable std::mutex mutex_;
  mutable std::map<const ZipEntry*, std::weak_ptr<const std::string>> inflated_;
};

}  // namespace lorikeet
