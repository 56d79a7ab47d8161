#include "lora/surgery/ranks.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "lora/blocks.h"

namespace lorikeet {
namespace {

using Values = std::span<const double>;

int64_t count_above(Values values, double least) {
  return std::ranges::count_if(values, [&](double value) { return value > least; });
}

double sum(Values values) { return std::accumulate(values.begin(), values.end(), 0.0); }

// The first place at which the running sum of f(value) reaches `target`, from 0; values.size() when it never does.
template <class Part>
int64_t place_of_sum(Values values, double target, Part part) {
  double running = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    running += part(values[i]);
    if (running >= target) return static_cast<int64_t>(i);
  }
  return static_cast<int64_t>(values.size());
}

double itself(double value) { return value; }
double square(double value) { return value * value; }

int64_t ratio(Values values, double, double parameter) { return values.empty() ? 0 : count_above(values, values[0] / parameter); }
int64_t threshold(Values values, double, double parameter) { return count_above(values, parameter); }
int64_t cumulative(Values values, double, double parameter) { return place_of_sum(values, parameter * sum(values), itself) + 1; }
int64_t frobenius(Values values, double norm, double parameter) { return place_of_sum(values, square(parameter * norm), square) + 1; }
// LyCORIS' extract: how many running sums are below the share.
int64_t quantile(Values values, double, double parameter) { return place_of_sum(values, parameter * sum(values), itself); }

constexpr double kMost = std::numeric_limits<double>::max();

constexpr RankRule kRules[] = {
    {"sv_ratio", "singular values above the largest one / P", 1, kMost, true, ratio, ratio},
    {"sv_cumulative", "the share P of the sum of the singular values", 0, 1, false, cumulative, cumulative},
    {"sv_fro", "the share P of the Frobenius norm", 0, 1, true, frobenius, frobenius},
    {"threshold", "singular values above P", 0, kMost, true, threshold, nullptr},
    {"quantile", "LyCORIS' quantile: running sums of the singular values below the share P", 0, 1, false, quantile, nullptr},
};

// kohya's: below it the largest singular value counts as zero (resize_lora.py, MIN_SV).
constexpr double kLeastSingularValue = 1e-6;

}  // namespace

std::span<const RankRule> rank_rules() { return kRules; }

const RankRule& find_rank_rule(std::string_view name) {
  std::vector<std::string> names;
  for (const RankRule& rule : kRules) {
    if (rule.name == name) return rule;
    names.emplace_back(rule.name);
  }
  throw Error(ErrorKind::bad_input, "there is no rule \"" + std::string(name) + "\" for ranks", "the rules are " + join(names, ", "));
}

void check(const RankOptions& options) {
  if (options.rank < 0 || options.conv_rank < 0) throw Error(ErrorKind::bad_input, "a rank is at least 1");
  for (const auto& [block, rank] : options.block_ranks)
    if (rank < 1) throw Error(ErrorKind::bad_input, "the rank of " + block + " is at least 1");
  if (options.rule.empty()) {
    if (options.rank == 0) throw Error(ErrorKind::bad_input, "which rank?", "--rank N, or a rule: --rule sv_fro=0.9");
    return;
  }
  const RankRule& rule = find_rank_rule(options.rule);
  if (!(options.parameter >= rule.least && options.parameter <= rule.most))
    throw Error(ErrorKind::bad_input, options.rule + " takes a number " +
                                          (rule.most == kMost ? "of at least " + format_number(rule.least)
                                                              : "from " + format_number(rule.least) + " to " + format_number(rule.most)) +
                                          ", not " + format_number(options.parameter));
  if (options.like_kohya && !rule.kohya_index)
    throw Error(ErrorKind::bad_input, "kohya's resize has no rule " + options.rule, "leave --like-kohya away");
}

void refuse_larger(const RankOptions& options, int64_t longest) {
  if (options.like_kohya || longest == 0 || options.rank <= longest) return;  // 0: norms alone, which have no ranks
  throw Error(
      ErrorKind::bad_input,
      "the rank " + std::to_string(options.rank) + " is larger than any of the layers, of which the largest has " + std::to_string(longest),
      "--rank " + std::to_string(longest) + " keeps everything");
}

int64_t most_ranks(const RankOptions& options, std::string_view path, bool convolution, int64_t length) {
  int64_t most = convolution && options.conv_rank > 0 ? options.conv_rank : options.rank;
  size_t longest = 0;
  const std::string block = options.block_ranks.empty() ? "" : block_of(path);
  for (const auto& [name, rank] : options.block_ranks)
    if (starts_with(block, name) && name.size() >= longest) longest = name.size(), most = rank;
  return most == 0 ? length : std::min(most, length);
}

int64_t choose_rank(const RankOptions& options, std::string_view path, bool convolution, const Decomposition& change) {
  const auto known = static_cast<int64_t>(change.values().size());
  const int64_t most = most_ranks(options, path, convolution, change.length());
  const double norm = change.norm();
  int64_t rank = most;
  if (options.like_kohya && (change.values().empty() || change.values()[0] <= kLeastSingularValue)) {
    rank = 1;
  } else if (!options.rule.empty()) {
    const RankRule& rule = find_rank_rule(options.rule);
    if (options.like_kohya) {
      const int64_t index = rule.kohya_index(change.values(), norm, options.parameter);
      rank = std::max<int64_t>(1, std::min(index, change.length() - 1)) + 1;
    } else {
      rank = rule.rank(change.values(), norm, options.parameter);
    }
  }
  return std::clamp<int64_t>(std::min(rank, most), 1, std::max<int64_t>(options.like_kohya ? change.length() : known, 1));
}

}  // namespace lorikeet
