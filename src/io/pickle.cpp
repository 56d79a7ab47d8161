// The stack machine of pickle (CPython, Lib/pickletools.py, lists all opcodes with their arguments).
#include "io/pickle.h"

#include <bit>
#include <charconv>
#include <cstring>
#include <unordered_map>

#include "base/error.h"
#include "base/text.h"

namespace lorikeet {
namespace {

// A checkpoint has some 15 values a tensor; 2 million are room for 130 000 tensors, and bound the memory of a hostile file.
constexpr size_t kMostNodes = 2'000'000, kMostOpcodes = 40'000'000;

[[noreturn]] void bad_pickle(const std::string& message) {
  throw Error(ErrorKind::bad_input, "the pickle is damaged: " + message, "download the file again");
}

uint32_t hex_at(std::string_view text, size_t at, size_t digits) {
  uint32_t value = 0;
  const std::string_view part = text.substr(std::min(at, text.size()), digits);
  const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value, 16);
  if (part.size() != digits || error != std::errc() || end != part.data() + part.size()) bad_pickle("a wrong escape in a text");
  return value;
}

// Protocol 0 writes texts with escapes: Latin-1 with \uXXXX and \UXXXXXXXX, or (Python 2's str) a quoted literal.
std::string unescape(std::string_view text, bool literal) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const char next = i + 1 < text.size() ? text[i + 1] : '\0';
    const size_t digits = next == 'u' && !literal ? 4 : next == 'U' && !literal ? 8 : next == 'x' && literal ? 2 : 0;
    if (text[i] != '\\' || (digits == 0 && !literal)) {
      literal ? out += text[i] : (append_utf8(out, static_cast<unsigned char>(text[i])), out);
      continue;
    }
    if (digits > 0) {
      const uint32_t code = hex_at(text, i + 2, digits);
      literal ? out += static_cast<char>(code) : (append_utf8(out, code), out);
      i += 1 + digits;
      continue;
    }
    constexpr std::string_view kFrom = "nrt\\'\"", kTo = "\n\r\t\\'\"";
    const size_t known = kFrom.find(next);
    if (known == kFrom.npos) bad_pickle("a wrong escape in a text");
    out += kTo[known];
    ++i;
  }
  return out;
}

class Machine {
 public:
  explicit Machine(std::string_view bytes) : bytes_(bytes) {}

  Pickle run() {
    for (size_t count = 0; count < kMostOpcodes; ++count) {
      const auto opcode = take<uint8_t>();
      if (opcode == '.') {
        const PickleRef root = pop();
        pickle_.finish(root, at_);
        return std::move(pickle_);
      }
      if (!literal(opcode) && !text(opcode) && !container(opcode) && !stack_or_memo(opcode) && !object(opcode)) {
        throw Error(ErrorKind::unsupported, "the pickle uses the unknown opcode " + std::to_string(opcode), "the file may be damaged");
      }
    }
    throw Error(ErrorKind::unsupported, "the pickle has too many opcodes");
  }

 private:
  // ---- the bytes

  std::string_view take_bytes(uint64_t count) {
    if (count > bytes_.size() - at_) bad_pickle("it ends too early");
    const std::string_view part = bytes_.substr(at_, count);
    at_ += count;
    return part;
  }
  template <class Integer>
  Integer take() {
    Integer value;
    std::memcpy(&value, take_bytes(sizeof(Integer)).data(), sizeof(Integer));
    return value;
  }
  std::string_view take_line() {
    const size_t end = bytes_.find('\n', at_);
    if (end == bytes_.npos) bad_pickle("it ends too early");
    const std::string_view line = bytes_.substr(at_, end - at_);
    at_ = end + 1;
    return line;
  }

  // ---- the stack

  bool push(PickleRef ref) {
    stack_.push_back(ref);
    return true;
  }
  bool push(PickleNode node) {
    if (pickle_.nodes().size() >= kMostNodes) throw Error(ErrorKind::unsupported, "the pickle has too many values");
    return push(pickle_.add(std::move(node)));
  }
  bool push_integer(int64_t value) { return push({.kind = PickleKind::integer, .integer = value}); }
  bool push_boolean(bool value) { return push({.kind = PickleKind::boolean, .integer = value}); }
  bool push_text(std::string_view text) { return push({.kind = PickleKind::text, .text = text}); }
  bool push_bytes(std::string_view bytes) { return push({.kind = PickleKind::bytes, .text = bytes}); }

  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  PickleRef top() const {
    if (stack_.size() <= floor()) bad_pickle("its stack is empty");
    return stack_.back();
  }
  PickleRef pop() {
    const PickleRef ref = top();
    stack_.pop_back();
    return ref;
  }
  std::vector<PickleRef> pop_many(size_t count) {
    if (stack_.size() < floor() + count) bad_pickle("its stack is empty");
    std::vector<PickleRef> items(stack_.end() - static_cast<std::ptrdiff_t>(count), stack_.end());
    stack_.resize(stack_.size() - count);
    return items;
  }
  std::vector<PickleRef> pop_to_mark() {
    if (marks_.empty()) bad_pickle("a mark is missing");
    auto items = pop_many(stack_.size() - marks_.back());
    marks_.pop_back();
    return items;
  }

  // ---- the opcodes, by what they do; false: not one of these

  bool literal(uint8_t opcode) {
    switch (opcode) {
      case 'N': return push(PickleNode{});
      case 0x88: return push_boolean(true);
      case 0x89: return push_boolean(false);
      case 'J': return push_integer(take<int32_t>());
      case 'K': return push_integer(take<uint8_t>());
      case 'M': return push_integer(take<uint16_t>());
      case 'I': return integer_line(take_line());
      case 'L': return integer_line(take_line());
      case 0x8a: return long_integer(take_bytes(take<uint8_t>()));
      case 0x8b: return long_integer(take_bytes(take<uint32_t>()));
      case 'F': return real_line(take_line());
      case 'G': return push({.kind = PickleKind::real, .real = std::bit_cast<double>(__builtin_bswap64(take<uint64_t>()))});
      default: return false;
    }
  }

  bool integer_line(std::string_view line) {
    if (line == "00" || line == "01") return push_boolean(line == "01");
    if (ends_with(line, "L")) line.remove_suffix(1);
    const auto value = parse_int(line);
    return value ? push_integer(*value) : push({.kind = PickleKind::big_integer, .text = line});
  }

  bool long_integer(std::string_view bytes) {
    if (bytes.size() > 8) return push({.kind = PickleKind::big_integer, .text = bytes});
    uint64_t value = 0;
    std::memcpy(&value, bytes.data(), bytes.size());
    const bool negative = !bytes.empty() && (bytes.back() & '\x80');
    if (negative && bytes.size() < 8) value |= ~uint64_t{0} << (8 * bytes.size());
    return push_integer(static_cast<int64_t>(value));
  }

  bool real_line(std::string_view line) {
    double value = 0;
    const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), value);
    if (error != std::errc() || end != line.data() + line.size()) bad_pickle("a wrong number");
    return push({.kind = PickleKind::real, .real = value});
  }

  bool text(uint8_t opcode) {
    switch (opcode) {
      case 'S': return quoted_line(take_line());
      case 'V': return push_text(pickle_.keep(unescape(take_line(), false)));
      case 'T': return push_text(take_bytes(take<uint32_t>()));
      case 'U': return push_text(take_bytes(take<uint8_t>()));
      case 'X': return push_text(take_bytes(take<uint32_t>()));
      case 0x8c: return push_text(take_bytes(take<uint8_t>()));
      case 0x8d: return push_text(take_bytes(take<uint64_t>()));
      case 'B': return push_bytes(take_bytes(take<uint32_t>()));
      case 'C': return push_bytes(take_bytes(take<uint8_t>()));
      case 0x8e: return push_bytes(take_bytes(take<uint64_t>()));
      case 0x96: return push_bytes(take_bytes(take<uint64_t>()));
      default: return false;
    }
  }

  bool quoted_line(std::string_view line) {
    const bool quotes = line.size() >= 2 && line.front() == line.back() && (line.front() == '\'' || line.front() == '"');
    if (!quotes) bad_pickle("a text without quotes");
    return push_text(pickle_.keep(unescape(line.substr(1, line.size() - 2), true)));
  }

  bool container(uint8_t opcode) {
    using enum PickleKind;
    switch (opcode) {
      case ')': return push({.kind = tuple});
      case ']': return push({.kind = list});
      case '}': return push({.kind = dict});
      case 0x8f: return push({.kind = set});
      case 't': return push({.kind = tuple, .items = pop_to_mark()});
      case 'l': return push({.kind = list, .items = pop_to_mark()});
      case 0x91: return push({.kind = set, .items = pop_to_mark()});
      case 'd': push({.kind = dict}); return pop_and_extend_new_dict();
      case 0x85: return push({.kind = tuple, .items = pop_many(1)});
      case 0x86: return push({.kind = tuple, .items = pop_many(2)});
      case 0x87: return push({.kind = tuple, .items = pop_many(3)});
      case 'a': return extend(list, pop_many(1));
      case 'e': return extend(list, pop_to_mark());
      case 's': return extend(dict, pop_many(2));
      case 'u': return extend(dict, pop_to_mark());
      case 0x90: return extend(set, pop_to_mark());
      default: return false;
    }
  }

  bool pop_and_extend_new_dict() {
    const PickleRef fresh = pop();
    auto items = pop_to_mark();
    push(fresh);
    return extend(PickleKind::dict, std::move(items));
  }

  // Adds to the container on top of the stack. What is added to an inert object is dropped with it.
  bool extend(PickleKind kind, std::vector<PickleRef> items) {
    PickleNode& target = pickle_.at(top());
    if (target.kind == PickleKind::call) return true;
    if (target.kind != kind) bad_pickle("it adds to something that is no container");
    if (kind == PickleKind::dict && items.size() % 2 != 0) bad_pickle("a key without a value");
    target.items.insert(target.items.end(), items.begin(), items.end());
    return true;
  }

  bool stack_or_memo(uint8_t opcode) {
    switch (opcode) {
      case '(': marks_.push_back(stack_.size()); return true;
      case '0': stack_.size() > floor() ? static_cast<void>(pop()) : static_cast<void>(pop_to_mark()); return true;
      case '1': pop_to_mark(); return true;
      case '2': return push(top());
      case 'p': return memoise(line_index());
      case 'q': return memoise(take<uint8_t>());
      case 'r': return memoise(take<uint32_t>());
      case 0x94: return memoise(memo_.size());
      case 'g': return recall(line_index());
      case 'h': return recall(take<uint8_t>());
      case 'j': return recall(take<uint32_t>());
      case 0x80: return take<uint8_t>() <= 5 || (bad_pickle("an unknown protocol"), false);
      case 0x95: take<uint64_t>(); return true;  // a frame is only a hint for reading ahead
      default: return false;
    }
  }

  uint64_t line_index() {
    const auto index = parse_int(take_line());
    if (!index || *index < 0) bad_pickle("a wrong memo index");
    return static_cast<uint64_t>(*index);
  }
  bool memoise(uint64_t index) {
    memo_[index] = top();
    return true;
  }
  bool recall(uint64_t index) {
    const auto found = memo_.find(index);
    if (found == memo_.end()) bad_pickle("it recalls what it has not stored");
    return push(found->second);
  }

  bool object(uint8_t opcode) {
    switch (opcode) {
      case 'c': {
        const std::string_view module = take_line();
        return global(module, take_line());
      }
      case 0x93: return stack_global();
      case 'P': return push_text(take_line()) && persistent();
      case 'Q': return persistent();
      case 'R':
      case 0x81: {
        const PickleRef arguments = pop();
        return call(pop(), arguments);
      }
      case 0x92: pop(); return object(0x81);  // keyword arguments only ever go to inert objects
      case 'i': return instance();
      case 'o': return object_from_mark();
      case 'b':
        pop();
        top();
        return true;  // the state of an object: inert, like the object
      default: return false;
    }
  }

  bool global(std::string_view module, std::string_view name) {
    if (module.size() + name.size() > 250) bad_pickle("a name of 250 letters");
    refuse_code(module, name);
    std::string spelled(module);
    spelled += ' ';
    spelled += name;
    return push({.kind = PickleKind::global, .text = pickle_.keep(std::move(spelled))});
  }

  bool stack_global() {
    const PickleNode& name = pickle_[pop()];
    const PickleNode& module = pickle_[pop()];
    if (name.kind != PickleKind::text || module.kind != PickleKind::text) bad_pickle("a name that is no text");
    return global(module.text, name.text);
  }

  bool persistent() {
    const PickleRef id = pop();
    return push({.kind = PickleKind::persistent, .items = {id}});
  }

  bool call(PickleRef callable, PickleRef arguments) {
    if (pickle_.nodes().size() >= kMostNodes) throw Error(ErrorKind::unsupported, "the pickle has too many values");
    return push(call_as_data(pickle_, callable, arguments));
  }

  bool instance() {
    const std::string_view module = take_line(), name = take_line();
    push({.kind = PickleKind::tuple, .items = pop_to_mark()});
    const PickleRef arguments = pop();
    global(module, name);
    return call(pop(), arguments);
  }

  bool object_from_mark() {
    auto items = pop_to_mark();
    if (items.empty()) bad_pickle("an object without a class");
    const PickleRef callable = items.front();
    items.erase(items.begin());
    push({.kind = PickleKind::tuple, .items = std::move(items)});
    return call(callable, pop());
  }

  std::string_view bytes_;
  size_t at_ = 0;
  Pickle pickle_;
  std::vector<PickleRef> stack_;
  std::vector<size_t> marks_;  // heights of the stack
  std::unordered_map<uint64_t, PickleRef> memo_;
};

}  // namespace

std::string_view Pickle::callable(const PickleNode& call) const {
  if (call.kind != PickleKind::call) return {};
  const PickleNode& callable = nodes_[call.items[0]];
  return callable.kind == PickleKind::global ? callable.text : std::string_view{};
}

PickleRef Pickle::add(PickleNode node) {
  nodes_.push_back(std::move(node));
  return static_cast<PickleRef>(nodes_.size() - 1);
}

void Pickle::charge(size_t copied_items) {
  copied_items_ += copied_items;
  if (copied_items_ > kMostNodes) throw Error(ErrorKind::unsupported, "the pickle copies too many values");
}

void Pickle::finish(PickleRef root, size_t size_in_file) {
  root_ = root;
  size_in_file_ = size_in_file;
}

Pickle read_pickle(std::string_view bytes) { return Machine(bytes).run(); }

}  // namespace lorikeet
