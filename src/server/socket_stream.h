// One connection as cpp-httplib reads and writes it, with deadlines: a client must send at a least rate, however it cuts its bytes up.
// Included by listener.cpp alone.
#pragma once
#include <httplib.h>

#include <array>
#include <chrono>
#include <string>

#include "server/listener.h"

namespace lorikeet {

class SocketStream : public httplib::Stream {
 public:
  SocketStream(int fd, const ListenerLimits& limits) : fd_(fd), limits_(limits) {}

  bool wait_for_request();  // false: none came in limits.idle_s, or the client is gone
  void begin_request();
  void end_header() { in_header_ = false; }  // what comes now is a body

  bool is_readable() const override;
  bool is_writable() const override;
  ssize_t read(char* to, size_t size) override;  // -1: gone, too slow, or a header too long
  ssize_t write(const char* from, size_t size) override;
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const override;
  socket_t socket() const override { return fd_; }

 private:
  using Clock = std::chrono::steady_clock;
  bool wait(short events, double seconds) const;
  double seconds_left() const;
  ssize_t fill();

  int fd_;
  const ListenerLimits& limits_;
  std::array<char, 8192> buffer_;
  size_t begin_ = 0, end_ = 0;  // what is in the buffer
  size_t received_ = 0;         // of this request
  bool in_header_ = true;
  Clock::time_point began_ = Clock::now();
};

}  // namespace lorikeet
