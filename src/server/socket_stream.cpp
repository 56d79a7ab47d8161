#include "server/socket_stream.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>

namespace lorikeet {

namespace {
void address_of(const sockaddr_storage& storage, std::string& ip, int& port) {
  char text[INET6_ADDRSTRLEN] = "";
  if (storage.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    port = ntohs(v4.sin_port);
  } else if (storage.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
    inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
    port = ntohs(v6.sin6_port);
  }
  ip = text;
}
}  // namespace

bool SocketStream::wait(short events, double seconds) const {
  if (seconds <= 0) return false;
  pollfd waiting{fd_, events, 0};
  int code = 0;
  do code = ::poll(&waiting, 1, static_cast<int>(std::ceil(std::min(seconds, 3600.0) * 1000)));
  while (code < 0 && errno == EINTR);
  return code > 0;
}

double SocketStream::seconds_left() const {
  const double allowed = limits_.patience_s + static_cast<double>(received_) / limits_.bytes_per_second;
  return allowed - std::chrono::duration<double>(Clock::now() - began_).count();
}

bool SocketStream::wait_for_request() {
  if (begin_ < end_) return true;
  began_ = Clock::now();
  received_ = 0;
  return wait(POLLIN, limits_.idle_s) && fill() > 0;
}

void SocketStream::begin_request() {
  began_ = Clock::now();
  received_ = end_ - begin_;
  in_header_ = true;
}

ssize_t SocketStream::fill() {
  ssize_t count = 0;
  do count = ::recv(fd_, buffer_.data(), buffer_.size(), 0);
  while (count < 0 && errno == EINTR);
  begin_ = 0;
  end_ = count > 0 ? static_cast<size_t>(count) : 0;
  return count;
}

bool SocketStream::is_readable() const { return begin_ < end_ || wait(POLLIN, seconds_left()); }

bool SocketStream::is_writable() const {
  char byte;
  const bool gone = ::recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;  // the client has hung up
  return !gone && wait(POLLOUT, limits_.patience_s);
}

ssize_t SocketStream::read(char* to, size_t size) {
  if (begin_ == end_) {
    if (in_header_ && received_ > limits_.header_bytes) return -1;
    if (!wait(POLLIN, seconds_left())) return -1;
    const ssize_t count = fill();
    if (count <= 0) return count;
    received_ += static_cast<size_t>(count);
  }
  const size_t part = std::min(size, end_ - begin_);
  std::memcpy(to, buffer_.data() + begin_, part);
  begin_ += part;
  return static_cast<ssize_t>(part);
}

ssize_t SocketStream::write(const char* from, size_t size) {
  const auto begin = Clock::now();
  const double allowed = limits_.patience_s + static_cast<double>(size) / limits_.bytes_per_second;
  size_t done = 0;
  while (done < size) {
    if (!wait(POLLOUT, allowed - std::chrono::duration<double>(Clock::now() - begin).count())) return -1;
    const ssize_t count = ::send(fd_, from + done, size - done, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0 && errno != EINTR && errno != EAGAIN && errno != EWOULDBLOCK) return -1;
    if (count > 0) done += static_cast<size_t>(count);
  }
  return static_cast<ssize_t>(size);
}

void SocketStream::get_remote_ip_and_port(std::string& ip, int& port) const {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getpeername(fd_, reinterpret_cast<sockaddr*>(&storage), &size) == 0) address_of(storage, ip, port);
}

void SocketStream::get_local_ip_and_port(std::string& ip, int& port) const {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getsockname(fd_, reinterpret_cast<sockaddr*>(&storage), &size) == 0) address_of(storage, ip, port);
}

}  // namespace lorikeet
