// The one thread that does the jobs, and owns the Engine. Everybody else asks it through here.
#pragma once
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "server/jobs.h"
#include "server/live.h"

namespace lorikeet {

class App;
class Engine;
class Error;
class JobProgress;
class Progress;
class Worker;

// What a running job is asked to do. end: the server ends, the job waits for the next one.
enum class Ask { nothing, skip, interrupt, cancel, pause, end };

// What the functions of job_kinds.h see of the Worker while their jobs run.
class JobRun {
 public:
  App& app;
  std::vector<Job> jobs;  // one; several where they may be made together (Job::batch_key)

  // Loads the checkpoint (a name of the library) unless it is loaded; the one before is freed first.
  Engine& engine(const std::string& checkpoint);
  void free_engine();  // for work that needs the memory

  // The progress of part `part` of `parts`. Throws Error{cancelled} when the job is not to go on.
  JobProgress& begin(int part = 0, int parts = 1, int stages = 1);
  Ask asked() const;
  void forget_skip();
  // A picture of what was on the way when an interrupt came; see JobProgress::latest().
  const JobProgress* progress() const { return progress_.get(); }

  void save(const Job& job);        // its result and warnings so far
  void end(const Job& job);         // it is done; others of `jobs` go on
  void put_back_alone(int64_t id);  // it waits again, to be made without others
  bool ended(int64_t id) const;     // or was put back

 private:
  friend class Worker;
  JobRun(App& the_app, Worker& worker, std::vector<Job> the_jobs) : app(the_app), jobs(std::move(the_jobs)), worker_(worker) {}
  Worker& worker_;
  std::shared_ptr<JobProgress> progress_;
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  std::vector<int64_t> ended_;
};

// A GPU that libtorch can use.
bool has_gpu();
int cpu_threads();  // that libtorch takes

struct EngineState {
  std::string checkpoint;  // that is loaded; "" none
  std::string family, device, precision;
};

class Worker {
 public:
  explicit Worker(App& app);
  ~Worker();  // stop()

  void start();
  void stop();  // what runs goes back to waiting

  // Of a running job; false: it does not run.
  bool ask(int64_t id, Ask ask);
  // Of all running ones of A1111's kinds (pictures).
  void interrupt();
  void skip();
  std::vector<int64_t> running() const;
  Ask asked() const;

  EngineState engine_state() const;
  void unload();  // when the running job is done; waits for no one
  LiveJobs& live() { return live_; }

 private:
  friend class JobRun;
  void loop();
  void run(std::vector<Job> jobs);
  void settle(JobRun& run, const Error& error);
  Engine& engine(const std::string& checkpoint, Progress& progress);
  void free_engine();
  void unload_if_asked();

  App& app_;
  LiveJobs live_;
  mutable std::mutex mutex_;  // of what follows
  std::vector<int64_t> running_;
  std::vector<int64_t> cancelled_;  // of several that run together
  Ask asked_ = Ask::nothing;
  std::shared_ptr<JobProgress> progress_;
  EngineState state_;
  bool unload_ = false;

  std::unique_ptr<Engine> engine_;  // the thread's own
  std::thread thread_;
};

}  // namespace lorikeet
