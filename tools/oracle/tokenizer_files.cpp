// CLIP's vocabulary as transformers keeps it: tokenizer/vocab.json and merges.txt.
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/text.h"
#include "files.h"
#include "prompt/tokenizer.h"
#include "prompt/unicode.h"

namespace lorikeet::oracle {

namespace fs = std::filesystem;

namespace {

// GPT-2's printable stand-ins for bytes (Radford et al. 2019): printable Latin-1 stands for itself, the others for U+0100 and up.
std::map<char32_t, char> byte_symbols() {
  std::map<char32_t, char> symbols;
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    symbols[printable ? static_cast<char32_t>(byte) : next++] = static_cast<char>(byte);
  }
  return symbols;
}

// "cat</w>" -> "cat "
std::string text_of(std::string_view token) {
  static const auto symbols = byte_symbols();
  const bool ends_word = ends_with(token, "</w>");
  if (ends_word) token.remove_suffix(4);
  std::string bytes;
  for (const char32_t symbol : unicode::decode(token)) bytes += symbols.at(symbol);
  return bytes + (ends_word ? " " : "");
}

void check_vocabulary(Check& check, const fs::path& path) {
  const auto vocabulary = nlohmann::json::parse(read_text(path));
  Tally tally;
  tally.add("the vocabulary", static_cast<int64_t>(vocabulary.size()) == kVocabularySize,
            "has " + std::to_string(vocabulary.size()) + " tokens");
  for (const auto& [token, id] : vocabulary.items()) {
    const int64_t number = id;
    const std::string text = number >= kStartToken ? token : text_of(token);
    tally.add(std::to_string(number), token_text(number) == text, "\"" + valid_utf8(token_text(number)) + "\" is not " + token);
  }
  check.exact("vocab.json", tally);
}

bool is_plain_word(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= 'a' && c <= 'z'; });
}

// Merge i makes token 512 + i of its two parts; a word of letters that is a token is read as that token.
void check_merges(Check& check, const fs::path& path) {
  std::istringstream lines(read_text(path));
  std::string line;
  int64_t id = 512;
  Tally merges, words;
  while (std::getline(lines, line)) {
    if (line.starts_with("#version") || trim(line).empty()) continue;
    const size_t space = line.find(' ');
    const std::string text = text_of(line.substr(0, space)) + text_of(line.substr(space + 1));
    merges.add(std::to_string(id), token_text(id) == text, "\"" + line + "\" is not \"" + valid_utf8(token_text(id)) + "\"");
    if (ends_with(text, " ") && is_plain_word(std::string_view(text).substr(0, text.size() - 1))) {
      words.add(std::to_string(id), tokenize(text) == std::vector<int64_t>{id}, "\"" + text + "\" is read as other tokens");
    }
    ++id;
  }
  merges.add("the list", id == kStartToken, "ends at token " + std::to_string(id));
  check.exact("merges.txt", merges);
  check.exact("merges.txt, words of letters read as one token", words);
}

}  // namespace

void check_tokenizer_files(Check& check) {
  for (const auto& path : check.files(R"(tokenizer/vocab\.json)")) check.run("vocab.json", [&] { check_vocabulary(check, path); });
  for (const auto& path : check.files(R"(tokenizer/merges\.txt)")) check.run("merges.txt", [&] { check_merges(check, path); });
  check.files(R"(tokenizer/tokenizer_config\.json)");
}

}  // namespace lorikeet::oracle
