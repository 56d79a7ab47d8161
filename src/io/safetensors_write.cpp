// Writing safetensors, in the order of the reference writer.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "io/atomic_file.h"
#include "io/stored_dtype.h"
#include "io/tensor_file.h"

namespace lorikeet {
namespace {

struct Item {
  const std::string* name;
  const Tensor* tensor;
  const StoredDtype* stored;
};

std::string quoted(const std::string& text) {
  if (!is_valid_utf8(text)) throw Error(ErrorKind::bad_input, "a name or a metadata text is not UTF-8: " + valid_utf8(text));
  return nlohmann::json(text).dump();
}

std::vector<Item> in_file_order(const std::map<std::string, Tensor>& tensors) {
  std::vector<Item> items;
  for (const auto& [name, tensor] : tensors) {
    if (name == "__metadata__") throw Error(ErrorKind::bad_input, "a tensor cannot be named __metadata__");
    if (!tensor.defined()) throw Error(ErrorKind::internal, "tensor \"" + name + "\" is undefined");
    const StoredDtype* stored = find_stored_dtype(tensor.scalar_type());
    if (stored == nullptr || tensor.layout() != torch::kStrided) {
      throw Error(ErrorKind::unsupported, "tensor \"" + name + "\" of type " + to_string(tensor.scalar_type()) + " cannot be stored");
    }
    items.push_back({&name, &tensor, stored});
  }
  // The map gives the names in order; the rows of stored_dtypes() are one array, so that addresses compare as ranks.
  std::ranges::stable_sort(items, [](const Item& a, const Item& b) { return a.stored > b.stored; });
  return items;
}

std::string make_header(const std::vector<Item>& items, const std::map<std::string, std::string>& metadata) {
  std::string header = "{";
  const auto begin_entry = [&header] { header += header.size() > 1 ? "," : ""; };
  if (!metadata.empty()) {
    header += "\"__metadata__\":{";
    const char* between = "";
    for (const auto& [key, value] : metadata) {
      header += between + quoted(key) + ":" + quoted(value);
      between = ",";
    }
    header += "}";
  }
  int64_t offset = 0;
  for (const auto& [name, tensor, stored] : items) {
    const int64_t end = offset + tensor->numel() * stored->size;
    begin_entry();
    header += quoted(*name) + ":{\"dtype\":\"" + std::string(stored->name) +
              "\",\"shape\":" + nlohmann::json(tensor->sizes().vec()).dump() + ",\"data_offsets\":[" + std::to_string(offset) + "," +
              std::to_string(end) + "]}";
    offset = end;
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');  // the tensors begin at a multiple of 8, as in the reference
  return header;
}

}  // namespace

void write_safetensors(const std::filesystem::path& path, const std::map<std::string, Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  const auto items = in_file_order(tensors);
  const std::string header = make_header(items, metadata);
  const uint64_t length = header.size();
  AtomicFile file(path);
  file.write({reinterpret_cast<const char*>(&length), 8});
  file.write(header);
  for (const auto& item : items) {
    const Tensor flat = item.tensor->detach().cpu().contiguous();
    if (flat.numel() > 0) file.write({static_cast<const char*>(flat.data_ptr()), static_cast<size_t>(flat.nbytes())});
  }
  file.commit();
}

}  // namespace lorikeet
