// Who may ask, and from which page: token or password, rate limit on failures, Host and Origin (DNS rebinding, cross-site requests), CORS.
#pragma once
#include <chrono>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "server/http.h"

namespace lorikeet {

struct GuardOptions {
  std::string token = {};                 // "": none
  std::string user = {}, password = {};   // "": none
  std::vector<std::string> hosts = {};    // further names by which browsers may call this server
  std::vector<std::string> origins = {};  // pages from elsewhere that may call it (CORS): "https://example.org"; "*" any
  bool secret() const { return !token.empty() || !user.empty(); }
};

class Guard {
 public:
  static constexpr int kMostFailures = 8;  // of an address within kFailureWindow; then 429 for as long
  static constexpr std::chrono::seconds kFailureWindow{60};
  static constexpr size_t kMostSessions = 256, kMostAddresses = 10000;

  explicit Guard(GuardOptions options) : options_(std::move(options)) {}

  // Before the body is read. Nothing: come in. Else the answer: 400, 401, 403, 415, 429, or that to a CORS preflight.
  std::optional<HttpResponse> refuse(const HttpRequest& request, const std::string& method);
  // The headers that a page from elsewhere needs to read an answer.
  std::vector<std::pair<std::string, std::string>> headers_for(const HttpRequest& request) const;

  bool needs_secret() const { return options_.secret(); }
  // -> the value of a Set-Cookie header. Error 401, 429.
  std::string log_in(const HttpRequest& request, const std::string& secret);

 private:
  bool knows(const HttpRequest& request) const;  // with a right token, password or cookie
  bool is_secret(const std::string& secret) const;
  bool is_our_host(const std::string& host) const;
  bool is_origin_allowed(const std::string& origin, const std::string& host) const;
  std::optional<HttpResponse> refuse_failing(const std::string& address);
  void note_failure(const std::string& address);

  GuardOptions options_;
  mutable std::mutex mutex_;
  std::map<std::string, std::deque<std::chrono::steady_clock::time_point>> failures_;
  std::deque<std::string> sessions_;
};

// Takes the same time wherever two texts differ.
bool equal_in_constant_time(std::string_view a, std::string_view b);

}  // namespace lorikeet
