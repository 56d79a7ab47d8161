#include "prompt/tokenizer.h"

#include <algorithm>
#include <array>
#include <functional>
#include <queue>
#include <span>

#include "prompt/clip_data.h"
#include "prompt/text_repair.h"
#include "prompt/unicode.h"

namespace lorikeet {

namespace {
constexpr std::uint32_t kEndOfWord = 256;   // symbol of a byte that ends a word = symbol of the byte + kEndOfWord
constexpr std::uint32_t kFirstMerge = 512;  // symbol that merge 0 makes
constexpr std::u32string_view kSpecialTexts[] = {U"<|startoftext|>", U"<|endoftext|>"};
constexpr int64_t kSpecialTokens[] = {kStartToken, kEndToken};

// The symbol of each byte: printable bytes come first (OpenAI's bytes_to_unicode).
std::array<std::uint32_t, 256> number_bytes() {
  std::array<std::uint32_t, 256> symbols{};
  const auto printable = [](int b) { return (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE; };
  std::uint32_t next = 0;
  for (int b = 0; b < 256; ++b)
    if (printable(b)) symbols[b] = next++;
  for (int b = 0; b < 256; ++b)
    if (!printable(b)) symbols[b] = next++;
  return symbols;
}

const std::array<std::uint32_t, 256>& byte_symbols() {
  static const auto symbols = number_bytes();
  return symbols;
}

// pair of symbols -> number of the merge that joins them. Open addressing; built at first use in about a millisecond.
class MergeTable {
 public:
  static constexpr std::uint32_t kNone = UINT32_MAX;
  MergeTable() : slots_(kSlots, {kNone, kNone}) {
    const auto merges = clip_merges();
    for (std::uint32_t rank = 0; rank < merges.size(); ++rank) {
      size_t at = place(merges[rank]);
      while (slots_[at].rank != kNone) at = (at + 1) % kSlots;
      slots_[at] = {merges[rank], rank};
    }
  }
  std::uint32_t rank(std::uint32_t left, std::uint32_t right) const {
    const std::uint32_t pair = left << 16 | right;
    for (size_t at = place(pair);; at = (at + 1) % kSlots)
      if (slots_[at].pair == pair || slots_[at].rank == kNone) return slots_[at].rank;
  }

 private:
  static constexpr size_t kSlots = 1 << 17;
  static size_t place(std::uint32_t pair) { return (pair * 2654435769U) >> 15; }  // Knuth's multiplicative hash, 17 bits
  struct Slot {
    std::uint32_t pair, rank;
  };
  std::vector<Slot> slots_;
};

const MergeTable& merge_table() {
  static const MergeTable table;
  return table;
}

// The symbols of one word, joined by always taking the most wanted merge, the leftmost first.
class Word {
 public:
  explicit Word(std::string_view bytes) : nodes_(bytes.size()) {
    for (int i = 0; i < size(); ++i) nodes_[i] = {byte_symbols()[static_cast<unsigned char>(bytes[i])], i - 1, i + 1};
    nodes_.back().symbol += kEndOfWord;
    for (int i = 0; i + 1 < size(); ++i) offer(i);
  }

  void append_ids(std::vector<int64_t>& ids) {
    while (!queue_.empty()) {
      const auto [rank, at] = queue_.top();
      queue_.pop();
      if (nodes_[at].symbol != kGone && rank == rank_at(at)) join(at, rank);
    }
    for (int i = 0; i < size(); i = nodes_[i].next) ids.push_back(nodes_[i].symbol);
  }

 private:
  static constexpr std::uint32_t kGone = UINT32_MAX;
  struct Node {
    std::uint32_t symbol;
    int previous, next;
  };
  using Candidate = std::pair<std::uint32_t, int>;  // rank, place

  int size() const { return static_cast<int>(nodes_.size()); }
  std::uint32_t rank_at(int at) const {
    const int next = nodes_[at].next;
    return next < size() ? merge_table().rank(nodes_[at].symbol, nodes_[next].symbol) : MergeTable::kNone;
  }
  void offer(int at) {
    if (const auto rank = rank_at(at); rank != MergeTable::kNone) queue_.emplace(rank, at);
  }
  void join(int at, std::uint32_t rank) {
    const int right = nodes_[at].next;
    nodes_[at] = {kFirstMerge + rank, nodes_[at].previous, nodes_[right].next};
    nodes_[right].symbol = kGone;
    if (nodes_[at].next < size()) nodes_[nodes_[at].next].previous = at;
    offer(at);
    if (nodes_[at].previous >= 0) offer(nodes_[at].previous);
  }

  std::vector<Node> nodes_;
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue_;
};

// Length of "'s", "'t", "'re", "'ve", "'m", "'ll", "'d" at the start of the text, else 0. The long s counts as s.
size_t contraction_length(std::u32string_view text) {
  if (text[0] != U'\'' || text.size() < 2) return 0;
  const char32_t a = text[1], b = text.size() > 2 ? text[2] : U' ';
  if ((a == U'r' && b == U'e') || (a == U'v' && b == U'e') || (a == U'l' && b == U'l')) return 3;
  return a == U's' || a == U'ſ' || a == U't' || a == U'm' || a == U'd' ? 2 : 0;
}

// Length of the next token of CLIP's pattern: a contraction, letters, one number character, or a run of anything else.
size_t word_length(std::u32string_view text) {
  if (const size_t length = contraction_length(text)) return length;
  if (unicode::is_number(text[0])) return 1;
  const bool letters = unicode::is_letter(text[0]);
  size_t length = 1;
  while (length < text.size()) {
    const char32_t c = text[length];
    const bool letter = unicode::is_letter(c);
    if (letters ? !letter : letter || unicode::is_number(c) || unicode::is_space(c)) break;
    ++length;
  }
  return length;
}

std::u32string collapse_white_space(std::u32string_view text) {
  std::u32string result;
  for (const char32_t c : unicode::trim(text)) {
    if (!unicode::is_space(c)) {
      result += c;
    } else if (result.back() != U' ') {
      result += U' ';
    }
  }
  return result;
}

// Which special token's text stands at the start, or -1.
int special_at(std::u32string_view text) {
  for (int i = 0; i < 2; ++i)
    if (text.substr(0, kSpecialTexts[i].size()) == kSpecialTexts[i]) return i;
  return -1;
}

void tokenize_plain(std::u32string_view raw, std::vector<int64_t>& ids) {
  const std::u32string cleaned = unicode::lower(collapse_white_space(repair_text(raw)));
  for (std::u32string_view text = cleaned; !text.empty();) {
    if (text[0] == U' ') {
      text.remove_prefix(1);
    } else if (const int special = special_at(text); special >= 0) {
      ids.push_back(kSpecialTokens[special]);
      text.remove_prefix(kSpecialTexts[special].size());
    } else {
      const size_t length = word_length(text);
      Word(unicode::encode(text.substr(0, length))).append_ids(ids);
      text.remove_prefix(length);
    }
  }
}
}  // namespace

std::vector<int64_t> tokenize(std::string_view text) {
  std::vector<int64_t> ids;
  const std::u32string raw = unicode::decode(text);
  size_t begin = 0;
  for (size_t i = raw.find(U'<'); i != std::u32string::npos; i = raw.find(U'<', i + 1)) {
    const int special = special_at(std::u32string_view(raw).substr(i));
    if (i < begin || special < 0) continue;
    tokenize_plain(std::u32string_view(raw).substr(begin, i - begin), ids);
    ids.push_back(kSpecialTokens[special]);
    begin = i + kSpecialTexts[special].size();
  }
  tokenize_plain(std::u32string_view(raw).substr(begin), ids);
  return ids;
}

std::string token_text(int64_t id) {
  if (id >= kStartToken || id < 0) return id == kStartToken ? "<|startoftext|>" : id == kEndToken ? "<|endoftext|>" : "";
  if (id >= kFirstMerge) {
    const auto pair = clip_merges()[static_cast<size_t>(id - kFirstMerge)];
    return token_text(pair >> 16) + token_text(pair & 0xFFFF);
  }
  const auto& symbols = byte_symbols();
  const auto byte = std::find(symbols.begin(), symbols.end(), id % kEndOfWord) - symbols.begin();
  return std::string(1, static_cast<char>(byte)) + (id >= kEndOfWord ? " " : "");
}

}  // namespace lorikeet
