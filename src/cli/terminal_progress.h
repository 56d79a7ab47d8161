// Progress of a run on a terminal (one line: stage, step, time, time left), previews into a file, and Ctrl-C.
#pragma once
#include <chrono>
#include <filesystem>
#include <functional>
#include <string>

#include "base/progress.h"
#include "cli/command.h"
#include "io/picture.h"

namespace lorikeet {

class TerminalProgress : public Progress {
 public:
  // draw: show the line. While it lives, the first Ctrl-C (or SIGTERM) cancels, the second ends the process. One at a time.
  TerminalProgress(Output& output, bool draw);
  ~TerminalProgress() override;
  TerminalProgress(const TerminalProgress&) = delete;

  void stage(std::string_view name, int total) override;
  // At once behind stage(): where a stage goes on that was begun earlier.
  void step(int done) override;

  // Writes each estimate to a picture file, at most once in half a second. to_picture makes the picture of the first latent of a batch.
  void preview_to(std::filesystem::path file, std::function<Picture(const Tensor&)> to_picture);
  bool wants_preview() const override;
  void preview(const Tensor& x0) override;

  // Stands behind the bar from now on: "loss 0.12".
  void note(std::string text) { note_ = std::move(text); }

  void clear_line();

 private:
  using Clock = std::chrono::steady_clock;
  void draw(int done);

  Output& output_;
  bool draw_;
  std::string stage_, note_;
  int total_ = 0, first_ = 0;
  Clock::time_point stage_began_, last_drawn_, last_preview_;
  std::filesystem::path preview_file_;
  std::function<Picture(const Tensor&)> to_picture_;
};

// "sampling  12/20 [===========>        ]  3.2 s a step, 26 s left"; the first `before` steps were not made in these seconds.
std::string progress_line(std::string_view stage, int done, int total, double seconds, int before = 0);

}  // namespace lorikeet
