// Writing a safetensors file tensor by tensor, so that it never stands in memory as a whole: the header first, from names, types and
// shapes; then the tensors in the file's order; then the hashes that the header states about them. write_safetensors() (tensor_file.h) is
// the same at once.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/torch.h"
#include "io/atomic_file.h"
#include "io/hash.h"

namespace lorikeet {

struct TensorShape {
  std::string name;
  Dtype dtype;
  Shape shape;
};

// Entries of the metadata that hold a hash of the file itself. When asked to, the writer fills in those that the metadata has, whatever
// their text was.
//   sshs_model_hash        sha256 of the tensors' bytes, 64 digits (kohya's AddNet; AutoV3)
//   sshs_legacy_hash       8 digits of the sha256 of 64 KiB at 1 MiB of the file as it would be with no metadata but the ss_ entries
//   modelspec.hash_sha256  "0x" and the former (Stability's model specification)
inline constexpr std::string_view kModelHash = "sshs_model_hash", kLegacyHash = "sshs_legacy_hash", kSpecHash = "modelspec.hash_sha256";

class SafetensorsWriter {
 public:
  // Begins the file. Throws Error as write_safetensors().
  SafetensorsWriter(const std::filesystem::path& path, std::vector<TensorShape> tensors, std::map<std::string, std::string> metadata,
                    bool fill_hashes = false);
  ~SafetensorsWriter();  // without commit() nothing is left behind

  // In the order of the file, which is the order in which they must come.
  const std::vector<TensorShape>& tensors() const { return tensors_; }
  // The next one. Error{internal} when type or shape is not what was said.
  void write(const Tensor& tensor);
  // The file is in place when this returns. Error{internal} when tensors are missing.
  void commit();

 private:
  void add(std::string_view bytes);

  std::vector<TensorShape> tensors_;
  std::map<std::string, std::string> metadata_;
  AtomicFile file_;
  size_t next_ = 0;
  struct Hashes;
  std::unique_ptr<Hashes> hashes_;  // null: not wanted
};

}  // namespace lorikeet
