// A small HTTP client for the tests: one connection a request, raw bytes where a test wants them.
#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

namespace lorikeet::testing {

struct Answer {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  nlohmann::json json() const { return nlohmann::json::parse(body); }
};

class Connection {
 public:
  explicit Connection(int port) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    if (::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) throw std::runtime_error("cannot connect");
  }
  ~Connection() { ::close(fd_); }
  Connection(const Connection&) = delete;

  bool send(const std::string& bytes) {
    return ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
  }
  // What comes; "" at the end.
  std::string receive() {
    char piece[65536];
    const ssize_t count = ::recv(fd_, piece, sizeof piece, 0);
    return count > 0 ? std::string(piece, static_cast<size_t>(count)) : std::string();
  }
  std::string receive_all() {
    std::string all;
    for (std::string piece = receive(); !piece.empty(); piece = receive()) all += piece;
    return all;
  }

 private:
  int fd_;
};

inline Answer answer_of(const std::string& raw) {
  Answer answer;
  const size_t end = raw.find("\r\n\r\n");
  if (end == std::string::npos) return answer;
  answer.status = std::stoi(raw.substr(9, 3));
  for (size_t at = raw.find("\r\n") + 2; at < end;) {
    const size_t line_end = std::min(raw.find("\r\n", at), end), colon = raw.find(':', at);
    std::string name = raw.substr(at, colon - at);
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    answer.headers[name] = raw.substr(colon + 2, line_end - colon - 2);
    at = line_end + 2;
  }
  answer.body = raw.substr(end + 4);
  return answer;
}

using Headers = std::map<std::string, std::string>;

// Headers replace the usual ones; an empty value leaves one out.
inline Answer call(int port, const std::string& method, const std::string& target, const std::string& body = "", Headers headers = {}) {
  Headers all{{"Host", "127.0.0.1:" + std::to_string(port)}, {"Connection", "close"}};
  if (!body.empty()) all["Content-Type"] = "application/json";
  for (const auto& [name, value] : headers) all[name] = value;
  std::string text = method + " " + target + " HTTP/1.1\r\n";
  for (const auto& [name, value] : all)
    if (!value.empty()) text += name + ": " + value + "\r\n";
  if (!body.empty() || method == "POST") text += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  Connection connection(port);
  connection.send(text + "\r\n" + body);
  return answer_of(connection.receive_all());
}

inline Answer get(int port, const std::string& target, const Headers& headers = {}) { return call(port, "GET", target, "", headers); }
inline Answer post(int port, const std::string& target, const nlohmann::json& body = nullptr, const Headers& headers = {}) {
  return call(port, "POST", target, body.is_null() ? "" : body.dump(), headers);
}

}  // namespace lorikeet::testing
