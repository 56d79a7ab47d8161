#include "io/tensor_file.h"

#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "io/formats.h"

namespace lorikeet {

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
