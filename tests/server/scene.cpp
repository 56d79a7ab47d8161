#include "scene.h"

namespace lorikeet::testing {

namespace fs = std::filesystem;

Folders::Folders() { fs::copy(LORIKEET_TINY_DIR, models(), fs::copy_options::recursive); }

ServerOptions Folders::options() const {
  ServerOptions options;
  options.port = 0;
  options.folders.add_root(models());
  options.outputs = root() / "outputs";
  options.data = root() / "data";
  options.device = "cpu";
  options.precision = "f32";
  options.threads = 2;
  options.watch = false;
  return options;
}

Running::Running(ServerOptions options, ListenerLimits limits) : server_(std::move(options), limits), thread_([this] { server_.run(); }) {}

Running::~Running() {
  server_.stop();
  thread_.join();
}

int64_t Running::add_job(const std::string& kind, const nlohmann::json& request) const {
  const Answer answer = post("/api/v1/jobs", {{"kind", kind}, {"request", request}});
  if (answer.status != 202) throw std::runtime_error(answer.body);
  return answer.json().at("id");
}

nlohmann::json Running::wait_for(int64_t id, const std::string& state) const {
  nlohmann::json seen;
  eventually([&] {
    seen = job(id);
    const std::string now = seen.value("state", "");
    return state.empty() ? now == "done" || now == "failed" || now == "cancelled" : now == state;
  });
  return seen;
}

Folders& shared_folders() {
  static Folders folders;
  return folders;
}

Running& shared_server() {
  static Running server(shared_folders().options());
  return server;
}

nlohmann::json small_request(const std::string& prompt, int64_t seed) {
  return {{"prompt", prompt}, {"seed", seed}, {"width", 64}, {"height", 64}, {"steps", 2}};
}

nlohmann::json small_sdapi(const std::string& prompt, int64_t seed) {
  return {{"prompt", prompt}, {"seed", seed}, {"width", 64}, {"height", 64}, {"steps", 2}};
}

bool eventually(const std::function<bool()>& is_true) {
  for (int i = 0; i < 4500; ++i) {
    if (is_true()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return false;
}

}  // namespace lorikeet::testing
