// <lora:…>: everything that can stand in the tag of a LoRA, read into one struct. As in AUTOMATIC1111's webui, with the arguments of its
// extensions sd-webui-lora-block-weight (lbw, start, stop, step) and sd-webui-loractl (multipliers over the steps, hr), and with regions.
// docs/prompts.md tells people; extra_networks.h finds the tags.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "prompt/extra_networks.h"

namespace lorikeet {

// A multiplier over the steps of a pass: a number, or points with straight lines between them.
class MultiplierCurve {
 public:
  struct Point {
    double position, value;
    bool operator==(const Point&) const = default;
  };

  MultiplierCurve(double value = 1) : points_{{0, value}} {}
  // At least one point, rising positions. Two points at one position are a jump.
  explicit MultiplierCurve(std::vector<Point> points);

  // At step `step` (from 0) of `steps`. Before the first point its value, behind the last one its. Positions are shares of the pass when
  // the last is at most 1 (0: the first step, 1: the last step), else numbers of steps, counted from 1: loractl's rule.
  double at(int step, int steps) const;
  double first() const { return points_.front().value; }
  bool is_constant() const { return points_.size() == 1; }
  bool is_zero() const;    // at every step
  bool is_finite() const;  // no value is "nan" or "inf", which Python's float() reads
  bool operator==(const MultiplierCurve&) const = default;

 private:
  std::vector<Point> points_;
};

// A place in a pass: "10", the tenth step; "0.5", when half of the steps are done.
struct StepMark {
  double value = 0;
  bool share = false;                       // of the pass, 0…1; else a number of steps, counted from 1
  bool reached(int step, int steps) const;  // step from 0
  bool operator==(const StepMark&) const = default;
};

// Part of a side of the picture, in shares of it: 0 is left or top.
struct SideSpan {
  double from = 0, to = 1;
  bool operator==(const SideSpan&) const = default;
};

struct LoraTag {
  std::string text;                               // the tag as written
  std::string name;                               // as written: a file's stem, a path, an alias or a hash
  MultiplierCurve te, unet;                       // of the text encoders' and the U-Net's part; unet is te when not given
  std::optional<MultiplierCurve> hr_te, hr_unet;  // in the second pass of hires fix; nothing: as in the first
  std::optional<int64_t> dyn;                     // use the first so many ranks
  std::string blocks;                             // lbw=: numbers with commas between, or the name of a preset; "": 1 everywhere
  std::optional<StepMark> start, stop;            // the U-Net's part works from `start` on, until before `stop`
  std::string mask;                               // mask=: the name of a picture; "": none
  SideSpan x, y;                                  // the part of the picture where the LoRA works
  std::vector<std::string> surplus;               // positional arguments behind the fourth, for the report

  bool has_region() const { return !mask.empty() || x != SideSpan{} || y != SideSpan{}; }
  bool is_off() const;     // the multipliers are 0 everywhere: as if the tag were not there
  bool is_finite() const;  // the caller refuses others
};

// Names of arguments that a LoRA's tag may have: "te", "lbw", …
std::span<const std::string_view> lora_arguments();

// Throws Error{bad_input} that shows the tag and says what would do: no name, a value that cannot be read, an argument of an unknown name.
LoraTag parse_lora_tag(const ExtraNetworkTag& tag);

// The tag with this multiplier for text encoder and U-Net alike instead of those that it has; all else stays.
std::string with_multiplier(const ExtraNetworkTag& tag, std::string_view multiplier);

}  // namespace lorikeet
