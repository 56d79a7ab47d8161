// torch.save since 1.6: a zip archive "<name>/data.pkl" and one stored entry "<name>/data/<key>" for each storage.
#include "base/error.h"
#include "base/text.h"
#include "io/formats.h"
#include "io/torch_pickle.h"

namespace lorikeet {
namespace {

// "<name>/" of the one data.pkl.
std::string find_folder(const ZipArchive& archive) {
  for (const auto& [name, entry] : archive.entries()) {
    const bool pickle = name == "data.pkl" || (ends_with(name, "/data.pkl") && split(name, '/').size() == 2);
    if (pickle) return std::string(name.substr(0, name.size() - 8));
  }
  throw Error(ErrorKind::bad_input, "the file is a zip archive, but not one of torch.save: it has no data.pkl",
              "where it holds a model, unpack it and choose the file within");
}

void check_supported(const ZipArchive& archive, const std::string& folder) {
  if (archive.find(folder + "constants.pkl") != nullptr) {
    throw Error(ErrorKind::unsupported, "the file is a TorchScript program, not a file of tensors",
                "save the model's state_dict() instead");
  }
  const ZipEntry* order = archive.find(folder + "byteorder");
  if (order != nullptr && archive.read(*order).bytes != "little") throw Error(ErrorKind::unsupported, "the tensors are stored big-endian");
}

}  // namespace

bool looks_like_torch_zip(std::string_view bytes) { return starts_with(bytes, "PK\x03\x04"); }

std::shared_ptr<const TensorFile> parse_torch_zip(std::shared_ptr<const MappedFile> file) {
  const auto archive = std::make_shared<const ZipArchive>(file);
  const std::string folder = find_folder(*archive);
  check_supported(*archive, folder);
  const OwnedBytes data = archive->read(*archive->find(folder + "data.pkl"));
  const auto find = [&](const StorageId& id) -> TorchStorage {
    const ZipEntry* entry = archive->find(folder + "data/" + std::string(id.key));
    if (entry == nullptr) throw Error(ErrorKind::bad_input, "the storage " + valid_utf8(id.key) + " is missing in the archive");
    return {entry->size, [archive, entry] { return archive->read(*entry); }};
  };
  auto contents = collect_torch_contents(read_pickle(data.bytes), find);
  return std::make_shared<TensorFile>(file->path(), FileFormat::torch_zip, std::move(contents.metadata), std::move(contents.tensors),
                                      std::move(contents.unread));
}

}  // namespace lorikeet
