#include "server/jobs.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <iostream>
#include <variant>

#include "base/error.h"
#include "server/problem.h"

namespace lorikeet {

namespace {
using nlohmann::json;

constexpr std::array<std::string_view, 6> kStates{"waiting", "running", "paused", "done", "failed", "cancelled"};

constexpr const char* kTables = R"(
CREATE TABLE IF NOT EXISTS jobs(
  id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, title TEXT NOT NULL, state TEXT NOT NULL, priority INTEGER NOT NULL,
  created REAL NOT NULL, started REAL NOT NULL, finished REAL NOT NULL, request TEXT NOT NULL, result TEXT NOT NULL, error TEXT NOT NULL,
  warnings TEXT NOT NULL, seed INTEGER NOT NULL, subseed INTEGER NOT NULL, saves INTEGER NOT NULL, waited INTEGER NOT NULL,
  task TEXT NOT NULL, batch_key TEXT NOT NULL, pictures INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs(state, id);
)";
constexpr std::string_view kColumns =
    "id, kind, title, state, priority, created, started, finished, request, result, error, warnings, seed, subseed, saves, task, "
    "batch_key, "
    "pictures";
constexpr std::string_view kEnded = "state IN ('done','failed','cancelled')";

json parsed(const std::string& text, json otherwise) {
  json value = json::parse(text, nullptr, /*allow_exceptions=*/false);
  return value.is_discarded() ? std::move(otherwise) : value;
}

std::string sql(std::string_view begin, std::string_view rest) { return std::string(begin) + std::string(kColumns) + std::string(rest); }

Job job_from(const Statement& row) {
  Job job{.id = row.integer(0), .kind = row.text(1), .title = row.text(2)};
  job.state = job_state_of(row.text(3)).value_or(JobState::failed);
  job.priority = row.integer(4);
  job.created = row.number(5);
  job.started = row.number(6);
  job.finished = row.number(7);
  job.request = parsed(row.text(8), json::object());
  job.result = parsed(row.text(9), json::object());
  job.error = parsed(row.text(10), nullptr);
  job.warnings = parsed(row.text(11), json::array()).get<std::vector<std::string>>();
  job.seed = row.integer(12);
  job.subseed = row.integer(13);
  job.saves = row.integer(14) != 0;
  job.task = row.text(15);
  job.batch_key = row.text(16);
  job.pictures = static_cast<int>(row.integer(17));
  return job;
}

// One value: number or text.
using SqlValue = std::variant<int64_t, double, std::string>;

// Runs one statement with its '?' filled in; `row` is called for each row of the answer.
void query(Database& database, std::string_view text, const std::vector<SqlValue>& values,
           const std::function<void(const Statement&)>& row = {}) {
  Statement statement(database, text);
  int at = 0;
  for (const SqlValue& value : values) {
    ++at;
    std::visit([&](const auto& one) { statement.bind(at, one); }, value);
  }
  while (statement.step())
    if (row) row(statement);
}

// A queue that is damaged beyond reading is put aside, with a word to whoever looks, rather than in the way of everything.
std::filesystem::path sound_file(const std::filesystem::path& path) {
  try {
    Database tried(path);
    tried.run(kTables);
  } catch (const DamagedDatabase& damaged) {
    std::error_code code;
    std::filesystem::rename(path, path.string() + ".damaged", code);
    for (const char* end : {"-wal", "-shm"}) std::filesystem::remove(path.string() + end, code);
    std::cerr << "warning: the job queue " << path.string() << " was damaged (" << damaged.what << ") and is kept as "
              << path.filename().string() << ".damaged" << std::endl;
  }
  return path;
}

// Higher priority first, then the older.
bool before(const Job& a, const Job& b) { return a.priority != b.priority ? a.priority > b.priority : a.id < b.id; }
}  // namespace

std::string_view name(JobState state) { return kStates[static_cast<size_t>(state)]; }

std::optional<JobState> job_state_of(std::string_view word) {
  for (size_t i = 0; i < kStates.size(); ++i)
    if (kStates[i] == word) return static_cast<JobState>(i);
  return std::nullopt;
}

double seconds_now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

JobQueue::JobQueue(const std::filesystem::path& path) : database_(sound_file(path)) {
  database_.run(kTables);
  const json gone{
      {"error", "cancelled"}, {"message", "the program that waited for the pictures is gone"}, {"hint", ""}, {"context", json::array()}};
  query(database_,
        "UPDATE jobs SET state = 'cancelled', finished = ?, error = ? WHERE waited AND NOT saves AND state IN ('waiting','running')",
        {seconds_now(), gone.dump()});
  query(database_, "UPDATE jobs SET state = 'waiting' WHERE state = 'running'", {});
  load();
}

void JobQueue::load() {
  query(database_, sql("SELECT ", " FROM jobs WHERE state IN ('waiting','paused')"), {}, [&](const Statement& row) {
    Job job = job_from(row);
    const int64_t id = job.id;
    active_.emplace(id, std::move(job));
  });
}

void JobQueue::store(const Job& job) {
  query(database_, "UPDATE jobs SET state = ?, priority = ?, started = ?, finished = ?, result = ?, error = ?, warnings = ? WHERE id = ?",
        {std::string(name(job.state)), job.priority, job.started, job.finished, dump(job.result), dump(job.error), dump(job.warnings),
         job.id});
}

void JobQueue::store_or_tell(const Job& job) {
  try {
    store(job);
  } catch (const Error& error) {
    std::cerr << "warning: job " << job.id << ": " << error.what() << std::endl;
  }
}

void JobQueue::tell(const Job& job) const {
  if (changed_) changed_(job);
}

Job JobQueue::submit(Job job) {
  {
    const std::lock_guard lock(mutex_);
    if (static_cast<int64_t>(active_.size()) >= kMostWaiting)
      throw HttpError(503, "too_large", "there are " + std::to_string(active_.size()) + " jobs in the queue already",
                      "wait, or cancel some");
    job.created = seconds_now();
    job.state = JobState::waiting;
    query(database_,
          "INSERT INTO jobs(kind, title, state, priority, created, started, finished, request, result, error, warnings, seed, subseed, "
          "saves, "
          "waited, task, batch_key, pictures) VALUES(?, ?, 'waiting', ?, ?, 0, 0, ?, ?, 'null', ?, ?, ?, ?, ?, ?, ?, ?)",
          {job.kind, job.title, job.priority, job.created, dump(job.request), dump(job.result), dump(job.warnings), job.seed, job.subseed,
           int64_t{job.saves}, int64_t{job.delivery != nullptr}, job.task, job.batch_key, int64_t{job.pictures}});
    job.id = database_.last_id();
    active_.emplace(job.id, job);
  }
  work_.notify_all();
  tell(job);
  return job;
}

std::optional<Job> JobQueue::find(int64_t id) const {
  const std::lock_guard lock(mutex_);
  const auto found = active_.find(id);
  if (found != active_.end()) return found->second;
  std::optional<Job> job;
  query(database_, sql("SELECT ", " FROM jobs WHERE id = ?"), {id}, [&](const Statement& row) { job = job_from(row); });
  return job;
}

Job JobQueue::get(int64_t id) const {
  auto job = find(id);
  if (!job) throw Error(ErrorKind::not_found, "there is no job " + std::to_string(id));
  return std::move(*job);
}

std::vector<const Job*> JobQueue::in_order() const {
  std::vector<const Job*> jobs;
  for (const auto& [id, job] : active_) jobs.push_back(&job);
  std::ranges::sort(jobs, [](const Job* a, const Job* b) {
    const auto rank = [](const Job& job) { return job.state == JobState::running ? 0 : job.state == JobState::waiting ? 1 : 2; };
    return rank(*a) != rank(*b) ? rank(*a) < rank(*b) : before(*a, *b);
  });
  return jobs;
}

std::vector<Job> JobQueue::active() const {
  const std::lock_guard lock(mutex_);
  std::vector<Job> jobs;
  for (const Job* job : in_order()) jobs.push_back(*job);
  return jobs;
}

std::vector<Job> JobQueue::list(const JobFilter& filter) const {
  const std::lock_guard lock(mutex_);
  std::vector<Job> jobs;
  const auto wanted = [&](const Job& job) {
    return (!filter.state || job.state == *filter.state) && (filter.kind.empty() || job.kind == filter.kind);
  };
  for (const auto& [id, job] : active_)
    if (wanted(job)) jobs.push_back(job);
  query(database_,
        sql("SELECT ",
            " FROM jobs WHERE " + std::string(kEnded) + " AND (? = '' OR state = ?) AND (? = '' OR kind = ?) ORDER BY id DESC LIMIT ?"),
        {filter.state ? std::string(name(*filter.state)) : "", filter.state ? std::string(name(*filter.state)) : "", filter.kind,
         filter.kind, filter.limit},
        [&](const Statement& row) { jobs.push_back(job_from(row)); });
  std::ranges::sort(jobs, [](const Job& a, const Job& b) { return a.id > b.id; });
  return jobs;
}

JobCounts JobQueue::counts() const {
  const std::lock_guard lock(mutex_);
  JobCounts counts;
  for (const auto& [id, job] : active_)
    ++(job.state == JobState::running ? counts.running : job.state == JobState::paused ? counts.paused : counts.waiting);
  return counts;
}

int64_t JobQueue::position(int64_t id) const {
  const std::lock_guard lock(mutex_);
  const auto found = active_.find(id);
  if (found == active_.end() || found->second.state != JobState::waiting) return 0;
  return std::ranges::count_if(active_, [&](const auto& entry) {
    const Job& job = entry.second;
    return job.state == JobState::running || (job.state == JobState::waiting && before(job, found->second));
  });
}

std::vector<Job> JobQueue::take(int most_pictures) {
  std::vector<Job> taken;
  {
    std::unique_lock lock(mutex_);
    std::vector<const Job*> order;
    const auto find_work = [&] {
      order = in_order();
      std::erase_if(order, [](const Job* job) { return job->state != JobState::waiting; });
      return !order.empty();
    };
    work_.wait(lock, [&] { return stopping_ || woken_ || find_work(); });
    woken_ = false;
    if (stopping_ || order.empty()) return {};
    int pictures = 0;
    for (const Job* next : order) {
      const bool fits = taken.empty() ||
                        (!next->batch_key.empty() && next->batch_key == taken[0].batch_key && pictures + next->pictures <= most_pictures);
      if (!fits) continue;
      Job& job = active_.at(next->id);
      job.state = JobState::running;
      if (job.started == 0) job.started = seconds_now();
      store_or_tell(job);
      taken.push_back(job);
      pictures += job.pictures;
      if (taken[0].batch_key.empty() || pictures >= most_pictures) break;
    }
  }
  for (const Job& job : taken) tell(job);
  return taken;
}

void JobQueue::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
}

bool JobQueue::stopped() const {
  const std::lock_guard lock(mutex_);
  return stopping_;
}

void JobQueue::wake() {
  {
    const std::lock_guard lock(mutex_);
    woken_ = true;
  }
  work_.notify_all();
}

void JobQueue::save(int64_t id, const json& result, const std::vector<std::string>& warnings) {
  Job copy;
  {
    const std::lock_guard lock(mutex_);
    const auto found = active_.find(id);
    if (found == active_.end()) return;
    found->second.result = result;
    found->second.warnings = warnings;
    store(found->second);
    copy = found->second;
  }
  tell(copy);
}

void JobQueue::end(int64_t id, JobState state, const json& error) {
  Job copy;
  {
    const std::lock_guard lock(mutex_);
    const auto found = active_.find(id);
    if (found == active_.end()) return;
    Job& job = found->second;
    job.state = state;
    job.error = error;
    job.finished = seconds_now();
    store_or_tell(job);
    copy = std::move(job);
    active_.erase(found);
    if (copy.id % 64 == 0) forget_oldest();
  }
  if (copy.delivery) {
    const std::lock_guard lock(copy.delivery->mutex);
    copy.delivery->state = state;
    copy.delivery->error = error;
    copy.delivery->warnings = copy.warnings;
    copy.delivery->ended = true;
    copy.delivery->changed.notify_all();
  }
  tell(copy);
}

void JobQueue::forget_oldest() try {
  query(database_,
        "DELETE FROM jobs WHERE " + std::string(kEnded) + " AND id NOT IN (SELECT id FROM jobs WHERE " + std::string(kEnded) +
            " ORDER BY id DESC LIMIT ?)",
        {kMostEnded});
} catch (const Error& error) {
  std::cerr << "warning: " << error.what() << std::endl;
}

bool JobQueue::move(int64_t id, JobState from, JobState to) {
  Job copy;
  {
    const std::lock_guard lock(mutex_);
    const auto found = active_.find(id);
    if (found == active_.end() || found->second.state != from) return false;
    found->second.state = to;
    store_or_tell(found->second);
    copy = found->second;
  }
  if (to == JobState::waiting) work_.notify_all();
  tell(copy);
  return true;
}

void JobQueue::put_back(int64_t id, JobState state) { move(id, JobState::running, state); }
void JobQueue::put_back_alone(int64_t id) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = active_.find(id);
    if (found == active_.end()) return;
    found->second.batch_key.clear();  // for as long as the program runs
  }
  put_back(id);
}

bool JobQueue::pause(int64_t id) { return move(id, JobState::waiting, JobState::paused); }
bool JobQueue::resume(int64_t id) { return move(id, JobState::paused, JobState::waiting); }

bool JobQueue::cancel(int64_t id) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = active_.find(id);
    if (found == active_.end() || found->second.state == JobState::running) return false;
    found->second.state = JobState::running;  // so that the worker does not take it in between
  }
  end(id, JobState::cancelled, json_of(Error(ErrorKind::cancelled, "it was cancelled before it began")));
  return true;
}

void JobQueue::set_priority(int64_t id, int64_t priority) {
  Job copy;
  {
    const std::lock_guard lock(mutex_);
    const auto found = active_.find(id);
    if (found == active_.end()) throw Error(ErrorKind::bad_input, "job " + std::to_string(id) + " does not wait any more");
    found->second.priority = priority;
    store(found->second);
    copy = found->second;
  }
  tell(copy);
}

void JobQueue::forget(int64_t id) {
  const std::lock_guard lock(mutex_);
  if (active_.contains(id)) throw HttpError(409, "conflict", "job " + std::to_string(id) + " has not ended yet", "cancel it first");
  query(database_, "DELETE FROM jobs WHERE id = ?", {id});
  if (database_.changes() == 0) throw Error(ErrorKind::not_found, "there is no job " + std::to_string(id));
}

}  // namespace lorikeet
