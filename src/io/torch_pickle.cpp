#include "io/torch_pickle.h"

#include <algorithm>
#include <array>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "io/stored_dtype.h"

namespace lorikeet {

void bad_torch_file(const std::string& message) { throw Error(ErrorKind::bad_input, message, "the file is damaged; download it again"); }

namespace {

struct TorchDtype {
  std::string_view storage, dtype, stored;  // torch's storage class and dtype, safetensors' word
};
constexpr std::array kTorchDtypes{
    TorchDtype{"FloatStorage", "float32", "F32"},
    TorchDtype{"HalfStorage", "float16", "F16"},
    TorchDtype{"BFloat16Storage", "bfloat16", "BF16"},
    TorchDtype{"DoubleStorage", "float64", "F64"},
    TorchDtype{"LongStorage", "int64", "I64"},
    TorchDtype{"IntStorage", "int32", "I32"},
    TorchDtype{"ShortStorage", "int16", "I16"},
    TorchDtype{"CharStorage", "int8", "I8"},
    TorchDtype{"ByteStorage", "uint8", "U8"},
    TorchDtype{"BoolStorage", "bool", "BOOL"},
    TorchDtype{"", "float8_e4m3fn", "F8_E4M3"},
    TorchDtype{"", "float8_e5m2", "F8_E5M2"},
    TorchDtype{"", "uint16", "U16"},
    TorchDtype{"", "uint32", "U32"},
    TorchDtype{"", "uint64", "U64"},
};

// "torch HalfStorage", "torch.cuda HalfStorage" -> "HalfStorage"
std::string_view last_word(std::string_view global) { return global.substr(global.find(' ') + 1); }

uint64_t count_of(const Pickle& pickle, PickleRef ref) {
  const PickleNode& node = pickle[ref];
  if (node.kind != PickleKind::integer || node.integer < 0) bad_torch_file("a size or offset in the pickle is not a whole number from 0 on");
  return static_cast<uint64_t>(node.integer);
}

Shape sizes_of(const Pickle& pickle, PickleRef ref) {
  const PickleNode& node = pickle[ref];
  if (node.kind != PickleKind::tuple && node.kind != PickleKind::list) bad_torch_file("a shape in the pickle is no tuple");
  if (node.items.size() > 64) bad_torch_file("a tensor has more than 64 dimensions");
  Shape shape;
  for (const PickleRef item : node.items) shape.push_back(static_cast<int64_t>(count_of(pickle, item)));
  return shape;
}

struct TensorPlan {
  StorageId storage;
  const StoredDtype* dtype;
  uint64_t offset;  // elements, from the beginning of the storage
  Shape shape, strides;
};

// storage, offset, size, stride, …: the common beginning of the arguments of torch._utils._rebuild_tensor and its successors.
TensorPlan plan_tensor(const Pickle& pickle, const std::vector<PickleRef>& arguments, bool has_dtype) {
  if (arguments.size() < (has_dtype ? 7U : 4U)) bad_torch_file("a tensor in the pickle lacks its storage, offset, size or stride");
  const PickleNode& storage = pickle[arguments[0]];
  if (storage.kind != PickleKind::persistent) bad_torch_file("a tensor in the pickle has no storage");
  TensorPlan plan{read_storage_id(pickle, storage), nullptr, count_of(pickle, arguments[1]), sizes_of(pickle, arguments[2]),
                  sizes_of(pickle, arguments[3])};
  plan.dtype = plan.storage.dtype;
  if (has_dtype) {
    const auto word = last_word(pickle[arguments[6]].text);
    const auto* row = std::ranges::find(kTorchDtypes, word, &TorchDtype::dtype);
    if (row == kTorchDtypes.end()) throw Error(ErrorKind::unsupported, "a tensor has the unknown dtype " + valid_utf8(word));
    plan.dtype = find_stored_dtype(row->stored);
  }
  if (plan.dtype == nullptr) bad_torch_file("a tensor in the pickle has no dtype");
  return plan;
}

// The arguments of the innermost torch._utils._rebuild_tensor…; nothing for a node that is no tensor.
std::optional<TensorPlan> find_tensor(const Pickle& pickle, const PickleNode& node, int depth = 0) {
  const std::string_view callable = pickle.callable(node);
  if (callable.empty() || pickle[node.items[1]].kind != PickleKind::tuple) return std::nullopt;
  const auto& arguments = pickle[node.items[1]].items;
  if (callable == "torch._utils _rebuild_tensor_v2" || callable == "torch._utils _rebuild_tensor")
    return plan_tensor(pickle, arguments, false);
  if (callable == "torch._utils _rebuild_tensor_v3") return plan_tensor(pickle, arguments, true);
  const bool parameter = starts_with(callable, "torch._utils _rebuild_parameter");
  if (parameter && !arguments.empty() && depth < 4) return find_tensor(pickle, pickle[arguments[0]], depth + 1);
  // _rebuild_from_type_v2(function, class, arguments, state): a tensor with attributes of its own.
  if (callable == "torch._tensor _rebuild_from_type_v2" && arguments.size() >= 3 && depth < 4) {
    return find_tensor(pickle, {.kind = PickleKind::call, .items = {arguments[0], arguments[2]}}, depth + 1);
  }
  if (starts_with(callable, "torch._utils _rebuild_")) {
    throw Error(ErrorKind::unsupported, "a tensor is stored by torch's " + valid_utf8(last_word(callable)),
                "save it as a plain dense tensor");
  }
  return std::nullopt;
}

TensorEntry make_entry(TensorPlan plan, const std::function<TorchStorage(const StorageId&)>& find) {
  const StorageId& id = plan.storage;
  TorchStorage storage = find(id);
  const auto element = static_cast<uint64_t>(plan.dtype->size);
  const uint64_t unit = id.element_size();
  if (id.count > storage.size / unit) bad_torch_file("the storage " + valid_utf8(id.key) + " is shorter than the pickle says");
  if (id.view_begin > id.count || id.view_count > id.count - id.view_begin)
    bad_torch_file("a part of the storage " + valid_utf8(id.key) + " is out of range");
  const uint64_t available = id.view_count * unit / element;  // in elements of the tensor
  const auto extent = checked_extent(plan.shape, plan.strides);
  if (!extent) bad_torch_file("the shape " + to_string(plan.shape) + " or its strides are impossible");
  if (plan.offset > available || static_cast<uint64_t>(*extent) > available - plan.offset) {
    bad_torch_file("a tensor of shape " + to_string(plan.shape) + " reaches beyond its storage of " + std::to_string(available) + " elements");
  }
  // Strides of 0 let few bytes pose as a huge tensor: expanded tensors are real, but small.
  const auto numel = static_cast<uint64_t>(*checked_numel(plan.shape));
  if (numel > available && numel > (1U << 24))
    bad_torch_file("a tensor of shape " + to_string(plan.shape) + " repeats a storage of " + std::to_string(available) + " elements");
  const uint64_t begin = id.view_begin * unit + plan.offset * element;
  auto view = [bytes = std::move(storage.bytes), begin, plan] {
    const OwnedBytes all = bytes();
    return tensor_at(all.owner, all.bytes.data() + begin, *plan.dtype, plan.shape, plan.strides);
  };
  return {std::string(plan.dtype->name), plan.dtype->dtype, plan.shape, std::move(view)};
}

std::optional<std::string> scalar_text(const PickleNode& node) {
  switch (node.kind) {
    case PickleKind::boolean: return node.integer ? "True" : "False";
    case PickleKind::integer: return std::to_string(node.integer);
    case PickleKind::real: return format_number(node.real);
    case PickleKind::text: return valid_utf8(node.text);
    default: return std::nullopt;
  }
}

std::string describe(const Pickle& pickle, const PickleNode& node) {
  switch (node.kind) {
    case PickleKind::dict: return "a dict";
    case PickleKind::list: return "a list";
    case PickleKind::tuple: return "a tuple";
    case PickleKind::set: return "a set";
    case PickleKind::bytes: return "bytes";
    case PickleKind::big_integer: return "a large number";
    case PickleKind::persistent: return "a storage";
    case PickleKind::global: return replace_all(valid_utf8(node.text), " ", ".");
    default: {
      const auto callable = pickle.callable(node);
      return callable.empty() ? "an object" : replace_all(valid_utf8(callable), " ", ".");
    }
  }
}

bool is_container(const PickleNode& node) {
  return node.kind == PickleKind::dict || node.kind == PickleKind::list || node.kind == PickleKind::tuple || node.kind == PickleKind::set;
}

// Walks the values, joining the keys by '.'. The pickle may share values and even hold itself: depth and count are bounded.
class Collector {
 public:
  Collector(const Pickle& pickle, const std::function<TorchStorage(const StorageId&)>& find) : pickle_(pickle), find_(find) {}

  TorchContents run() {
    const PickleNode& root = pickle_.root();
    const PickleNode* state_dict = root.kind == PickleKind::dict ? find_state_dict(root) : nullptr;
    if (state_dict != nullptr) {
      walk_beside(root, state_dict);
      walk(*state_dict, "", 0);
    } else if (is_container(root)) {
      walk(root, "", 0);
    } else {
      take(root, "tensor", 0);
    }
    if (out_.tensors.empty() && root.kind == PickleKind::call) {
      throw Error(ErrorKind::unsupported, "the file holds an object of " + describe(pickle_, root) + " instead of named tensors",
                  "save its state_dict()");
    }
    return std::move(out_);
  }

 private:
  std::string key_text(const PickleNode& key) const {
    if (key.kind == PickleKind::bytes) return valid_utf8(key.text);
    return scalar_text(key).value_or("");
  }

  const PickleNode* find_state_dict(const PickleNode& root) const {
    const PickleNode* found = nullptr;
    for (size_t i = 0; i + 1 < root.items.size(); i += 2) {
      const PickleNode& value = pickle_[root.items[i + 1]];
      if (key_text(pickle_[root.items[i]]) == "state_dict" && value.kind == PickleKind::dict) found = &value;
    }
    return found;
  }

  // What a trainer stores beside "state_dict": scalars are kept, optimiser states and the like are only named.
  void walk_beside(const PickleNode& root, const PickleNode* state_dict) {
    for (size_t i = 0; i + 1 < root.items.size(); i += 2) {
      const PickleNode& value = pickle_[root.items[i + 1]];
      const std::string key = key_text(pickle_[root.items[i]]);
      if (&value == state_dict) continue;
      if (!is_container(value)) {
        take(value, key, 0);
      } else if (!value.items.empty()) {
        out_.unread.push_back(key + " (" + describe(pickle_, value) + ")");
      }
    }
  }

  void walk(const PickleNode& node, const std::string& prefix, int depth) {
    if (depth > 64) bad_torch_file("the pickle nests deeper than 64 levels");
    const size_t step = node.kind == PickleKind::dict ? 2 : 1;
    for (size_t i = 0; i + step <= node.items.size(); i += step) {
      const std::string key = step == 2 ? key_text(pickle_[node.items[i]]) : std::to_string(i);
      const PickleNode& value = pickle_[node.items[i + step - 1]];
      if (is_container(value)) {
        count(prefix.size());
        walk(value, prefix + key + ".", depth + 1);
      } else {
        take(value, prefix + key, depth);
      }
    }
  }

  void count(size_t name_size) {
    letters_ += name_size;
    // Shared values make short pickles long: a checkpoint with optimiser states has some 10 000 entries.
    if (++visited_ > 1'000'000 || letters_ > (256U << 20)) throw Error(ErrorKind::unsupported, "the pickle has too many entries");
  }

  void take(const PickleNode& node, const std::string& name, int) {
    count(name.size());
    if (node.kind == PickleKind::none) return;
    if (const auto text = scalar_text(node)) {
      count(text->size());
      if (!out_.metadata.emplace(name, *text).second) bad_torch_file("two entries are named \"" + name + "\"");
      return;
    }
    auto plan = with_context("in tensor " + name, [&] { return find_tensor(pickle_, node); });
    if (!plan) {
      out_.unread.push_back(name + " (" + describe(pickle_, node) + ")");
      return;
    }
    auto entry = with_context("in tensor " + name, [&] { return make_entry(std::move(*plan), find_); });
    if (!out_.tensors.emplace(name, std::move(entry)).second) bad_torch_file("two tensors are named \"" + name + "\"");
  }

  const Pickle& pickle_;
  const std::function<TorchStorage(const StorageId&)>& find_;
  TorchContents out_;
  size_t visited_ = 0, letters_ = 0;
};

}  // namespace

uint64_t StorageId::element_size() const { return dtype == nullptr ? 1 : static_cast<uint64_t>(dtype->size); }

StorageId read_storage_id(const Pickle& pickle, const PickleNode& persistent) {
  const PickleNode& id = pickle[persistent.items[0]];
  const bool tuple = id.kind == PickleKind::tuple && id.items.size() >= 5 && pickle[id.items[0]].text == "storage";
  if (!tuple || pickle[id.items[1]].kind != PickleKind::global || pickle[id.items[2]].kind != PickleKind::text) {
    throw Error(ErrorKind::unsupported, "the pickle refers to something outside that is no storage of torch");
  }
  StorageId result{pickle[id.items[2]].text, nullptr, count_of(pickle, id.items[4]), 0, 0};
  const std::string_view type = last_word(pickle[id.items[1]].text);
  if (type != "UntypedStorage") {
    const auto* row = std::ranges::find(kTorchDtypes, type, &TorchDtype::storage);
    if (row == kTorchDtypes.end() || type.empty())
      throw Error(ErrorKind::unsupported, "tensors of torch's " + valid_utf8(type) + " are not supported");
    result.dtype = find_stored_dtype(row->stored);
  }
  result.view_count = result.count;
  if (id.items.size() >= 6 && pickle[id.items[5]].kind == PickleKind::tuple) {
    const auto& view = pickle[id.items[5]].items;  // key of the view, offset, size
    if (view.size() != 3) bad_torch_file("a part of a storage is described by " + std::to_string(view.size()) + " values, not 3");
    result.view_begin = count_of(pickle, view[1]);
    result.view_count = count_of(pickle, view[2]);
  }
  return result;
}

TorchContents collect_torch_contents(const Pickle& pickle, const std::function<TorchStorage(const StorageId&)>& find) {
  return Collector(pickle, find).run();
}

}  // namespace lorikeet
