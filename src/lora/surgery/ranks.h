// How many ranks of a change are kept: a number, or a rule on its singular values.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "lora/surgery/decomposition.h"

namespace lorikeet {

struct RankRule {
  std::string_view name, summary;
  double least, most;  // of the parameter, both allowed
  // The rule can be told from the leading singular values and the norm of the whole.
  bool leading_suffice;
  // values: falling; norm: of the whole matrix. The smallest rank that keeps what is asked.
  int64_t (*rank)(std::span<const double> values, double norm, double parameter);
  // kohya's sd-scripts, networks/resize_lora.py: index_sv_…(), before clamping; null: kohya has no such rule.
  int64_t (*kohya_index)(std::span<const double> values, double norm, double parameter);
};

std::span<const RankRule> rank_rules();
const RankRule& find_rank_rule(std::string_view name);  // Error{bad_input} with the names

struct RankOptions {
  int64_t rank = 0;       // the most; 0: no limit
  int64_t conv_rank = 0;  // the same for convolutions larger than 1×1; 0: as `rank`
  std::string rule = {};  // of rank_rules(); "": the most
  double parameter = 0;
  // Limits for blocks, by name or its beginning ("OUT", "IN04"; the longest fits): lora/blocks.h.
  std::map<std::string, int64_t, std::less<>> block_ranks = {};
  // The rank that kohya's resize_lora.py chooses: its index clamped to 1…length − 1, one more, at most `rank`; 1 for a change that is zero.
  bool like_kohya = false;
};

// Throws Error{bad_input} when the options make no sense: no limit and no rule, a parameter out of range, a rank below 1.
void check(const RankOptions& options);

// Throws Error{bad_input} when the rank is larger than `longest`, the most that any of the layers at hand can have; kohya's tool lets it
// pass.
void refuse_larger(const RankOptions& options, int64_t longest);

// The limit for a layer. path: its path, or a module's name.
int64_t most_ranks(const RankOptions& options, std::string_view path, bool convolution, int64_t length);
// At least 1, at most what the decomposition has; kohya's may be more (its factors then end in zeros).
int64_t choose_rank(const RankOptions& options, std::string_view path, bool convolution, const Decomposition& change);

}  // namespace lorikeet
