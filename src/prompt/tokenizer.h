// CLIP's byte-pair tokenizer (Sennrich et al. 2016, arXiv 1508.07909; vocabulary and rules of Radford et al. 2021, arXiv 2103.00020).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lorikeet {

constexpr int64_t kStartToken = 49406;  // <|startoftext|>
constexpr int64_t kEndToken = 49407;    // <|endoftext|>
constexpr int64_t kCommaToken = 267;    // ",</w>"
constexpr int64_t kVocabularySize = 49408;

// Ids of a text, without start and end token, without padding or truncation. Takes any bytes (what is no UTF-8 reads as U+FFFD),
// in n log n time. The text is cleaned (text_repair.h), its white space collapsed, and lower-cased before.
// "<|startoftext|>" and "<|endoftext|>" in the text give the special tokens.
std::vector<int64_t> tokenize(std::string_view text);

// What a token stands for, in UTF-8 as far as its bytes are: 2368 -> "cat " (the space marks the end of a word).
std::string token_text(int64_t id);

}  // namespace lorikeet
