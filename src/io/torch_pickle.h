// What torch.save writes into a pickle, as named tensors: shared by the zip and the legacy container (torch_zip.cpp,
// torch_legacy.cpp), which know where the storages lie.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "io/pickle.h"
#include "io/tensor_file.h"
#include "io/zip.h"

namespace lorikeet {

// Error{bad_input} with this message, for files that are damaged.
[[noreturn]] void bad_torch_file(const std::string& message);

// The raw bytes of a storage, little-endian elements without a header.
struct TorchStorage {
  uint64_t size;                      // bytes
  std::function<OwnedBytes()> bytes;  // asked for when a tensor is read
};

// A storage as the pickle names it: ("storage", torch.HalfStorage, "17", "cpu", 4096[, view]).
struct StorageId {
  std::string_view key;
  const struct StoredDtype* dtype;  // null: torch.UntypedStorage, the tensor says it, and counts are bytes
  uint64_t count;                   // elements
  uint64_t view_begin, view_count;  // the part that is meant, in elements (legacy files only; else all)
  uint64_t element_size() const;
};
// Throws Error: bad_input, unsupported (complex or quantised storages). `persistent`: a node of that kind.
StorageId read_storage_id(const Pickle& pickle, const PickleNode& persistent);

struct TorchContents {
  std::map<std::string, std::string> metadata;
  std::map<std::string, TensorEntry> tensors;
  std::vector<std::string> unread;
};
// `find`: the storage of a key; Error{bad_input} when there is none. All shapes, strides and offsets are checked against it.
TorchContents collect_torch_contents(const Pickle& pickle, const std::function<TorchStorage(const StorageId&)>& find);

}  // namespace lorikeet
