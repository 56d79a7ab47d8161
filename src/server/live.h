// How far the running jobs are, for everybody who asks: stage, step, time left, the picture so far. Written by the Worker's thread alone.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "generate/engine.h"

namespace lorikeet {

struct LiveJob {
  double progress = 0;  // 0..1
  std::string stage;
  int step = 0, steps = 0;     // of the stage
  int part = 0, parts = 1;     // A1111's job_no and job_count: the batches of a job
  double seconds = 0;          // since it began
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

// The progress of one part of the running jobs. Cancelling it is safe from any thread.
class JobProgress : public Progress {
 public:
  // `stages`: how many stages with a known length ("sampling") the part has, about.
  JobProgress(LiveJobs& live, std::vector<int64_t> ids, int part, int parts, int stages, std::chrono::steady_clock::time_point began);

  // From now on estimates become previews, at most every `every` steps. preview(): from the sampler's thread.
  void preview_with(Engine& engine, int every);
  // The last estimate of the clean latent, for a picture of what was interrupted. [B, C, h, w]; undefined: none.
  const Tensor& latest() const { return latest_; }

  void stage(std::string_view name, int total) override;
  void step(int done) override;
  bool wants_preview() const override;
  void preview(const Tensor& x0) override;

 private:
  void tell(bool always);
  LiveJobs& live_;
  std::vector<int64_t> ids_;
  LiveJob state_;
  int stages_, stage_ = 0, every_ = 0, last_preview_step_ = 0;
  Engine* engine_ = nullptr;
  Tensor latest_;
  std::chrono::steady_clock::time_point began_, told_{}, previewed_{};
};

}  // namespace lorikeet
