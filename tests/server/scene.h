// A server in this process on a free port, with the tiny model that the build makes and folders of its own.
#pragma once
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "base/scratch.h"
#include "client.h"
#include "server/server.h"

namespace lorikeet::testing {

// Models (the tiny ones, copied), outputs and data; gone with the object.
class Folders {
 public:
  Folders();
  const std::filesystem::path& root() const { return root_.path(); }
  std::filesystem::path models() const { return root_ / "models"; }
  ServerOptions options() const;

 private:
  ScratchFolder root_;
};

class Running {
 public:
  explicit Running(ServerOptions options, ListenerLimits limits = {});
  ~Running();
  int port() const { return server_.port(); }
  App& app() { return server_.app(); }

  Answer get(const std::string& target, const Headers& headers = {}) const { return testing::get(port(), target, headers); }
  Answer post(const std::string& target, const nlohmann::json& body = nullptr, const Headers& headers = {}) const {
    return testing::post(port(), target, body, headers);
  }
  Answer del(const std::string& target) const { return call(port(), "DELETE", target); }

  // Queues a job. -> its id
  int64_t add_job(const std::string& kind, const nlohmann::json& request) const;
  nlohmann::json job(int64_t id) const { return get("/api/v1/jobs/" + std::to_string(id)).json(); }
  // The job when it has ended, or its state is `state`.
  nlohmann::json wait_for(int64_t id, const std::string& state = "") const;

 private:
  HttpServer server_;
  std::thread thread_;
};

// One for all tests of a process that need nothing special.
Running& shared_server();
Folders& shared_folders();

// 64 × 64, two steps.
nlohmann::json small_request(const std::string& prompt = "a house", int64_t seed = 7);
nlohmann::json small_sdapi(const std::string& prompt = "a house", int64_t seed = 7);

// Until it is true; false after a minute and a half.
bool eventually(const std::function<bool()>& is_true);

}  // namespace lorikeet::testing
