#include "io/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <system_error>

#include "base/error.h"

namespace lorikeet {
namespace {

std::filesystem::path folder_of(const std::filesystem::path& path) { return path.has_parent_path() ? path.parent_path() : "."; }

// Distinct among the threads of this program by the counter, among programs by the process id.
std::filesystem::path temporary_beside(const std::filesystem::path& path) {
  static std::atomic<unsigned> counter{0};
  // 200 bytes of the name: with the rest it stays within the 255 of the usual file systems.
  const std::string stem = path.filename().string().substr(0, 200);
  return folder_of(path) / ("." + stem + "." + std::to_string(::getpid()) + "-" + std::to_string(counter++) + ".tmp");
}

}  // namespace

AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
  std::error_code ignored;
  if (std::filesystem::is_symlink(path_, ignored)) {
    const auto target = std::filesystem::weakly_canonical(path_, ignored);
    if (!ignored) path_ = target;
  }
  if (std::filesystem::is_directory(path_, ignored))
    throw Error(ErrorKind::bad_input, path_.string() + " is a folder, not a file to write");
  temporary_ = temporary_beside(path_);
  fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd_ >= 0) return;
  const int code = errno;
  temporary_.clear();
  if (code == ENOENT || code == ENOTDIR) {
    throw Error(ErrorKind::not_found, "there is no folder " + folder_of(path_).string(), "make the folder first");
  }
  fail("write", code);
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::fail(const std::string& doing, int code) {
  std::string hint;
  if (code == ENOSPC || code == EDQUOT) hint = "the disk is full: free some space or choose another folder";
  if (code == EACCES || code == EPERM || code == EROFS) hint = "the folder is not writable: choose another one or change its mode";
  if (code == EFBIG) hint = "the file is larger than the system allows here";
  throw Error(ErrorKind::io, "cannot " + doing + " " + path_.string() + ": " + std::generic_category().message(code), hint);
}

void AtomicFile::write(std::string_view bytes) {
  constexpr size_t kMost = size_t{1} << 30;  // Linux writes at most 2 GiB in one call
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_, bytes.data(), std::min(bytes.size(), kMost));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("write", errno);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
}

void AtomicFile::rewrite(uint64_t offset, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("write", errno);
    bytes.remove_prefix(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
}

void AtomicFile::close_file() {
  const int fd = fd_;
  fd_ = -1;
  if (::close(fd) != 0 && errno != EINTR) fail("write", errno);  // network file systems report a full disk here
}

void AtomicFile::commit() {
  if (::fsync(fd_) != 0) fail("write", errno);
  close_file();
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("put in place", errno);
  temporary_.clear();
  // The file is whole by now; a file system that cannot sync a folder is no reason to fail.
  const int folder = ::open(folder_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;
  ::fsync(folder);
  ::close(folder);
}

void write_file_atomically(const std::filesystem::path& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

}  // namespace lorikeet
