#include "server/worker.h"

#include <ATen/Parallel.h>
#include <algorithm>
#include <iostream>

#include "base/error.h"
#include "base/torch_cuda.h"
#include "generate/engine.h"
#include "server/app.h"
#include "server/job_kinds.h"
#include "server/job_progress.h"
#include "server/problem.h"

namespace lorikeet {

namespace {
bool has(const std::vector<int64_t>& ids, int64_t id) { return std::ranges::find(ids, id) != ids.end(); }

std::vector<int64_t> ids_of(const std::vector<Job>& jobs) {
  std::vector<int64_t> ids;
  for (const Job& job : jobs) ids.push_back(job.id);
  return ids;
}
}  // namespace

bool has_gpu() { return torch::cuda::is_available(); }
int cpu_threads() { return at::get_num_threads(); }

Engine& JobRun::engine(const std::string& checkpoint) { return worker_.engine(checkpoint, begin()); }
void JobRun::free_engine() { worker_.free_engine(); }

JobProgress& JobRun::begin(int part, int parts, int stages) {
  std::vector<int64_t> ids = ids_of(jobs);
  std::erase_if(ids, [&](int64_t id) { return ended(id); });
  progress_ = std::make_shared<JobProgress>(worker_.live_, std::move(ids), part, parts, stages, began_);
  {
    const std::lock_guard lock(worker_.mutex_);
    worker_.progress_ = progress_;
    if (worker_.asked_ != Ask::nothing && worker_.asked_ != Ask::skip) progress_->cancel();
  }
  progress_->check();
  return *progress_;
}

Ask JobRun::asked() const { return worker_.asked(); }

void JobRun::forget_skip() {
  const std::lock_guard lock(worker_.mutex_);
  if (worker_.asked_ == Ask::skip) worker_.asked_ = Ask::nothing;
}

void JobRun::save(const Job& job) { app.jobs.save(job.id, job.result, job.warnings); }

void JobRun::end(const Job& job) {
  bool cancelled = false;
  {
    const std::lock_guard lock(worker_.mutex_);
    cancelled = has(worker_.cancelled_, job.id);
  }
  save(job);
  ended_.push_back(job.id);
  app.jobs.end(job.id, cancelled ? JobState::cancelled : JobState::done);
}

void JobRun::put_back_alone(int64_t id) {
  ended_.push_back(id);
  app.jobs.put_back_alone(id);
}

bool JobRun::ended(int64_t id) const { return has(ended_, id); }

Worker::Worker(App& app) : app_(app) {}
Worker::~Worker() { stop(); }

void Worker::start() {
  thread_ = std::thread([this] { loop(); });
}

void Worker::stop() {
  if (!thread_.joinable()) return;
  app_.jobs.stop();
  {
    const std::lock_guard lock(mutex_);
    asked_ = Ask::end;
    if (progress_) progress_->cancel();
  }
  thread_.join();
}

void Worker::loop() {
  for (;;) {
    auto jobs = app_.jobs.take(app_.most_pictures_together());
    if (jobs.empty() && app_.jobs.stopped()) return;
    if (!jobs.empty()) run(std::move(jobs));
    unload_if_asked();
  }
}

void Worker::run(std::vector<Job> jobs) {
  const std::vector<int64_t> ids = ids_of(jobs);
  {
    const std::lock_guard lock(mutex_);
    running_ = ids;
    cancelled_.clear();
    if (asked_ != Ask::end) asked_ = Ask::nothing;
  }
  JobRun run(app_, *this, std::move(jobs));
  try {
    find_job_kind(run.jobs[0].kind).run(run);
    for (const Job& job : run.jobs)
      if (!run.ended(job.id)) run.end(job);
  } catch (const Error& error) {
    settle(run, error);
  } catch (const std::bad_alloc&) {
    free_engine();
    settle(run, Error(ErrorKind::out_of_memory, "there is not enough memory", "make the picture or the batch smaller"));
  } catch (const std::exception& error) {
    settle(run, Error(ErrorKind::internal, std::string("this should not happen: ") + error.what()));
  }
  const std::lock_guard lock(mutex_);
  running_.clear();
  progress_.reset();
  live_.forget(ids);
}

// The jobs that have not ended: cancelled as they were asked, or failed.
void Worker::settle(JobRun& run, const Error& error) {
  const Ask asked = run.asked();
  const bool cancelled = error.kind() == ErrorKind::cancelled;
  if (!cancelled) std::cerr << "job " << run.jobs[0].id << " (" << run.jobs[0].kind << ") failed: " << error.what() << std::endl;
  for (const Job& job : run.jobs) {
    if (run.ended(job.id)) continue;
    if (cancelled && asked == Ask::end)
      app_.jobs.put_back(job.id);
    else if (cancelled && asked == Ask::pause)
      app_.jobs.put_back(job.id, JobState::paused);
    else
      app_.jobs.end(job.id, cancelled ? JobState::cancelled : JobState::failed, json_of(error));
  }
}

Engine& Worker::engine(const std::string& checkpoint, Progress& progress) {
  if (engine_ && state_.checkpoint == checkpoint) return *engine_;
  free_engine();
  progress.stage("loading " + checkpoint, 0);
  EngineOptions options{.checkpoint = app_.options.folders.find(ModelKind::checkpoint, checkpoint).file.path,
                        .vae = {},
                        .device = app_.options.device,
                        .precision = app_.options.precision,
                        .threads = app_.options.threads,
                        .folders = app_.options.folders};
  engine_ = std::make_unique<Engine>(std::move(options));
  {
    const std::lock_guard lock(mutex_);
    const auto& unet = engine_->unet().compute();
    state_ = {checkpoint, std::string(engine_->spec().family), unet.device.is_cpu() ? "cpu" : "cuda",
              unet.dtype == torch::kFloat    ? "f32"
              : unet.dtype == torch::kBFloat16 ? "bf16"
                                               : "f16"};
  }
  app_.publish_status();
  return *engine_;
}

void Worker::free_engine() {
  if (!engine_) return;
  {
    const std::lock_guard lock(mutex_);
    state_ = {};
  }
  engine_.reset();
  app_.publish_status();
}

void Worker::unload_if_asked() {
  {
    const std::lock_guard lock(mutex_);
    if (!std::exchange(unload_, false)) return;
  }
  free_engine();
}

bool Worker::ask(int64_t id, Ask ask) {
  const std::lock_guard lock(mutex_);
  if (!has(running_, id)) return false;
  if (asked_ == Ask::end) return true;
  if (running_.size() > 1 && (ask == Ask::cancel || ask == Ask::interrupt)) {  // those beside it go on; it is dropped when they are done
    if (!has(cancelled_, id)) cancelled_.push_back(id);
    if (cancelled_.size() < running_.size()) return true;
  }
  asked_ = ask;
  if (progress_) progress_->cancel();
  return true;
}

void Worker::interrupt() {
  const std::lock_guard lock(mutex_);
  if (running_.empty() || asked_ == Ask::end) return;
  asked_ = Ask::interrupt;
  if (progress_) progress_->cancel();
}

void Worker::skip() {
  const std::lock_guard lock(mutex_);
  if (running_.empty() || asked_ != Ask::nothing) return;
  asked_ = Ask::skip;
  if (progress_) progress_->cancel();
}

std::vector<int64_t> Worker::running() const {
  const std::lock_guard lock(mutex_);
  return running_;
}

Ask Worker::asked() const {
  const std::lock_guard lock(mutex_);
  return asked_;
}

EngineState Worker::engine_state() const {
  const std::lock_guard lock(mutex_);
  return state_;
}

void Worker::unload() {
  {
    const std::lock_guard lock(mutex_);
    unload_ = true;
  }
  app_.jobs.wake();
}

}  // namespace lorikeet
