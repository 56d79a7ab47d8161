#include "training/run_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <system_error>

#include "base/error.h"
#include "base/text.h"

namespace lorikeet {

namespace {
std::string holder_of(int fd) {
  std::array<char, 512> text{};
  const ssize_t size = ::pread(fd, text.data(), text.size(), 0);
  return size > 0 ? valid_utf8(trim({text.data(), static_cast<size_t>(size)})) : "another process";
}

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& doing, int code) {
  throw Error(ErrorKind::io, "cannot " + doing + " " + path.string() + ": " + std::generic_category().message(code),
              "choose another folder with --run-dir, on a disk of this machine");
}
}  // namespace

RunLock::RunLock(std::filesystem::path path) {
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd_ < 0) fail(path, "make", errno);
  if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    const int code = errno;
    const std::string holder = holder_of(fd_);
    ::close(fd_);
    if (code != EWOULDBLOCK) fail(path, "lock", code);
    throw Error(ErrorKind::bad_input, "another run works in " + path.parent_path().string() + ": " + holder,
                "wait until it has ended, or choose another folder with --run-dir or another name with --out");
  }
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  const std::string text = "process " + std::to_string(::getpid()) + " on " + host.data() + "\n";
  // The text is for people only: a full disk does not keep anyone from holding the lock.
  if (::ftruncate(fd_, 0) == 0 && ::pwrite(fd_, text.data(), text.size(), 0) < 0) return;
}

RunLock::~RunLock() {
  if (::ftruncate(fd_, 0) != 0) {  // nothing to be done: the text is out of date, the lock is not
  }
  ::close(fd_);
}

}  // namespace lorikeet
