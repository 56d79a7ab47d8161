// An open file of the system, closed at the end of its scope.
#pragma once
#include <unistd.h>

namespace lorikeet {

struct Descriptor {
  int fd;  // negative: none
  explicit Descriptor(int opened) : fd(opened) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

}  // namespace lorikeet
