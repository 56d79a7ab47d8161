#include "server/guard.h"

#include <algorithm>
#include <cctype>
#include <fstream>

#include "base/error.h"
#include "base/text.h"
#include "io/hash.h"
#include "io/picture_base64.h"
#include "server/problem.h"

namespace lorikeet {

namespace {
using Clock = std::chrono::steady_clock;
constexpr std::string_view kCookie = "lorikeet_session";

// "example.org:7860" -> "example.org"; "[::1]:7860" -> "[::1]"
std::string without_port(const std::string& host) {
  if (starts_with(host, "[")) return host.substr(0, host.find(']') == std::string::npos ? host.size() : host.find(']') + 1);
  return host.substr(0, host.find(':'));
}

// A name can be made to mean another address while a page is open; a number cannot.
bool is_address(const std::string& host) {
  if (starts_with(host, "[")) return true;
  return !host.empty() && std::ranges::all_of(host, [](char c) { return std::isdigit(static_cast<unsigned char>(c)) || c == '.'; });
}

std::string cookie_of(const HttpRequest& request) {
  const std::string header = request.header("cookie");
  for (const std::string_view part : split(header, ';')) {
    const std::string_view pair = trim(part);
    if (starts_with(pair, kCookie) && pair.size() > kCookie.size() && pair[kCookie.size()] == '=')
      return std::string(pair.substr(kCookie.size() + 1));
  }
  return "";
}

std::string random_digits() {
  std::string bytes(32, '\0');
  std::ifstream random("/dev/urandom", std::ios::binary);
  if (!random.read(bytes.data(), static_cast<std::streamsize>(bytes.size())))
    throw Error(ErrorKind::internal, "the system gives no random numbers");
  return sha256(bytes);
}

// What may be had without a secret: the page, which then asks for it, and whether the server is alive.
bool is_open(const HttpRequest& request) {
  if (request.path == "/health" || request.path == "/api/v1/login") return true;
  if (request.method != Method::get) return false;
  for (const std::string_view closed : {"/api/", "/sdapi/", "/internal/", "/sd_extra_networks/", "/metrics"})
    if (starts_with(request.path, closed)) return false;
  return true;
}

HttpResponse refusal(int status, const std::string& word, const std::string& message, const std::string& hint, const HttpRequest& request) {
  HttpResponse response = problem(HttpError(status, word, message, hint), dialect_of(request.path));
  response.close = true;  // the body was not read
  return response;
}
}  // namespace

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  const std::string first = sha256(a), second = sha256(b);  // of one length, so that lengths tell nothing
  unsigned char difference = 0;
  for (size_t i = 0; i < first.size(); ++i) difference |= static_cast<unsigned char>(first[i] ^ second[i]);
  return difference == 0;
}

bool Guard::is_secret(const std::string& secret) const {
  const bool token = !options_.token.empty() && equal_in_constant_time(secret, options_.token);
  const bool pair = !options_.user.empty() && equal_in_constant_time(secret, options_.user + ":" + options_.password);
  return token || pair;
}

bool Guard::knows(const HttpRequest& request) const {
  const std::string header = request.header("authorization");
  if (starts_with(lower(header.substr(0, 7)), "bearer ")) return is_secret(std::string(trim(header.substr(7))));
  if (starts_with(lower(header.substr(0, 6)), "basic ")) {
    std::string pair;
    try {
      const auto bytes = from_base64(trim(std::string_view(header).substr(6)));
      pair.assign(bytes.begin(), bytes.end());
    } catch (const Error&) {
      return false;
    }
    return is_secret(pair) || (!options_.token.empty() && is_secret(pair.substr(pair.find(':') + 1)));
  }
  const std::string cookie = cookie_of(request);
  if (cookie.empty()) return false;
  const std::lock_guard lock(mutex_);
  bool known = false;
  for (const std::string& session : sessions_) known = equal_in_constant_time(session, cookie) || known;
  return known;
}

bool Guard::is_our_host(const std::string& host) const {
  const std::string name = lower(without_port(host));
  return name.empty() || name == "localhost" || ends_with(name, ".localhost") || is_address(name) ||
         std::ranges::find(options_.hosts, name) != options_.hosts.end();
}

bool Guard::is_origin_allowed(const std::string& origin, const std::string& host) const {
  if (origin == "http://" + host || origin == "https://" + host) return true;
  return std::ranges::any_of(options_.origins,
                             [&](const std::string& allowed) { return allowed == "*" || lower(allowed) == lower(origin); });
}

void Guard::note_failure(const std::string& address) {
  const std::lock_guard lock(mutex_);
  if (failures_.size() >= kMostAddresses) failures_.erase(failures_.begin());
  failures_[address].push_back(Clock::now());
}

std::optional<HttpResponse> Guard::refuse_failing(const std::string& address) {
  const std::lock_guard lock(mutex_);
  const auto found = failures_.find(address);
  if (found == failures_.end()) return std::nullopt;
  auto& times = found->second;
  while (!times.empty() && Clock::now() - times.front() > kFailureWindow) times.pop_front();
  if (times.empty())
    failures_.erase(found);
  else if (static_cast<int>(times.size()) >= kMostFailures) {
    HttpResponse response = problem(HttpError(429, "unauthorized", "too many wrong tokens or passwords", "wait a minute"), Dialect::ours);
    response.headers.emplace_back("Retry-After", std::to_string(kFailureWindow.count()));
    response.close = true;
    return response;
  }
  return std::nullopt;
}

std::optional<HttpResponse> Guard::refuse(const HttpRequest& request, const std::string& method) {
  const std::string host = request.header("host"), origin = request.header("origin");
  if (!is_our_host(host))
    return refusal(403, "forbidden", "this server is not called \"" + valid_utf8(host) + "\"",
                   "start it with --host-name NAME for another name", request);
  if (method == "OPTIONS") {
    if (origin.empty() || !is_origin_allowed(origin, host))
      return refusal(403, "forbidden", "no page of another server may call this one", "--cors ORIGIN allows one", request);
    HttpResponse response{.status = 204};
    response.headers = headers_for(request);
    response.headers.emplace_back("Access-Control-Allow-Methods", "GET, POST, DELETE");
    response.headers.emplace_back("Access-Control-Allow-Headers", "authorization, content-type");
    response.headers.emplace_back("Access-Control-Max-Age", "600");
    return response;
  }
  const bool changes = method != "GET" && method != "HEAD";
  const bool cross_site = request.header("sec-fetch-site") == "cross-site" && origin.empty();
  if (changes && ((!origin.empty() && !is_origin_allowed(origin, host)) || cross_site))
    return refusal(403, "forbidden", "a page of another server asked for this", "--cors ORIGIN allows one", request);
  const std::string type = lower(request.header("content-type"));
  const bool has_body = !request.header("transfer-encoding").empty() ||
                        (!request.header("content-length").empty() && request.header("content-length") != "0");
  if (changes && has_body && !starts_with(type, "application/json"))
    return refusal(415, "unsupported", "the body of a request is JSON", "send the header Content-Type: application/json", request);
  if (!needs_secret() || is_open(request)) return std::nullopt;
  if (auto failing = refuse_failing(request.address)) return failing;
  if (knows(request)) return std::nullopt;
  if (!request.header("authorization").empty()) note_failure(request.address);
  HttpResponse response =
      refusal(401, "unauthorized", "this server wants a token or a password", "send Authorization: Bearer TOKEN, or Basic", request);
  response.headers.emplace_back("WWW-Authenticate",
                                dialect_of(request.path) == Dialect::a1111 ? "Basic realm=\"Lorikeet\"" : "Bearer realm=\"Lorikeet\"");
  return response;
}

std::vector<std::pair<std::string, std::string>> Guard::headers_for(const HttpRequest& request) const {
  const std::string origin = request.header("origin");
  if (origin.empty() || options_.origins.empty() || !is_origin_allowed(origin, request.header("host"))) return {};
  std::vector<std::pair<std::string, std::string>> headers{{"Access-Control-Allow-Origin", origin}, {"Vary", "Origin"}};
  const bool named = std::ranges::find(options_.origins, "*") == options_.origins.end();
  if (named) headers.emplace_back("Access-Control-Allow-Credentials", "true");
  return headers;
}

std::string Guard::log_in(const HttpRequest& request, const std::string& secret) {
  if (!needs_secret()) return "";
  if (refuse_failing(request.address)) throw HttpError(429, "unauthorized", "too many wrong tokens or passwords", "wait a minute");
  if (!is_secret(secret)) {
    note_failure(request.address);
    throw HttpError(401, "unauthorized", "that is not the token of this server",
                    "it was given with --token or --user when the server was started");
  }
  const std::string session = random_digits();
  const std::lock_guard lock(mutex_);
  sessions_.push_back(session);
  if (sessions_.size() > kMostSessions) sessions_.pop_front();
  return std::string(kCookie) + "=" + session + "; HttpOnly; SameSite=Strict; Path=/";
}

}  // namespace lorikeet
