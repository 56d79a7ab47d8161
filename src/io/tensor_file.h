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

namespace lorikeet {

enum class FileFormat { safetensors, torch_zip, torch_legacy };
std::string_view name(FileFormat format);

struct TensorEntry {
  std::string stored_dtype;      // the file's own word in safetensors' spelling: "F16", "BF16", "F8_E4M3", …
  Dtype dtype;                   // what read() gives: the stored one, float16 for F8 (exact), int64 for U16/U32/U64
  Shape shape;
  std::function<Tensor()> view;  // a view of the mapped file where dtype and layout allow it, else a copy; never write to it
};

class TensorFile {
 public:
  // Recognises the format by content, never by name. Throws Error (not_found, io, bad_input: what is wrong with the file,
  // unsupported) naming the path. A picture, a text file, an empty file, a git-lfs pointer, an html page are named as such.
  static std::shared_ptr<const TensorFile> open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  FileFormat format() const { return format_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }   // safetensors' __metadata__; scalars of a pickle
  const std::map<std::string, TensorEntry>& tensors() const { return tensors_; }     // nested dicts are joined by '.'; a lone
                                                                                      // "state_dict" level is taken off
  bool contains(const std::string& name) const { return tensors_.contains(name); }
  Tensor read(const std::string& name) const;  // Error{not_found} with the near names

  TensorFile(std::filesystem::path path, FileFormat format, std::map<std::string, std::string> metadata,
             std::map<std::string, TensorEntry> tensors);

 private:
  std::filesystem::path path_;
  FileFormat format_;
  std::map<std::string, std::string> metadata_;
  std::map<std::string, TensorEntry> tensors_;
};

// Writes a safetensors file atomically (temporary file beside it, fsync, rename). Tensors are made contiguous; order as
// the reference writer's: dtype size falling, then name. Throws Error{io} (disk full, folder not writable), and leaves no file behind.
void write_safetensors(const std::filesystem::path& path, const std::map<std::string, Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata);

}  // namespace lorikeet
