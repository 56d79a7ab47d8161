#include "io/formats.h"

#include <array>

#include "base/error.h"
#include "base/text.h"

namespace lorikeet {
namespace {

// To add a format: io/<format>.cpp and one line here.
constexpr std::array<TensorFormat, 3> kFormats{{
    {FileFormat::safetensors, "safetensors", looks_like_safetensors, parse_safetensors},
    {FileFormat::torch_zip, "torch zip", looks_like_torch_zip, parse_torch_zip},
    {FileFormat::torch_legacy, "torch legacy", looks_like_torch_legacy, parse_torch_legacy},
}};

struct Foreign {
  size_t at;              // where the mark stands
  std::string_view mark;  // compared in lower case
  std::string_view what, hint;
};

constexpr std::string_view kPicture = "open it as a picture; wanted is a file of tensors (.safetensors, .ckpt, .pt)";
constexpr std::string_view kDownload = "the download gave a page instead of the file; download the file itself, logged in where needed";
constexpr std::string_view kUnpack = "unpack it first";
constexpr std::string_view kConvert = "convert it to safetensors";

constexpr std::array kForeign{
    Foreign{0, "\x89png\r\n", "a PNG picture", kPicture},
    Foreign{0, "\xff\xd8\xff", "a JPEG picture", kPicture},
    Foreign{8, "webp", "a WebP picture", kPicture},
    Foreign{0, "gif8", "a GIF picture", kPicture},
    Foreign{0, "version https://git-lfs", "a git-lfs pointer, not the file itself",
            "run \"git lfs pull\" in its folder, or download the file itself"},
    Foreign{0, "<!doctype html", "an HTML page", kDownload},
    Foreign{0, "<html", "an HTML page", kDownload},
    Foreign{0, "gguf", "a GGUF file, which is not supported", kConvert},
    Foreign{0, "ggml", "a GGML file, which is not supported", kConvert},
    Foreign{0, "\x89hdf\r\n", "an HDF5 file (Keras), which is not supported", kConvert},
    Foreign{257, "ustar", "a tar archive (torch's format before 2017), which is not supported",
            "load and save it with a newer torch, or unpack it"},
    Foreign{0, "\x1f\x8b", "a gzip archive", kUnpack},
    Foreign{0, "7z\xbc\xaf\x27\x1c", "a 7z archive", kUnpack},
    Foreign{0, "rar!", "a RAR archive", kUnpack},
};

bool is_text(std::string_view bytes) {
  // Only a prefix is looked at; it may cut the last character.
  std::string_view head = bytes.substr(0, 512);
  for (int cut = 0; cut < 4 && !head.empty() && !is_valid_utf8(head); ++cut) head.remove_suffix(1);
  if (!is_valid_utf8(head)) return false;
  for (const char c : head) {
    if (static_cast<unsigned char>(c) < 32 && c != '\n' && c != '\r' && c != '\t') return false;
  }
  return true;
}

}  // namespace

std::span<const TensorFormat> tensor_formats() { return kFormats; }

void throw_not_a_tensor_file(std::string_view bytes) {
  const std::string head = lower(bytes.substr(0, 512));
  for (const auto& row : kForeign) {
    if (head.size() < row.at || !starts_with(std::string_view(head).substr(row.at), row.mark)) continue;
    const bool unsupported = row.what.find("not supported") != row.what.npos;
    throw Error(unsupported ? ErrorKind::unsupported : ErrorKind::bad_input, "this is " + std::string(row.what), std::string(row.hint));
  }
  const std::string wanted = "wanted is a file of tensors (.safetensors, .ckpt, .pt)";
  const bool pickle = bytes.size() > 2 && bytes[0] == '\x80' && bytes[1] >= 0 && bytes[1] <= 5;
  if (pickle) throw Error(ErrorKind::unsupported, "this is a Python pickle that was not written by torch.save", std::string(kConvert));
  if (is_text(bytes)) {
    const bool html = head.find("<html") != head.npos;
    throw Error(ErrorKind::bad_input, html ? "this is an HTML page" : "this is a text file", html ? std::string(kDownload) : wanted);
  }
  throw Error(ErrorKind::bad_input, "this is no file of tensors that Lorikeet knows", wanted + "; the file may be damaged");
}

}  // namespace lorikeet
