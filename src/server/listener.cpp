#include "server/listener.h"

#include <httplib.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "server/problem.h"
#include "server/socket_stream.h"

namespace lorikeet {

namespace {
// What the thread of a connection works on now.
thread_local SocketStream* this_stream = nullptr;
thread_local bool close_afterwards = false;
thread_local bool is_one_too_many = false;

// A thread for each connection, as many as there are at once; the next ones go to a thread that only says so.
class ConnectionThreads : public httplib::TaskQueue {
 public:
  explicit ConnectionThreads(size_t most) : most_(most) {
    refuser_ = std::thread([this] {
      is_one_too_many = true;
      work(refused_, [] { return false; });
    });
  }

  // Newer releases of cpp-httplib want to be told whether the task was taken.
  using Taken = decltype(std::declval<httplib::TaskQueue&>().enqueue({}));

  Taken enqueue(std::function<void()> task) override {
    const std::lock_guard lock(mutex_);
    if (idle_ > waiting_.size() || threads_.size() < most_) {
      waiting_.push_back(std::move(task));
      if (idle_ < waiting_.size()) threads_.emplace_back([this] { work(waiting_, [this] { return ++idle_, true; }); });
    } else {
      refused_.push_back(std::move(task));
    }
    changed_.notify_all();
    return static_cast<Taken>(true);
  }

  void shutdown() override {
    {
      const std::lock_guard lock(mutex_);
      ends_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    refuser_.join();
  }

 private:
  // became_idle(): counts the thread among the idle ones; whether it does.
  template <class BecameIdle>
  void work(std::deque<std::function<void()>>& tasks, BecameIdle became_idle) {
    std::unique_lock lock(mutex_);
    for (;;) {
      const bool counted = tasks.empty() ? became_idle() : false;
      changed_.wait(lock, [&] { return ends_ || !tasks.empty(); });
      if (counted) --idle_;
      if (tasks.empty()) return;
      const auto task = std::move(tasks.front());
      tasks.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
  }

  size_t most_, idle_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_, refused_;
  std::vector<std::thread> threads_;
  std::thread refuser_;
  bool ends_ = false;
};

HttpRequest request_of(const httplib::Request& from) {
  HttpRequest request;
  request.method = from.method == "POST" ? Method::post : from.method == "DELETE" ? Method::del : Method::get;
  request.path = from.path;
  for (const auto& [name, value] : from.params) request.query.emplace(name, value);
  for (const auto& [name, value] : from.headers) request.headers.emplace(lower(name), value);
  request.address = from.remote_addr;
  return request;
}

void write_into(httplib::Response& to, HttpResponse response) {
  to.status = response.status;
  for (const auto& [name, value] : response.headers) to.set_header(name, value);
  if (response.close) {
    close_afterwards = true;
    to.set_header("Connection", "close");
  }
  if (!response.stream) {
    to.set_content(response.body, response.content_type);
    return;
  }
  close_afterwards = true;
  to.set_chunked_content_provider(response.content_type, [next = std::move(response.stream)](size_t, httplib::DataSink& sink) {
    const auto piece = next();
    if (!piece) {
      sink.done();
      return true;
    }
    return sink.is_writable() && sink.write(piece->data(), piece->size());
  });
}

// Bytes of bodies in memory, over all connections.
class BodyBudget {
 public:
  explicit BodyBudget(std::atomic<size_t>& used, size_t most) : used_(used), most_(most) {}
  ~BodyBudget() { used_.fetch_sub(taken_); }
  bool take(size_t bytes) {
    taken_ += bytes;
    return used_.fetch_add(bytes) + bytes <= most_;
  }

 private:
  std::atomic<size_t>& used_;
  size_t most_, taken_ = 0;
};
}  // namespace

class Listener::Server : public httplib::Server {
 public:
  Server(ListenerCalls the_calls, ListenerLimits the_limits) : calls(std::move(the_calls)), limits(the_limits) {
    new_task_queue = [this] { return new ConnectionThreads(limits.connections); };
    // Without SO_REUSEPORT, so that a second server on the port is told.
    set_socket_options([](int fd) {
      const int yes = 1;
      ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    });
    set_pre_routing_handler([this](const httplib::Request& from, httplib::Response& to) { return first_look(from, to); });
    Get(R"([\s\S]*)", [this](const httplib::Request& from, httplib::Response& to) { answer(from, to, nullptr); });
    const auto with_body = [this](const httplib::Request& from, httplib::Response& to, const httplib::ContentReader& read) {
      answer(from, to, &read);
    };
    Post(R"([\s\S]*)", with_body);
    Delete(R"([\s\S]*)", with_body);
    // For what cpp-httplib refuses by itself; our own answers have their text already.
    set_error_handler([](const httplib::Request& from, httplib::Response& to) {
      if (!to.body.empty() || to.has_header("Content-Type")) return;
      HttpResponse response = problem(HttpError(to.status, "bad_input", "the request cannot be read"), dialect_of(from.path));
      response.close = true;
      write_into(to, std::move(response));
    });
  }

  // The library lets five connections wait to be taken; of hundreds at once the others would be dropped, and some of them try for half a minute.
  void let_many_wait() { ::listen(svr_sock_, SOMAXCONN); }

  // Wakes whoever reads or writes.
  void close_all() {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
  }

  const ListenerCalls calls;
  const ListenerLimits limits;
  std::atomic<bool> began{false}, ended{false}, over{false};

 private:
  HandlerResponse first_look(const httplib::Request& from, httplib::Response& to) {
    if (this_stream) this_stream->end_header();
    std::optional<HttpResponse> refused = calls.refuse(request_of(from), from.method);
    const bool known = from.method == "GET" || from.method == "HEAD" || from.method == "POST" || from.method == "DELETE";
    if (!refused && !known)
      refused = problem(HttpError(405, "bad_input", "there is no method " + valid_utf8(from.method.substr(0, 20)) + " here"),
                        dialect_of(from.path));
    if (!refused) return HandlerResponse::Unhandled;
    refused->close = true;  // a body may follow, which nobody reads
    write_into(to, std::move(*refused));
    return HandlerResponse::Handled;
  }

  void answer(const httplib::Request& from, httplib::Response& to, const httplib::ContentReader* read) {
    HttpRequest request = request_of(from);
    BodyBudget budget(body_bytes_, limits.all_bodies_bytes);
    const bool has_body = from.has_header("Content-Length") || from.has_header("Transfer-Encoding");
    if (read && has_body) {
      const auto refused = read_body(from, *read, budget, request.body);
      if (refused) return write_into(to, problem(*refused, dialect_of(from.path)));
    }
    write_into(to, calls.answer(request));
  }

  std::optional<HttpError> read_body(const httplib::Request& from, const httplib::ContentReader& read, BodyBudget& budget,
                                     std::string& body) {
    const auto too_large = [&] {
      close_afterwards = true;
      return HttpError(413, "too_large", "the body of this request is too large",
                       "at most " + std::to_string(limits.body_bytes >> 20) + " MB are taken");
    };
    const auto announced = parse_int(from.get_header_value("Content-Length"));
    if (announced && *announced > static_cast<int64_t>(limits.body_bytes)) return too_large();
    bool too_long = false, too_much = false;
    const bool complete = read([&](const char* data, size_t size) {
      too_long = body.size() + size > limits.body_bytes;
      too_much = !budget.take(size);
      if (too_long || too_much) return false;
      body.append(data, size);
      return true;
    });
    if (too_long) return too_large();
    if (complete) return std::nullopt;
    close_afterwards = true;
    if (too_much) return HttpError(503, "too_large", "too many large requests at once", "try again in a moment");
    return HttpError(408, "bad_input", "the body of this request did not arrive");
  }

  void say_one_too_many(int fd) {
    if (calls.refused) calls.refused();
    const std::string body =
        problem(HttpError(503, "too_large", "there are too many connections", "try again in a moment"), Dialect::ours).body;
    const std::string text =
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
        "\r\nRetry-After: 1\r\nConnection: close\r\n\r\n" + body;
    [[maybe_unused]] const auto sent = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }

  static void watch_for_death(int fd) {
    const auto set = [&](int level, int option, int value) { ::setsockopt(fd, level, option, &value, sizeof value); };
    set(SOL_SOCKET, SO_KEEPALIVE, 1);
    set(IPPROTO_TCP, TCP_KEEPIDLE, 30);
    set(IPPROTO_TCP, TCP_KEEPINTVL, 10);
    set(IPPROTO_TCP, TCP_KEEPCNT, 3);
    set(IPPROTO_TCP, TCP_USER_TIMEOUT, 60000);
    set(IPPROTO_TCP, TCP_NODELAY, 1);
  }

  void serve(int fd) {
    SocketStream stream(fd, limits);
    this_stream = &stream;
    // Answers are sent as they are: compressing a picture's base64 takes longer than sending it. The page comes compressed.
    const auto keep_encoding = [](httplib::Request& request) {
      const std::string encoding = request.get_header_value("Accept-Encoding");
      request.headers.erase("Accept-Encoding");
      if (!encoding.empty()) request.headers.emplace("X-Accept-Encoding", encoding);
    };
    constexpr int kMostRequests = 10000;
    for (int i = 0; i < kMostRequests && !closing_ && stream.wait_for_request(); ++i) {
      stream.begin_request();
      close_afterwards = false;
      bool closed = false;
      if (!process(stream, i + 1 == kMostRequests, closed, keep_encoding) || closed || close_afterwards) break;
    }
    this_stream = nullptr;
  }

  // Newer releases of cpp-httplib want to be told the addresses; 0.11 asks the stream.
  template <class Stream>
  bool process(Stream& stream, bool last, bool& closed, const std::function<void(httplib::Request&)>& set_up) {
    if constexpr (requires { this->process_request(stream, last, closed, set_up); }) {
      return this->process_request(stream, last, closed, set_up);
    } else {
      std::string remote, local;
      int remote_port = 0, local_port = 0;
      stream.get_remote_ip_and_port(remote, remote_port);
      stream.get_local_ip_and_port(local, local_port);
      return this->process_request(stream, remote, remote_port, local, local_port, last, closed, set_up);
    }
  }

  bool process_and_close_socket(socket_t fd) override {
    {
      const std::lock_guard lock(mutex_);
      open_.insert(fd);
      if (closing_) ::shutdown(fd, SHUT_RDWR);
    }
    if (calls.connections) calls.connections(1);
    watch_for_death(fd);
    if (is_one_too_many)
      say_one_too_many(fd);
    else
      serve(fd);
    if (calls.connections) calls.connections(-1);
    const std::lock_guard lock(mutex_);
    open_.erase(fd);
    ::shutdown(fd, SHUT_RDWR);
    ::close(fd);
    return true;
  }

  std::mutex mutex_;
  std::set<int> open_;
  std::atomic<bool> closing_{false};
  std::atomic<size_t> body_bytes_{0};
};

Listener::Listener(ListenerCalls calls, ListenerLimits limits) : server_(std::make_unique<Server>(std::move(calls), limits)) {}
Listener::~Listener() = default;

int Listener::bind(const std::string& host, int port) {
  errno = 0;
  const int bound = port == 0 ? server_->bind_to_any_port(host) : server_->bind_to_port(host, port) ? port : -1;
  const int code = errno;
  if (bound > 0) {
    server_->let_many_wait();
    return bound;
  }
  const std::string where = host + ":" + std::to_string(port);
  if (code == EADDRINUSE)
    throw Error(ErrorKind::io, "the port " + std::to_string(port) + " is in use: another server, perhaps a second Lorikeet, has it",
                "end it, or choose another with --port");
  if (code == EACCES) throw Error(ErrorKind::io, "this port may not be taken: " + where, "choose one above 1023 with --port");
  throw Error(ErrorKind::io, "cannot listen on " + where + (code ? std::string(": ") + std::strerror(code) : ""),
              "give --listen an address of this machine");
}

void Listener::run() {
  server_->began = true;
  if (!server_->ended) server_->listen_after_bind();
  server_->over = true;
}

void Listener::stop() {
  server_->ended = true;
  // cpp-httplib stops only what runs: between our call of it and its "running" lie microseconds.
  for (int i = 0; i < 2000 && server_->began && !server_->over && !server_->is_running(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  server_->stop();
  server_->close_all();
}

}  // namespace lorikeet
