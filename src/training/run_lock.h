// One run at a time in a folder: an advisory lock (flock) on a file that says who holds it. The system lets go of it when the process ends,
// however it ends.
#pragma once
#include <filesystem>

namespace lorikeet {

class RunLock {
 public:
  // Error{bad_input}: another process (or another lock of this one) holds it; its number and machine are named. Error{io}: the file cannot
  // be made, or the file system knows no locks.
  explicit RunLock(std::filesystem::path path);
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  int fd_ = -1;
};

}  // namespace lorikeet
