#include "io/hash.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <memory>

#include "base/error.h"
#include "io/formats.h"
#include "io/mapped_file.h"

namespace lorikeet {

std::string sha256(std::string_view bytes) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  const bool ok = context && EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1 &&
                  EVP_DigestUpdate(context.get(), bytes.data(), bytes.size()) == 1 &&
                  EVP_DigestFinal_ex(context.get(), digest.data(), &size) == 1;
  if (!ok) throw Error(ErrorKind::internal, "libcrypto cannot compute SHA-256");
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (unsigned i = 0; i < size; ++i) {
    text += kDigits[digest[i] >> 4];
    text += kDigits[digest[i] & 15];
  }
  return text;
}

std::string sha256_file(const std::filesystem::path& path) { return sha256(MappedFile::open(path)->bytes()); }

std::string auto_v2(const std::filesystem::path& path) { return sha256_file(path).substr(0, 10); }

std::string auto_v3(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  if (!looks_like_safetensors(file->bytes())) return sha256(file->bytes());
  return with_context("while hashing " + path.string(),
                      [&] { return sha256(file->bytes().substr(safetensors_data_begin(file->bytes()))); });
}

std::string legacy_model_hash(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  const std::string_view bytes = file->bytes();
  return sha256(bytes.substr(std::min<size_t>(0x100000, bytes.size()), 0x10000)).substr(0, 8);
}

}  // namespace lorikeet
