// Progress and cancellation of long work. Whoever works reports stages and steps; whoever watches (a terminal, a server)
// overrides what it wants to see. Cancellation is polled: the worker calls check() between steps.
#pragma once
#include <atomic>
#include <string_view>

#include "base/torch.h"

namespace lorikeet {

class Progress {
 public:
  virtual ~Progress() = default;

  // A new stage ("sampling", "decoding") of `total` steps begins; total 0: the length is not known.
  virtual void stage(std::string_view /*name*/, int /*total*/) {}
  // `done` steps of the stage are finished.
  virtual void step(int /*done*/) {}
  // The current estimate of the clean latent. x0: [B, C, H/8, W/8], only asked for when wants_preview().
  virtual bool wants_preview() const { return false; }
  virtual void preview(const Tensor& /*x0*/) {}

  void cancel() { cancelled_ = true; }  // safe from a signal handler or another thread
  bool cancelled() const { return cancelled_; }
  // Throws Error{cancelled} when cancel() was called.
  void check() const;

 private:
  std::atomic<bool> cancelled_{false};
};

}  // namespace lorikeet
