#include "io/append_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "base/error.h"

namespace lorikeet {

namespace {
[[noreturn]] void fail(const std::filesystem::path& path, int code) {
  const std::string hint = code == ENOSPC || code == EDQUOT  ? "the disk is full: free some space"
                           : code == EACCES || code == EROFS ? "the folder is not writable: choose another one or change its mode"
                                                             : "";
  throw Error(code == ENOENT ? ErrorKind::not_found : ErrorKind::io,
              "cannot write " + path.string() + ": " + std::generic_category().message(code), hint);
}

int64_t size_of(int fd) {
  struct stat status {};
  return ::fstat(fd, &status) == 0 ? status.st_size : 0;
}
}  // namespace

AppendFile::AppendFile(std::filesystem::path path) : path_(std::move(path)) {
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd_ < 0) fail(path_, errno);
}

AppendFile::~AppendFile() { ::close(fd_); }

bool AppendFile::empty() const { return size_of(fd_) == 0; }

void AppendFile::append(std::string_view record) {
  const int64_t before = size_of(fd_);
  while (!record.empty()) {
    const ssize_t written = ::write(fd_, record.data(), record.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const int code = errno;
      if (::ftruncate(fd_, before) != 0) fail(path_, errno);
      fail(path_, code);
    }
    record.remove_prefix(static_cast<size_t>(written));
  }
}

}  // namespace lorikeet
