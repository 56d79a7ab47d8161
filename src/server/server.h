// The whole server: the App behind a Listener. `lorikeet serve`, the tests and the load test start it here.
#pragma once
#include <memory>
#include <string>

#include "server/app.h"
#include "server/listener.h"

namespace lorikeet {

class HttpServer {
 public:
  // Opens the folders and takes the port; nothing is answered before run(). Error: as App and Listener::bind; and when others could reach
  // it without a token or password.
  explicit HttpServer(ServerOptions options, ListenerLimits limits = {});
  ~HttpServer();

  App& app() { return *app_; }
  int port() const { return port_; }
  std::string address() const;  // "http://127.0.0.1:7860"

  void run();   // until stop(), or until a client asks for the end (ServerOptions::server_stop)
  void stop();  // from any thread: the running job goes back to waiting, connections are closed

 private:
  std::unique_ptr<App> app_;
  std::unique_ptr<Listener> listener_;
  int port_ = 0;
};

}  // namespace lorikeet
