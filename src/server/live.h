// How far the running jobs are, for everybody who asks: stage, step, time left, the picture so far. Written by the Worker's thread alone.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace lorikeet {

struct LiveJob {
  double progress = 0;  // 0..1
  std::string stage;
  int step = 0, steps = 0;  // of the stage
  int part = 0, parts = 1;  // A1111's job_no and job_count: the batches of a job
  double seconds = 0;       // since it began
  std::optional<double> eta_s;
  std::shared_ptr<const std::string> preview;  // a PNG file; null: none yet
  int64_t preview_version = 0;
};

class LiveJobs {
 public:
  // Called at most ten times a second for a job, and at each new stage.
  void on_change(std::function<void(int64_t id)> callback) { changed_ = std::move(callback); }
  std::optional<LiveJob> find(int64_t id) const;
  void set(const std::vector<int64_t>& ids, const LiveJob& live, bool tell);
  void forget(const std::vector<int64_t>& ids);

 private:
  mutable std::mutex mutex_;
  std::map<int64_t, LiveJob> jobs_;
  std::function<void(int64_t)> changed_;
};

}  // namespace lorikeet
