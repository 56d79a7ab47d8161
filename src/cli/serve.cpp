// lorikeet serve: flags -> ServerOptions -> HttpServer, until Ctrl-C.
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <ostream>
#include <thread>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/options.h"
#include "server/server.h"

namespace fs = std::filesystem;

namespace lorikeet {

namespace {
struct ServeOptions {
  FolderOptions folders;
  DeviceOptions device;
  std::string host = "127.0.0.1", outputs = "outputs", data, model, token, user;
  std::vector<std::string> cors, host_names;
  int port = 7860, batch = 0;
  bool open = false, server_stop = false;
};

fs::path default_data() {
  if (const char* folder = std::getenv("XDG_DATA_HOME"); folder && *folder) return fs::path(folder) / "lorikeet";
  if (const char* home = std::getenv("HOME"); home && *home) return fs::path(home) / ".local" / "share" / "lorikeet";
  return "lorikeet-data";
}

GuardOptions guard_of(const ServeOptions& options) {
  GuardOptions guard{.token = options.token, .user = "", .password = "", .hosts = {}, .origins = options.cors};
  for (const std::string& name : options.host_names) guard.hosts.push_back(lower(name));
  if (options.user.empty()) return guard;
  const size_t colon = options.user.find(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == options.user.size())
    throw Error(ErrorKind::bad_input, "\"" + options.user.substr(0, colon) + "\" is no user with a password", "--user NAME:PASSWORD");
  guard.user = options.user.substr(0, colon);
  guard.password = options.user.substr(colon + 1);
  return guard;
}

// SIGINT and SIGTERM, taken by a thread: the first ends the server in order, the second at once.
class Signals {
 public:
  Signals() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGINT);
    sigaddset(&set_, SIGTERM);
    sigaddset(&set_, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set_, &before_);
  }
  ~Signals() {
    if (!thread_.joinable()) return;
    pthread_kill(thread_.native_handle(), SIGUSR2);
    thread_.join();
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  void on_first(std::function<void()> end) {
    thread_ = std::thread([this, end = std::move(end)] {
      for (int count = 0, signal = 0; sigwait(&set_, &signal) == 0 && signal != SIGUSR2; ++count) {
        if (count > 0) _exit(130);
        end();
      }
    });
  }

 private:
  sigset_t set_{}, before_{};
  std::thread thread_;
};

void open_browser(const std::string& address) {
  if (fork() != 0) return;
  execlp("xdg-open", "xdg-open", address.c_str(), nullptr);
  _exit(1);
}

int run_serve(const ServeOptions& options, Output& output) {
  ServerOptions server_options{.host = options.host, .port = options.port};
  server_options.folders = open_folders(options.folders);
  server_options.outputs = options.outputs;
  server_options.data = options.data.empty() ? default_data() : fs::path(options.data);
  server_options.model = options.model;
  server_options.device = options.device.device;
  server_options.precision = options.device.precision;
  server_options.threads = options.device.threads;
  server_options.batch = options.batch;
  server_options.guard = guard_of(options);
  server_options.server_stop = options.server_stop;
  Signals signals;  // before any thread, so that all of them leave the signals to it
  HttpServer server(std::move(server_options));
  signals.on_first([&] {
    output.err << "\nending; what runs waits for the next start (Ctrl-C again: at once)" << std::endl;
    server.stop();
  });
  output.out << server.address() << std::endl;
  if (options.open) open_browser(server.address());
  server.run();
  return 0;
}
}  // namespace

RunCommand define_serve(CLI::App& app) {
  const auto options = std::make_shared<ServeOptions>();
  const auto text = [&](const char* flag, std::string& to, const char* help, const char* type) {
    return app.add_option(flag, to, help)->type_name(type);
  };
  app.add_option("--port", options->port, "The port; 0: any free one.")
      ->group("Server")
      ->type_name("N")
      ->check(CLI::Range(0, 65535).description(""))
      ->capture_default_str();
  text("--listen", options->host, "The address to listen on; others than this machine's own need --token or --user.", "ADDRESS")
      ->group("Server")
      ->capture_default_str();
  text("--token", options->token, "Who calls must say this: Authorization: Bearer TOKEN.", "TEXT")->group("Server");
  text("--user", options->user, "Who calls must say this: HTTP Basic.", "NAME:PASSWORD")->group("Server");
  app.add_option("--host-name", options->host_names, "A further name by which browsers may call this server.")
      ->group("Server")
      ->type_name("NAME")
      ->allow_extra_args(false);
  app.add_option("--cors", options->cors, "A page from elsewhere that may call this server: https://example.org.")
      ->group("Server")
      ->type_name("ORIGIN")
      ->allow_extra_args(false);
  app.add_flag("--api-server-stop", options->server_stop, "Clients may end the server (/sdapi/v1/server-stop).")->group("Server");
  app.add_flag("--open", options->open, "Open the page in the browser.")->group("Server");
  text("--outputs", options->outputs, "Where pictures go.", "DIR")->group("Folders")->capture_default_str();
  text("--data", options->data, "Queue, index, data sets, runs of training [$XDG_DATA_HOME/lorikeet, else ~/.local/share/lorikeet].", "DIR")
      ->group("Folders");
  text("-m,--model", options->model, "The checkpoint to begin with [the last one chosen].", "NAME")->group("Models");
  app.add_option("--batch", options->batch, "Pictures of several requests that are made together; 0: 8 on a GPU, 1 on the CPU.")
      ->group("Server")
      ->type_name("N")
      ->check(CLI::Range(0, 256).description(""))
      ->capture_default_str();
  add_folder_options(app, options->folders);
  add_device_options(app, options->device);
  return [options](Output& output) { return run_serve(*options, output); };
}

}  // namespace lorikeet
