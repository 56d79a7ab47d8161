// lorikeet-load: a load test for a running server: many connections that ask at once, slow and silent ones beside them, a long queue.
//   build/lorikeet-load PORT [--connections 256] [--slow 32] [--silent 32] [--seconds 10] [--jobs 1000] [--events 16]
// Prints what was answered, how fast, and what the server says of itself afterwards; the exit code is 1 when an answer was wrong or
// missing.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  int port = 0;
  std::map<std::string, int> numbers{{"--connections", 256}, {"--slow", 32},   {"--silent", 32},
                                     {"--seconds", 10},      {"--jobs", 1000}, {"--events", 16}};
  int operator[](const char* name) const { return numbers.at(name); }
};

class Connection {
 public:
  explicit Connection(int port) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    const timeval patience{30, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    open_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  ~Connection() { ::close(fd_); }
  Connection(const Connection&) = delete;
  bool open() const { return open_; }
  bool send(const std::string& text) { return ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size()); }

  // One answer with a Content-Length. -> its status; 0: the connection ended.
  int answer(std::string* body = nullptr) {
    while (held_.find("\r\n\r\n") == std::string::npos)
      if (!receive()) return 0;
    const size_t end = held_.find("\r\n\r\n") + 4;
    const size_t length = held_.find("Content-Length: ");
    const size_t size = length < end ? static_cast<size_t>(std::atoi(held_.c_str() + length + 16)) : 0;
    while (held_.size() < end + size)
      if (!receive()) return 0;
    const int status = std::atoi(held_.c_str() + 9);
    if (body) *body = held_.substr(end, size);
    held_.erase(0, end + size);
    return status;
  }

 private:
  bool receive() {
    char piece[16384];
    const ssize_t count = ::recv(fd_, piece, sizeof piece, 0);
    if (count > 0) held_.append(piece, static_cast<size_t>(count));
    return count > 0;
  }
  int fd_;
  bool open_ = false;
  std::string held_;
};

std::string request(const std::string& line, const std::string& body = "") {
  std::string text = line + " HTTP/1.1\r\nHost: 127.0.0.1\r\n";
  if (!body.empty()) text += "Content-Type: application/json\r\n";
  if (!body.empty() || line[0] == 'P') text += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  return text + "\r\n" + body;
}

int ask(int port, const std::string& line, const std::string& body, std::string& answer) {
  Connection connection(port);
  return connection.open() && connection.send(request(line, body)) ? connection.answer(&answer) : 0;
}

struct Tally {
  std::mutex mutex;
  std::vector<double> milliseconds;
  std::map<int, int> statuses;  // 0: no answer
  void add(const std::vector<double>& times, const std::map<int, int>& seen) {
    const std::lock_guard lock(mutex);
    milliseconds.insert(milliseconds.end(), times.begin(), times.end());
    for (const auto& [status, count] : seen) statuses[status] += count;
  }
};

// Asks again and again on one connection, anew where it ends.
void keep_asking(int port, Clock::time_point end, Tally& tally) {
  constexpr const char* kTargets[] = {"GET /health", "GET /api/v1/status", "GET /sdapi/v1/progress", "GET /api/v1/library/loras?limit=20",
                                      "GET /sdapi/v1/samplers"};
  std::vector<double> times;
  std::map<int, int> seen;
  for (size_t turn = 0; Clock::now() < end;) {
    Connection connection(port);
    for (int status = 1; connection.open() && status > 0 && Clock::now() < end; ++turn) {
      const auto begin = Clock::now();
      status = connection.send(request(kTargets[turn % 5])) ? connection.answer() : 0;
      times.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
      ++seen[status];
    }
  }
  tally.add(times, seen);
}

// A header a byte at a time, as slowly as may be.
void crawl(int port, Clock::time_point end) {
  const std::string text = request("GET /health");
  while (Clock::now() < end) {
    Connection connection(port);
    for (size_t i = 0; i < text.size() && Clock::now() < end && connection.send(text.substr(i, 1)); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(500));
  }
}

void say_nothing(int port, Clock::time_point end, bool listens) {
  Connection connection(port);
  if (listens) connection.send(request("GET /api/v1/events"));
  std::this_thread::sleep_until(end);
}

double share(std::vector<double>& sorted, double part) {
  return sorted.empty() ? 0 : sorted[static_cast<size_t>(part * static_cast<double>(sorted.size() - 1))];
}

// Fills the queue. -> how many were taken
int queue_jobs(int port, int count) {
  Connection connection(port);
  int taken = 0;
  for (int i = 0; i < count; ++i) {
    const std::string body =
        "{\"kind\": \"generate\", \"priority\": -5, \"request\": {\"prompt\": \"a house\", \"seed\": " + std::to_string(i) +
        ", \"width\": 64, \"height\": 64, \"steps\": 1}}";
    if (!connection.send(request("POST /api/v1/jobs", body))) break;
    if (connection.answer() == 202) ++taken;
  }
  return taken;
}

void print_metrics(int port) {
  std::string body;
  ask(port, "GET /metrics", "", body);
  for (const char* name : {"lorikeet_resident_memory_bytes ", "lorikeet_connections ", "lorikeet_connections_refused_total ",
                           "lorikeet_jobs{state=\"waiting\"} "}) {
    const size_t at = body.find(std::string("\n") + name);
    if (at != std::string::npos) std::printf("  %s\n", body.substr(at + 1, body.find('\n', at + 1) - at - 1).c_str());
  }
}

int run(const Options& options) {
  const int port = options.port;
  if (options["--jobs"] > 0) {
    const auto begin = Clock::now();
    const int taken = queue_jobs(port, options["--jobs"]);
    std::printf("queued %d of %d jobs in %.2f s\n", taken, options["--jobs"], std::chrono::duration<double>(Clock::now() - begin).count());
    if (taken != options["--jobs"]) return 1;
  }
  Tally tally;
  const auto begin = Clock::now(), end = begin + std::chrono::seconds(options["--seconds"]);
  std::vector<std::thread> threads;
  for (int i = 0; i < options["--slow"]; ++i) threads.emplace_back([&] { crawl(port, end); });
  for (int i = 0; i < options["--silent"]; ++i) threads.emplace_back([&] { say_nothing(port, end, false); });
  for (int i = 0; i < options["--events"]; ++i) threads.emplace_back([&] { say_nothing(port, end, true); });
  for (int i = 0; i < options["--connections"]; ++i) threads.emplace_back([&] { keep_asking(port, end, tally); });
  for (std::thread& thread : threads) thread.join();
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  std::ranges::sort(tally.milliseconds);
  std::printf("%d connections that ask, %d slow, %d silent, %d that listen to events: %zu answers in %.1f s, %.0f a second\n",
              options["--connections"], options["--slow"], options["--silent"], options["--events"], tally.milliseconds.size(), seconds,
              static_cast<double>(tally.milliseconds.size()) / seconds);
  std::printf("milliseconds: median %.1f, 95 %% %.1f, 99 %% %.1f, longest %.1f\n", share(tally.milliseconds, 0.5),
              share(tally.milliseconds, 0.95), share(tally.milliseconds, 0.99), share(tally.milliseconds, 1));
  for (const auto& [status, count] : tally.statuses) std::printf("  %s %d: %d\n", status == 0 ? "no answer" : "status", status, count);
  print_metrics(port);
  std::string health;
  const bool alive = ask(port, "GET /health", "", health) == 200;
  const bool all_well = tally.statuses.size() == 1 && tally.statuses.begin()->first == 200;
  std::printf("%s\n", alive && all_well ? "all answered, and the server is alive" : alive ? "not all were answered" : "the server is gone");
  return alive && all_well ? 0 : 1;
}
}  // namespace

int main(int count, char** words) {
  Options options;
  if (count > 1) options.port = std::atoi(words[1]);
  for (int i = 2; i + 1 < count; i += 2)
    if (options.numbers.contains(words[i])) options.numbers[words[i]] = std::atoi(words[i + 1]);
  if (options.port <= 0) {
    std::fprintf(stderr, "usage: lorikeet-load PORT [--connections N] [--slow N] [--silent N] [--events N] [--seconds N] [--jobs N]\n");
    return 2;
  }
  return run(options);
}
