// The file formats of named tensors, one row each, and the names of files that are something else.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "io/mapped_file.h"
#include "io/tensor_file.h"

namespace lorikeet {

struct TensorFormat {
  FileFormat id;
  std::string_view name;                      // "safetensors"
  bool (*recognise)(std::string_view bytes);  // by content; may be true for a damaged file, so that its fault can be named
  std::shared_ptr<const TensorFile> (*parse)(std::shared_ptr<const MappedFile> file);
};
std::span<const TensorFormat> tensor_formats();

// What a file that no format recognises is, and what to do: "a PNG picture", … Throws Error{bad_input or unsupported}.
[[noreturn]] void throw_not_a_tensor_file(std::string_view bytes);

bool looks_like_safetensors(std::string_view bytes);
std::shared_ptr<const TensorFile> parse_safetensors(std::shared_ptr<const MappedFile> file);
// The size of the header with its 8 bytes of length: where the tensors begin. Throws Error{bad_input}.
size_t safetensors_data_begin(std::string_view bytes);
// The same from the file's first 8 bytes or more.
size_t safetensors_data_begin(std::string_view beginning, uint64_t file_size);
// Without the file: `header` is the JSON behind the length. Its tensors cannot be read (Error{internal}).
std::shared_ptr<const TensorFile> parse_safetensors_header(std::filesystem::path path, std::string_view header, uint64_t file_size);

bool looks_like_torch_zip(std::string_view bytes);
std::shared_ptr<const TensorFile> parse_torch_zip(std::shared_ptr<const MappedFile> file);

bool looks_like_torch_legacy(std::string_view bytes);
std::shared_ptr<const TensorFile> parse_torch_legacy(std::shared_ptr<const MappedFile> file);

}  // namespace lorikeet
