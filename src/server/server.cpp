#include "server/server.h"

#include <atomic>
#include <chrono>
#include <thread>

#include "base/error.h"
#include "base/text.h"

namespace lorikeet {

namespace {
bool is_loopback(const std::string& host) { return host == "localhost" || host == "::1" || starts_with(host, "127."); }

void check_reach(const ServerOptions& options) {
  if (is_loopback(options.host) || options.guard.secret()) return;
  throw Error(ErrorKind::bad_input, "whoever can reach " + options.host + " could use this server and its files",
              "give --token TEXT or --user NAME:PASSWORD, or listen on 127.0.0.1 only");
}

}  // namespace

// The port first: "in use" says more than what else a second server would run into.
HttpServer::HttpServer(ServerOptions options, ListenerLimits limits) {
  check_reach(options);
  if (!is_loopback(options.host)) options.guard.hosts.push_back(lower(options.host));
  ListenerCalls calls{.refuse =
                          [this](const HttpRequest& request, const std::string& method) {
                            auto refused = app_->guard.refuse(request, method);
                            if (refused) app_->metrics.requests[static_cast<size_t>(refused->status / 100)].fetch_add(1);
                            return refused;
                          },
                      .answer = [this](HttpRequest& request) { return app_->answer(request); },
                      .connections = [this](int64_t change) { app_->metrics.connections.fetch_add(change); },
                      .refused = [this] { app_->metrics.refused_connections.fetch_add(1); }};
  listener_ = std::make_unique<Listener>(std::move(calls), limits);
  port_ = listener_->bind(options.host, options.port);
  app_ = std::make_unique<App>(std::move(options));
}

HttpServer::~HttpServer() {
  if (app_) stop();
}

std::string HttpServer::address() const {
  const std::string& host = app_->options.host;
  const std::string shown = host == "0.0.0.0" || host == "::" ? "localhost" : host.find(':') != std::string::npos ? "[" + host + "]" : host;
  return "http://" + shown + ":" + std::to_string(port_);
}

void HttpServer::run() {
  // A client that asks for the end gets its answer before the connections are closed.
  std::atomic<bool> over{false};
  std::thread watch([&] {
    while (!over && !app_->ends) std::this_thread::sleep_for(std::chrono::milliseconds(100));
    if (!over) stop();
  });
  listener_->run();
  over = true;
  watch.join();
}

void HttpServer::stop() {
  app_->ends = true;
  app_->events.stop();
  listener_->stop();
}

}  // namespace lorikeet
