#include "server/job_progress.h"

#include <algorithm>
#include <cstdio>

#include "base/error.h"
#include "generate/engine.h"
#include "generate/latents.h"
#include "generate/pixels.h"

namespace lorikeet {

namespace {
using Clock = std::chrono::steady_clock;
constexpr auto kBetweenEvents = std::chrono::milliseconds(100), kBetweenPreviews = std::chrono::milliseconds(300);
constexpr int kPreviewScale = 4;  // of the latent; the page enlarges the rest

double seconds_since(Clock::time_point time) { return std::chrono::duration<double>(Clock::now() - time).count(); }
}  // namespace

JobProgress::JobProgress(LiveJobs& live, std::vector<int64_t> ids, int part, int parts, int stages, Clock::time_point began)
    : live_(live), ids_(std::move(ids)), stages_(std::max(1, stages)), began_(began) {
  if (const auto before = ids_.empty() ? std::nullopt : live_.find(ids_[0])) state_ = *before;  // the last part's preview stays in sight
  state_.part = part;
  state_.parts = std::max(1, parts);
  tell(true);
}

void JobProgress::preview_with(Engine& engine, int every) {
  engine_ = &engine;
  every_ = every;
}

void JobProgress::stage(std::string_view name, int total) {
  int done = 0, all = 0;
  if (std::sscanf(std::string(name).c_str(), "cell %d of %d", &done, &all) == 2) {  // a plot tells its own parts
    state_.part = done - 1;
    state_.parts = all;
    stage_ = 0;
  }
  state_.stage = name;
  state_.step = 0;
  state_.steps = total;
  if (total > 0) stage_ = std::min(stage_ + 1, stages_);
  last_preview_step_ = 0;
  tell(true);
}

void JobProgress::step(int done) {
  state_.step = done;
  tell(false);
}

void JobProgress::tell(bool always) {
  const double within =
      state_.steps > 0 ? (stage_ - 1 + static_cast<double>(state_.step) / state_.steps) / stages_ : static_cast<double>(stage_) / stages_;
  const double now = (state_.part + std::clamp(within, 0.0, 1.0)) / state_.parts;
  state_.progress = std::max(state_.progress, std::min(now, 0.99));
  state_.seconds = seconds_since(began_);
  if (state_.progress > 0.01) state_.eta_s = state_.seconds * (1 - state_.progress) / state_.progress;
  const bool due = always || Clock::now() - told_ >= kBetweenEvents;
  if (due) told_ = Clock::now();
  live_.set(ids_, state_, due);
}

bool JobProgress::wants_preview() const { return engine_ != nullptr; }

void JobProgress::preview(const Tensor& x0) {
  latest_ = x0;
  if (every_ <= 0 || state_.step - last_preview_step_ < every_ || Clock::now() - previewed_ < kBetweenPreviews) return;
  previewed_ = Clock::now();
  last_preview_step_ = state_.step;
  const Tensor small = preview_image(engine_->spec().latent, x0.slice(0, 0, 1).to(torch::kCPU, torch::kFloat));
  const auto side = [&](int dimension) { return static_cast<int>(small.size(dimension)) * kPreviewScale; };
  const auto bytes = encode_picture(PictureFormat::png, picture_of(resize(small, side(2), side(1), Resampling::bicubic)));
  state_.preview = std::make_shared<const std::string>(bytes.begin(), bytes.end());
  ++state_.preview_version;
  tell(false);
}

}  // namespace lorikeet
