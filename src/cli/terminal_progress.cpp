#include "cli/terminal_progress.h"

#include <csignal>
#include <cstdio>
#include <ostream>

#include "base/error.h"

namespace lorikeet {

namespace {
constexpr int kBarWidth = 24;

std::atomic<Progress*> running{nullptr};

// Only what a signal handler may do: set a flag; the second time, die as the signal would have it.
void on_signal(int signal) {
  Progress* progress = running.load();
  if (progress && !progress->cancelled()) {
    progress->cancel();
    return;
  }
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

std::string seconds_text(double seconds) {
  char text[40];
  if (seconds < 60)
    std::snprintf(text, sizeof text, seconds > 0 && seconds < 1 ? "%.2f s" : seconds < 10 ? "%.1f s" : "%.0f s", seconds);
  else
    std::snprintf(text, sizeof text, "%d min %02d s", static_cast<int>(seconds) / 60, static_cast<int>(seconds) % 60);
  return text;
}
}  // namespace

std::string progress_line(std::string_view stage, int done, int total, double seconds, int before) {
  std::string line(stage);
  if (total <= 0) return line + " …";
  const int filled = std::min(kBarWidth, done * kBarWidth / total);
  line += "  " + std::to_string(done) + "/" + std::to_string(total) + " [" + std::string(static_cast<size_t>(filled), '=') +
          (filled < kBarWidth ? ">" + std::string(static_cast<size_t>(kBarWidth - filled - 1), ' ') : "") + "]";
  const double a_step = seconds / std::max(1, done - before);
  if (done > before) line += "  " + seconds_text(a_step) + " a step, " + seconds_text(a_step * (total - done)) + " left";
  return line;
}

TerminalProgress::TerminalProgress(Output& output, bool draw) : output_(output), draw_(draw) {
  running = this;
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
}

TerminalProgress::~TerminalProgress() {
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
  running = nullptr;
  clear_line();
}

void TerminalProgress::stage(std::string_view name, int total) {
  stage_ = name;
  total_ = total;
  first_ = 0;
  note_.clear();
  stage_began_ = Clock::now();
  draw(0);
}

void TerminalProgress::step(int done) {
  if (Clock::now() - stage_began_ < std::chrono::milliseconds(1)) first_ = done;
  if (done == total_ || Clock::now() - last_drawn_ > std::chrono::milliseconds(80)) draw(done);
}

void TerminalProgress::draw(int done) {
  if (!draw_) return;
  last_drawn_ = Clock::now();
  const double seconds = std::chrono::duration<double>(last_drawn_ - stage_began_).count();
  output_.err << "\r\033[K" << progress_line(stage_, done, total_, seconds, first_) << (note_.empty() ? "" : ", ") << note_ << std::flush;
}

void TerminalProgress::clear_line() {
  if (draw_) output_.err << "\r\033[K" << std::flush;
}

void TerminalProgress::preview_to(std::filesystem::path file, std::function<Picture(const Tensor&)> to_picture) {
  preview_file_ = std::move(file);
  to_picture_ = std::move(to_picture);
}

bool TerminalProgress::wants_preview() const { return to_picture_ && Clock::now() - last_preview_ > std::chrono::milliseconds(500); }

void TerminalProgress::preview(const Tensor& x0) {
  write_picture(preview_file_, to_picture_(x0));
  last_preview_ = Clock::now();
}

}  // namespace lorikeet
