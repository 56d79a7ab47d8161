// The exponential moving average of the parameters (Polyak & Juditsky 1992): often better to look at than the last step.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "training/optimizer.h"
#include "training/slices.h"

namespace lorikeet {

class Ema {
 public:
  // The average starts at the parameters as they are now. decay: 0 < decay < 1; else Error{bad_input}.
  Ema(std::span<const ParameterGroup> groups, double decay);

  // After each optimiser step: average = d · average + (1 - d) · parameter with d = min(decay, (1 + n) / (10 + n)) at the n-th update from
  // 0, so that the beginning is soon forgotten (TensorFlow's ExponentialMovingAverage with num_updates). The bits do not depend on the
  // number of threads.
  void update();
  // Exchanges parameters and averages, in place and without rounding; a second call puts them back.
  void swap();

  // "updates" and "average.<parameter>". On the CPU the tensors are the live ones, not copies. Error{internal} between two swaps.
  std::vector<NamedTensor> state() const;
  // Error{bad_input} when something is missing, of a wrong shape or left over; then nothing has changed.
  void load_state(const std::vector<NamedTensor>& state);

 private:
  struct Pair {
    std::string name;
    Tensor parameter, average;
  };
  std::vector<SliceRow> rows() const;
  double decay_;
  int64_t updates_ = 0;
  bool swapped_ = false;
  std::vector<Pair> pairs_;
};

// swap() as a scope; null: nothing happens.
class EmaWeights {
 public:
  explicit EmaWeights(Ema* ema) : ema_(ema) {
    if (ema_ != nullptr) ema_->swap();
  }
  ~EmaWeights() {
    if (ema_ != nullptr) ema_->swap();
  }
  EmaWeights(const EmaWeights&) = delete;
  EmaWeights& operator=(const EmaWeights&) = delete;

 private:
  Ema* ema_;
};

}  // namespace lorikeet
