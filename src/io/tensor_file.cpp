#include "io/tensor_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>

#include "base/descriptor.h"
#include "base/error.h"
#include "base/text.h"
#include "io/formats.h"

namespace lorikeet {
namespace {

// Less than `size` bytes when the file ends before.
std::string read_bytes(int fd, uint64_t offset, size_t size) {
  std::string bytes(size, '\0');
  size_t have = 0;
  while (have < size) {
    const ssize_t got = ::pread(fd, bytes.data() + have, size - have, static_cast<off_t>(offset + have));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error(ErrorKind::io, "cannot read the file: " + std::generic_category().message(errno));
    if (got == 0) break;
    have += static_cast<size_t>(got);
  }
  bytes.resize(have);
  return bytes;
}

// Null when the file is no safetensors file, or none that can be opened: open() then says what is wrong.
std::shared_ptr<const TensorFile> safetensors_header(const std::filesystem::path& path) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  struct stat status {};
  if (file.fd < 0 || ::fstat(file.fd, &status) != 0 || !S_ISREG(status.st_mode)) return nullptr;
  const auto size = static_cast<uint64_t>(status.st_size);
  std::string beginning = read_bytes(file.fd, 0, std::min<uint64_t>(size, size_t{16} << 10));
  if (!looks_like_safetensors(beginning)) return nullptr;
  const size_t end = safetensors_data_begin(beginning, size);
  if (end > beginning.size()) beginning += read_bytes(file.fd, beginning.size(), end - beginning.size());
  if (beginning.size() < end) throw Error(ErrorKind::bad_input, "the file became shorter while it was read", "try again");
  return parse_safetensors_header(path, std::string_view(beginning).substr(8, end - 8), size);
}

}  // namespace

std::string_view name(FileFormat format) {
  for (const auto& row : tensor_formats()) {
    if (row.id == format) return row.name;
  }
  return "unknown";
}

TensorFile::TensorFile(std::filesystem::path path, FileFormat format, std::map<std::string, std::string> metadata,
                       std::map<std::string, TensorEntry> tensors, std::vector<std::string> unread)
    : path_(std::move(path)), format_(format), metadata_(std::move(metadata)), tensors_(std::move(tensors)), unread_(std::move(unread)) {}

std::shared_ptr<const TensorFile> TensorFile::open(const std::filesystem::path& path) { return parse(MappedFile::open(path)); }

std::shared_ptr<const TensorFile> TensorFile::open_header(const std::filesystem::path& path) {
  if (auto header = with_context("while reading " + path.string(), [&] { return safetensors_header(path); })) return header;
  return open(path);
}

std::shared_ptr<const TensorFile> TensorFile::parse(std::shared_ptr<const MappedFile> file) {
  return with_context("while reading " + file->path().string(), [&]() -> std::shared_ptr<const TensorFile> {
    if (file->size() == 0) throw Error(ErrorKind::bad_input, "the file is empty", "its download or copy failed; get it again");
    for (const auto& format : tensor_formats()) {
      if (!format.recognise(file->bytes())) continue;
      auto parsed = format.parse(file);
      parsed->mapped_ = file;
      return parsed;
    }
    throw_not_a_tensor_file(file->bytes());
  });
}

Tensor TensorFile::read(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found != tensors_.end())
    return with_context("while reading tensor " + name + " of " + path_.string(), [&] { return found->second.view(); });
  std::vector<std::string> names;
  names.reserve(tensors_.size());
  for (const auto& [known, entry] : tensors_) names.push_back(known);
  throw Error(ErrorKind::not_found, path_.string() + " has no tensor \"" + name + "\"", did_you_mean(name, names));
}

std::vector<std::filesystem::path> shard_files(const std::filesystem::path& index_json) {
  const auto file = MappedFile::open(index_json);
  return with_context("while reading " + index_json.string(), [&] {
    const std::string_view text = file->bytes();
    // 16 MB: a real index has some 100 bytes for each of some 1000 tensors. The depth is bounded by that too.
    if (text.size() > (16U << 20)) throw Error(ErrorKind::bad_input, "the index of shards is too large");
    const auto limit_depth = [](int depth, nlohmann::json::parse_event_t, const nlohmann::json&) {
      if (depth > 16) throw Error(ErrorKind::bad_input, "the index of shards nests too deep");
      return true;
    };
    const auto json = nlohmann::json::parse(text.begin(), text.end(), limit_depth, false);
    const auto map = json.is_object() ? json.find("weight_map") : json.end();
    if (!json.is_object() || map == json.end() || !map->is_object() || map->empty()) {
      throw Error(ErrorKind::bad_input, "the file is no index of shards: it has no weight_map");
    }
    std::set<std::string> names;
    for (const auto& shard : *map) {
      if (!shard.is_string()) throw Error(ErrorKind::bad_input, "the weight_map holds something other than file names");
      names.insert(shard.get<std::string>());
    }
    std::vector<std::filesystem::path> paths;
    for (const auto& name : names) {
      if (name.empty() || name == "." || name == ".." || name.find_first_of(std::string_view("/\\\0", 3)) != name.npos) {
        throw Error(ErrorKind::bad_input, "the weight_map names \"" + name + "\", which is no plain file name");
      }
      paths.push_back(index_json.parent_path() / name);
      if (!std::filesystem::is_regular_file(paths.back())) {
        throw Error(ErrorKind::not_found, "the shard " + name + " is missing", "download all files of the folder");
      }
    }
    return paths;
  });
}

}  // namespace lorikeet
