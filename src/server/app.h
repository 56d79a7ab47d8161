// Everything that the server has, in one place: the handlers' first argument.
#pragma once
#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "io/model_folders.h"
#include "library/library.h"
#include "server/events.h"
#include "server/guard.h"
#include "server/http.h"
#include "server/jobs.h"
#include "server/outputs.h"
#include "server/settings.h"
#include "server/uploads.h"
#include "server/worker.h"

namespace lorikeet {

struct ServerOptions {
  std::string host = "127.0.0.1";
  int port = 7860;  // 0: any free one
  ModelFolders folders = {};
  std::filesystem::path outputs = "outputs", data = {};  // data: queue, index, data sets, runs of training; made when missing
  std::string model = {};                                // the checkpoint to begin with; "": the last one chosen, else the first
  std::string device = "auto", precision = "auto";
  int threads = 0;
  int batch = 0;  // pictures of several jobs made together; 0: 8 on a GPU, 1 on the CPU, where a batch gains nothing
  GuardOptions guard = {};
  bool server_stop = false;  // A1111's --api-server-stop: clients may end the server
  bool watch = true;         // the models folders, and hash their files
};

// Counters of /metrics; since the start.
struct Metrics {
  std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
  std::array<std::atomic<int64_t>, 6> requests{};  // by the first digit of the status
  std::atomic<int64_t> request_microseconds{0}, pictures{0}, jobs_done{0}, jobs_failed{0}, jobs_cancelled{0};
  std::atomic<int64_t> connections{0}, refused_connections{0};
};

// One server at a time in a data folder.
class DataLock {
 public:
  explicit DataLock(const std::filesystem::path& folder);  // makes the folder. Error{io}: another server has it
  ~DataLock();
  DataLock(const DataLock&) = delete;

 private:
  int fd_ = -1;
};

class App {
 public:
  // Opens everything and starts the Worker. Error: folders that cannot be written, another server with this data folder.
  explicit App(ServerOptions options);
  ~App();

  const ServerOptions options;
  const DataLock lock;
  Metrics metrics;
  Guard guard;
  Events events;
  Settings settings;
  Outputs outputs;
  Library library;
  JobQueue jobs;
  PictureThread pictures;
  Worker worker;
  std::atomic<bool> ends{false};  // asked to end by a client

  // From a request that the guard let in to its answer; throws nothing.
  HttpResponse answer(HttpRequest& request);

  // The name of the checkpoint that the next jobs take. Error{not_found}: there is none at all.
  std::string chosen_checkpoint() const;
  // The name for what clients say: a name, "name.safetensors", A1111's title "name.safetensors [hash]", a hash. Error{not_found}.
  std::string checkpoint_named(std::string_view text) const;
  void choose_checkpoint(std::string_view text);

  int most_pictures_together() const;
  nlohmann::json status() const;
  void publish_status();
  // The job as the API tells it. brief: without its request.
  nlohmann::json json_of_job(const Job& job, bool brief) const;
  void publish_job(int64_t id);

  // Folders of the data folder, made when they are missing.
  std::filesystem::path data_folder(const std::string& name) const;

 private:
  HttpResponse dispatch(HttpRequest& request);
};

}  // namespace lorikeet
