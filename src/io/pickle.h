// Python's pickle, protocols 0 to 5, read as data: the result is a tree that says "call this with that", and nothing is ever
// called. What is known to be harmless (OrderedDict, torch.Size, numpy's scalars, …) is reduced to plain values (pickle_calls.cpp);
// what could only serve to run code (os.system, eval, …) is refused; all other classes stay as inert calls.
#pragma once
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace lorikeet {

enum class PickleKind : uint8_t {
  none,
  boolean,
  integer,
  big_integer,
  real,
  text,
  bytes,
  tuple,
  list,
  dict,
  set,
  global,
  call,
  persistent
};

using PickleRef = uint32_t;  // index of a node

struct PickleNode {
  PickleKind kind = PickleKind::none;
  int64_t integer = 0;  // boolean, integer
  double real = 0;
  std::string_view text{};         // text, bytes; global: "module name"; big_integer: its little-endian bytes
  std::vector<PickleRef> items{};  // tuple, list, set: elements; dict: key, value, key, …; call: callable, arguments; persistent: id
};

// Nodes refer to each other by index, in any shape, cycles included: whoever walks them bounds depth and count.
class Pickle {
 public:
  const PickleNode& operator[](PickleRef ref) const { return nodes_[ref]; }
  const PickleNode& root() const { return nodes_[root_]; }
  PickleRef root_ref() const { return root_; }
  size_t size_in_file() const { return size_in_file_; }
  const std::vector<PickleNode>& nodes() const { return nodes_; }

  // "torch._utils _rebuild_tensor_v2" of a call whose callable is a global, else "".
  std::string_view callable(const PickleNode& call) const;

  // For the reader.
  PickleRef add(PickleNode node);
  std::string_view keep(std::string text) { return kept_.emplace_back(std::move(text)); }
  PickleNode& at(PickleRef ref) { return nodes_[ref]; }
  void charge(size_t copied_items);  // bounds what copying may cost; Error{unsupported} beyond
  void finish(PickleRef root, size_t size_in_file);

 private:
  std::vector<PickleNode> nodes_;
  std::deque<std::string> kept_;  // texts that are not in the file as such
  PickleRef root_ = 0;
  size_t copied_items_ = 0;
  size_t size_in_file_ = 0;
};

// Reads one pickle at the beginning of `bytes` (more may follow); texts of the result are views of `bytes`.
// Throws Error: bad_input (damaged), unsupported (code, unknown opcodes, more than 2 million values).
Pickle read_pickle(std::string_view bytes);

// The value that calling `global` ("module name") with these arguments has, where it is known and harmless; else an inert call.
PickleRef call_as_data(Pickle& pickle, PickleRef callable, PickleRef arguments);

// Throws Error{unsupported} when `module`.`name` can only serve to run code.
void refuse_code(std::string_view module, std::string_view name);

}  // namespace lorikeet
