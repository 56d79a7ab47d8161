// The job queue: what waits, runs and is done, kept in SQLite, so that the end of the program, however it comes, loses nothing. It knows
// nothing of what a job does; the Worker takes jobs from here and says what became of them.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "library/database.h"

namespace lorikeet {

enum class JobState { waiting, running, paused, done, failed, cancelled };
std::string_view name(JobState state);
std::optional<JobState> job_state_of(std::string_view word);

// A finished picture as its file's bytes.
struct MadePicture {
  std::string bytes, infotext;
  int64_t seed = 0, subseed = 0;
  int width_px = 0, height_px = 0;
};

// Handed to whoever waits for a job within this process (A1111's routes answer with the pictures themselves).
struct Delivery {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<MadePicture> pictures;
  nlohmann::json loras = nlohmann::json::array();
  std::vector<std::string> warnings;
  nlohmann::json error;  // null: none
  JobState state = JobState::waiting;
  bool ended = false;
};

struct Job {
  int64_t id = 0;
  std::string kind = {}, title = {};  // kind: "generate", "plot", "train", "workshop", "preview"
  JobState state = JobState::waiting;
  int64_t priority = 0;                           // higher first; of equal ones the older
  double created = 0, started = 0, finished = 0;  // seconds since 1970; 0: not yet
  nlohmann::json request = nlohmann::json::object(), result = nlohmann::json::object(), error = nullptr;
  std::vector<std::string> warnings = {};
  int64_t seed = 0, subseed = 0;  // drawn when the job came, for a request that leaves them open: run again it gives the same
  bool saves = true;              // its pictures are kept in the outputs folder
  std::string task = {};          // the name that A1111's page gives a task; "" none
  // Jobs with the same text here may be made together; "": alone.
  std::string batch_key = {};
  int pictures = 1;                              // that it makes in one batch
  std::shared_ptr<Delivery> delivery = nullptr;  // null: nobody waits

  bool ended() const { return state == JobState::done || state == JobState::failed || state == JobState::cancelled; }
};

struct JobFilter {
  std::optional<JobState> state = {};
  std::string kind = {};  // "": all
  int64_t limit = 100;    // of those that have ended
};

struct JobCounts {
  int64_t waiting = 0, running = 0, paused = 0;
};

// For several threads at once.
class JobQueue {
 public:
  static constexpr int64_t kMostWaiting = 10000, kMostEnded = 2000;

  // What was running when the last program ended waits again; a job whose pictures only a waiting client would have got is cancelled.
  explicit JobQueue(const std::filesystem::path& database);

  // Called after each change, from the thread that made it, with no lock held.
  void on_change(std::function<void(const Job&)> callback) { changed_ = std::move(callback); }

  // -> with its id. Error: more than kMostWaiting wait.
  Job submit(Job job);
  std::optional<Job> find(int64_t id) const;
  Job get(int64_t id) const;                             // Error{not_found}
  std::vector<Job> list(const JobFilter& filter) const;  // newest first; all that have not ended, and `limit` of the others
  std::vector<Job> active() const;                       // in the order in which they will run, the running ones first
  JobCounts counts() const;
  int64_t position(int64_t id) const;  // jobs before it; 0: it is next, or runs

  // Waits for work and marks it as running: the next job, and those that may be made with it, up to `most_pictures`. Empty: stop() or
  // wake() was called.
  std::vector<Job> take(int most_pictures);
  void stop();
  bool stopped() const;
  void wake();

  // What a running job has so far; on the disk when this returns.
  void save(int64_t id, const nlohmann::json& result, const std::vector<std::string>& warnings);
  void end(int64_t id, JobState state, const nlohmann::json& error = nullptr);
  void put_back(int64_t id, JobState state = JobState::waiting);  // a running one waits again, or is paused
  void put_back_alone(int64_t id);                                // and is not to be made together with others

  // Of a job that does not run. False: it runs (the Worker is to be asked), or has ended.
  bool cancel(int64_t id);
  bool pause(int64_t id);
  bool resume(int64_t id);  // of a paused one
  void set_priority(int64_t id, int64_t priority);
  void forget(int64_t id);  // Error{bad_input}: it has not ended

 private:
  void load();
  void store(const Job& job);
  // Where the disk is full, the queue in memory goes on; the file then tells an earlier state, from which the job is done again.
  void store_or_tell(const Job& job);
  void forget_oldest();
  bool move(int64_t id, JobState from, JobState to);
  std::vector<const Job*> in_order() const;
  void tell(const Job& job) const;

  mutable std::mutex mutex_;
  std::condition_variable work_;
  mutable Database database_;
  std::map<int64_t, Job> active_;  // that have not ended
  std::function<void(const Job&)> changed_;
  bool stopping_ = false, woken_ = false;
};

double seconds_now();  // since 1970

}  // namespace lorikeet
