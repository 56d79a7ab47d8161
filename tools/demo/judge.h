// The judge: a small network that tells what a picture of the painter's world shows, so that a trained model can be measured without eyes.
// It is trained anew from painted pictures, always the same ones, in about five minutes on two cores; how often it errs on others is part of
// every report.
#pragma once
#include <array>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "base/torch.h"
#include "painter/scene.h"
#include "painter/style.h"

namespace lorikeet::demo {

// What the judge tells. In a pair the first thing is the left or the upper one, else it is the only kind of thing.
enum class Fact { thing, colour, setting, style, count, layout, second_thing, second_colour };
inline constexpr size_t kFacts = 8;
enum class Layout { no_pair, side_by_side, one_above_the_other };

size_t answers(Fact fact);  // how many there are; things: those of things(), then those of subjects()

// The answers that are true of a picture; -1: it has none (the second thing of no pair, the colour in a style without colours).
using Facts = std::array<int64_t, kFacts>;
Facts facts_of(const painter::Scene& scene, const painter::Style& style);

struct Verdict {
  Facts most_likely{};
  std::array<std::vector<float>, kFacts> probability;  // by answer; sums to 1
  double of(Fact fact, size_t answer) const { return probability[static_cast<size_t>(fact)][answer]; }
  bool says(Fact fact, const Facts& asked) const { return most_likely[static_cast<size_t>(fact)] == asked[static_cast<size_t>(fact)]; }
};

struct JudgeOptions {
  int pictures = 20000, rounds = 10;
  uint64_t seed = 1000;  // of the painter; pictures for training
};

class Judge {
 public:
  // tell: called now and then with what has been done, 0..1.
  explicit Judge(
      const JudgeOptions& options, const std::function<void(double)>& tell = [](double) {});
  ~Judge();
  std::vector<Verdict> judge(std::span<const Picture> pictures) const;

 private:
  struct Network;
  std::unique_ptr<Network> network_;
};

// A picture of the painter's, and what is true of it.
struct Sample {
  Picture picture;
  Facts facts;
};
// Sample i depends on (seed, i) alone: all compositions, all styles (the base in half of them), one in twelve with a subject.
std::vector<Sample> painted_samples(uint64_t seed, size_t count);

}  // namespace lorikeet::demo
