#include "lora/surgery/option_words.h"

#include "base/error.h"
#include "base/text.h"
#include "lora/blocks.h"

namespace lorikeet {
namespace {

struct Word {
  std::string_view word;
  Dtype dtype;
};
constexpr Word kWords[] = {{"f16", torch::kHalf}, {"bf16", torch::kBFloat16}, {"f32", torch::kFloat}};

}  // namespace

std::string dtype_word(Dtype dtype) {
  for (const Word& word : kWords)
    if (word.dtype == dtype) return std::string(word.word);
  return to_string(dtype);
}

std::optional<Dtype> dtype_of_word(std::string_view text) {
  if (text == "keep") return std::nullopt;
  for (const Word& word : kWords)
    if (word.word == text) return word.dtype;
  throw Error(ErrorKind::bad_input, "\"" + std::string(text) + "\" is no type of numbers", "the types are f16, bf16, f32, or keep");
}

nlohmann::ordered_json option_words(const RankOptions& options) {
  nlohmann::ordered_json words = nlohmann::ordered_json::object();
  if (options.rank > 0) words["rank"] = options.rank;
  if (options.conv_rank > 0) words["conv_rank"] = options.conv_rank;
  if (!options.rule.empty()) words["rule"] = options.rule, words["parameter"] = options.parameter;
  for (const auto& [block, rank] : options.block_ranks) words["block_ranks"][block] = rank;
  if (options.like_kohya) words["like_kohya"] = true;
  return words;
}

RankOptions rank_options_of(const nlohmann::ordered_json& words) {
  try {
    RankOptions options;
    options.rank = words.value("rank", int64_t{0});
    options.conv_rank = words.value("conv_rank", int64_t{0});
    options.rule = words.value("rule", std::string());
    options.parameter = words.value("parameter", 0.0);
    options.like_kohya = words.value("like_kohya", false);
    if (words.contains("block_ranks"))
      for (const auto& [block, rank] : words["block_ranks"].items()) options.block_ranks[block] = rank.get<int64_t>();
    return options;
  } catch (const nlohmann::json::exception&) {
    throw Error(ErrorKind::bad_input, "the recipe's ranks cannot be read");
  }
}

void read_rank_rule(const std::string& text, RankOptions& options) {
  const size_t equals = text.find('=');
  const auto number = equals == std::string::npos ? std::nullopt : parse_double(text.substr(equals + 1));
  options.rule = find_rank_rule(text.substr(0, equals)).name;
  if (!number) throw Error(ErrorKind::bad_input, "\"" + text + "\" has no number", "--rule " + options.rule + "=0.9");
  options.parameter = *number;
}

void read_block_ranks(std::string_view list, RankOptions& options) {
  for (const std::string_view item : split(list, ',')) {
    const size_t equals = item.find('=');
    const auto number = equals == std::string_view::npos ? std::nullopt : parse_int(item.substr(equals + 1));
    if (!number || *number < 1)
      throw Error(ErrorKind::bad_input, "\"" + std::string(item) + "\" is no rank of a block", "--block-ranks IN04=16,OUT=8");
    if (!begins_a_block(item.substr(0, equals)))
      throw Error(ErrorKind::bad_input, "there is no block \"" + std::string(item.substr(0, equals)) + "\"",
                  "the blocks are TE00…, TE2-00…, BASE, IN00…IN11, MID, OUT00…OUT11; IN, OUT, TE and TE2 stand for all of theirs");
    options.block_ranks[std::string(item.substr(0, equals))] = *number;
  }
}

}  // namespace lorikeet
