// Options as the history names them, and as the command line takes them: f16, {"rank": 32, "rule": "sv_fro", …}.
#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "lora/surgery/ranks.h"

namespace lorikeet {

std::string dtype_word(Dtype dtype);                        // "f16", "bf16", "f32"
std::optional<Dtype> dtype_of_word(std::string_view word);  // "keep": nothing; Error{bad_input} for others than these

nlohmann::ordered_json option_words(const RankOptions& options);
RankOptions rank_options_of(const nlohmann::ordered_json& words);  // the way back; Error{bad_input}

// As people write them: "sv_fro=0.9", "IN04=16,OUT=8". Error{bad_input}.
void read_rank_rule(const std::string& text, RankOptions& options);
void read_block_ranks(std::string_view list, RankOptions& options);

}  // namespace lorikeet
