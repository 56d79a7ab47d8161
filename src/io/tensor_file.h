// A file of named tensors, whatever its format: safetensors, torch's zip pickle, torch's legacy pickle.
// Opening reads the header only; the tensors are views of the memory-mapped file. See docs/formats.md.
#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/torch.h"
#include "io/mapped_file.h"

namespace lorikeet {

enum class FileFormat { safetensors, torch_zip, torch_legacy };
std::string_view name(FileFormat format);

struct TensorEntry {
  std::string stored_dtype;  // the file's own word in safetensors' spelling: "F16", "BF16", "F8_E4M3", …
  Dtype dtype;               // what read() gives: the stored one, float16 for F8 (exact), int64 for U16/U32/U64
  Shape shape;
  std::function<Tensor()> view;  // a view of the mapped file where dtype and layout allow it, else a copy; never write to it
};

class TensorFile {
 public:
  // Recognises the format by content, never by name. Throws Error (not_found, io, bad_input: what is wrong with the file,
  // unsupported) naming the path. A picture, a text file, an empty file, a git-lfs pointer, an html page are named as such.
  static std::shared_ptr<const TensorFile> open(const std::filesystem::path& path);
  // The header alone: of a safetensors file neither data nor mapping stays, so that another program may cut or rewrite it meanwhile;
  // read() of a tensor is Error{internal}. Other formats as open(). For looking through thousands of files. Same errors.
  static std::shared_ptr<const TensorFile> open_header(const std::filesystem::path& path);
  // As open(), over bytes that are already at hand. The tensors keep `file` alive.
  static std::shared_ptr<const TensorFile> parse(std::shared_ptr<const MappedFile> file);

  const std::filesystem::path& path() const { return path_; }
  FileFormat format() const { return format_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }  // safetensors' __metadata__; scalars of a pickle
  const std::map<std::string, TensorEntry>& tensors() const {
    return tensors_;
  }  // nested dicts are joined by '.'; a lone
     // "state_dict" level is taken off
  // See MappedFile: for whoever has made its own copy of the tensors, so that they are not in memory twice.
  void release_pages() const {
    if (mapped_) mapped_->release_pages();
  }
  // What a pickle holds beside tensors, scalars and texts: "callbacks (pytorch_lightning…ModelCheckpoint)". Nothing of it is used.
  const std::vector<std::string>& unread() const { return unread_; }
  bool contains(const std::string& name) const { return tensors_.contains(name); }
  Tensor read(const std::string& name) const;  // Error{not_found} with the near names

  TensorFile(std::filesystem::path path, FileFormat format, std::map<std::string, std::string> metadata,
             std::map<std::string, TensorEntry> tensors, std::vector<std::string> unread = {});

 private:
  std::filesystem::path path_;
  FileFormat format_;
  std::map<std::string, std::string> metadata_;
  std::map<std::string, TensorEntry> tensors_;
  std::vector<std::string> unread_;
  mutable std::shared_ptr<const MappedFile> mapped_;
};

// The distinct files that a sharded checkpoint's index ("model.safetensors.index.json") names, in the order of their names, as
// paths beside the index. Throws Error: bad_input (no index, a name that is a path), not_found (a shard is missing).
std::vector<std::filesystem::path> shard_files(const std::filesystem::path& index_json);

// Writes a safetensors file atomically (temporary file beside it, fsync, rename). Tensors are made contiguous; order as the
// reference writer's: dtype falling in its list (stored_dtype.h; wide types first), then name, so that hashes agree. Throws Error:
// io (disk full, folder not writable), bad_input (a name or text that is not UTF-8), unsupported (a dtype); leaves no file behind.
void write_safetensors(const std::filesystem::path& path, const std::map<std::string, Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata);

}  // namespace lorikeet
