// torch.save before 1.6: five pickles (a magic number, the protocol, facts about the machine, the object, the list of storage
// keys), then each storage in the order of that list: its count of elements as int64, and the elements.
#include <cstring>

#include "base/error.h"
#include "base/text.h"
#include "io/formats.h"
#include "io/torch_pickle.h"

namespace lorikeet {
namespace {

// The first pickle: protocol 2, LONG1 of 10 bytes, 0x1950a86a20f9469cfc6c (torch/serialization.py, MAGIC_NUMBER).
constexpr std::string_view kMagic = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

struct Place {
  size_t begin;
  uint64_t size;  // bytes
};

std::map<std::string_view, uint64_t> element_sizes(const Pickle& pickle) {
  std::map<std::string_view, uint64_t> sizes;
  for (const auto& node : pickle.nodes()) {
    if (node.kind != PickleKind::persistent) continue;
    const PickleNode& id = pickle[node.items[0]];
    // Entries other than storages (the source text of a module) are allowed, as long as no tensor uses them.
    if (id.kind != PickleKind::tuple || id.items.empty() || pickle[id.items[0]].text != "storage") continue;
    const StorageId storage = read_storage_id(pickle, node);
    sizes.emplace(storage.key, storage.element_size());
  }
  return sizes;
}

std::map<std::string, Place> find_storages(std::string_view bytes, size_t at, const Pickle& keys,
                                           const std::map<std::string_view, uint64_t>& sizes) {
  if (keys.root().kind != PickleKind::list) bad_torch_file("the list of storages is missing");
  std::map<std::string, Place> places;
  for (const PickleRef ref : keys.root().items) {
    const std::string_view key = keys[ref].text;
    const auto size = sizes.find(key);
    if (keys[ref].kind != PickleKind::text || size == sizes.end()) bad_torch_file("the list of storages names one that no tensor uses");
    uint64_t count = 0;
    if (bytes.size() - at < 8) bad_torch_file("the file is truncated: the storage " + valid_utf8(key) + " is missing");
    std::memcpy(&count, bytes.data() + at, 8);
    at += 8;
    if (count > (bytes.size() - at) / size->second) bad_torch_file("the file is truncated within the storage " + valid_utf8(key));
    if (!places.emplace(key, Place{at, count * size->second}).second) bad_torch_file("the storage " + valid_utf8(key) + " occurs twice");
    at += count * size->second;
  }
  return places;
}

void check_machine(const Pickle& facts) {
  const PickleNode& root = facts.root();
  for (size_t i = 0; root.kind == PickleKind::dict && i + 1 < root.items.size(); i += 2) {
    if (facts[root.items[i]].text != "little_endian") continue;
    if (facts[root.items[i + 1]].integer == 0) throw Error(ErrorKind::unsupported, "the tensors are stored big-endian");
  }
}

}  // namespace

bool looks_like_torch_legacy(std::string_view bytes) { return starts_with(bytes, kMagic); }

std::shared_ptr<const TensorFile> parse_torch_legacy(std::shared_ptr<const MappedFile> file) {
  const std::string_view bytes = file->bytes();
  size_t at = kMagic.size();
  const auto next = [&] {
    Pickle pickle = read_pickle(bytes.substr(at));
    at += pickle.size_in_file();
    return pickle;
  };
  const Pickle protocol = next();
  if (protocol.root().kind != PickleKind::integer || protocol.root().integer != 1001) {
    throw Error(ErrorKind::unsupported, "the file uses an unknown version of torch's old format");
  }
  check_machine(next());
  const Pickle object = next();
  const Pickle keys = next();
  const auto places = find_storages(bytes, at, keys, element_sizes(object));
  const auto find = [&](const StorageId& id) -> TorchStorage {
    const auto found = places.find(std::string(id.key));
    if (found == places.end()) bad_torch_file("the storage " + valid_utf8(id.key) + " is missing");
    const Place place = found->second;
    return {place.size, [file, place] { return OwnedBytes{file, file->bytes().substr(place.begin, place.size)}; }};
  };
  auto contents = collect_torch_contents(object, find);
  return std::make_shared<TensorFile>(file->path(), FileFormat::torch_legacy, std::move(contents.metadata), std::move(contents.tensors),
                                      std::move(contents.unread));
}

}  // namespace lorikeet
