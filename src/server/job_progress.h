// The progress of a running job as the engine tells it: stages and steps become a share and the time left, estimates become previews.
#pragma once
#include <chrono>
#include <cstdint>
#include <vector>

#include "base/progress.h"
#include "server/live.h"

namespace lorikeet {

class Engine;

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
