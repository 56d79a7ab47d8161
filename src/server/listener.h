// HTTP over sockets: cpp-httplib's parser on sockets of our own, so that slow, silent and too many clients cost a bounded time and memory.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "server/http.h"

namespace lorikeet {

struct ListenerLimits {
  size_t connections = 512;                   // at once; further ones are answered 503
  size_t header_bytes = 64 * 1024;            // of a request, all headers together
  size_t body_bytes = size_t{128} << 20;      // of a request
  size_t all_bodies_bytes = size_t{1} << 30;  // of all requests that are being read or answered
  double patience_s = 10;                     // for a request to come, plus a second for each `bytes_per_second`; and for an answer to go
  double bytes_per_second = 16 * 1024;
  double idle_s = 15;  // between two requests of a connection
};

// Called from many threads at once.
struct ListenerCalls {
  // Before the body is read: an answer refuses the request.
  std::function<std::optional<HttpResponse>(const HttpRequest&, const std::string& method)> refuse;
  std::function<HttpResponse(HttpRequest&)> answer;
  std::function<void(int64_t change)> connections;  // +1, -1
  std::function<void()> refused;                    // one connection too many
};

class Listener {
 public:
  Listener(ListenerCalls calls, ListenerLimits limits = {});
  ~Listener();

  // -> the port. Error{io}: in use by another program (by another server), not allowed, no such address.
  int bind(const std::string& host, int port);
  void run();   // until stop()
  void stop();  // from any thread: closes every connection

 private:
  class Server;
  std::unique_ptr<Server> server_;
};

}  // namespace lorikeet
