#include "io/hash.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/atomic_file.h"
#include "io/formats.h"
#include "io/mapped_file.h"

namespace lorikeet {

namespace {

constexpr size_t kPieceBytes = size_t{64} << 20;

// after_piece runs behind every 64 MiB: a mapped file then never stands in memory as a whole.
std::string sha256_in_pieces(std::string_view bytes, const std::function<void()>& after_piece) {
  Sha256 hash;
  for (size_t at = 0; at < bytes.size(); at += kPieceBytes) {
    hash.add(bytes.substr(at, kPieceBytes));
    after_piece();
  }
  return hash.digits();
}

std::filesystem::path cache_path() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache && *cache) return std::filesystem::path(cache) / "lorikeet" / "hashes.json";
  if (const char* home = std::getenv("HOME"); home && *home) return std::filesystem::path(home) / ".cache" / "lorikeet" / "hashes.json";
  return {};
}

nlohmann::json read_cache(const std::filesystem::path& path) {
  std::ifstream in(path);
  nlohmann::json cache = nlohmann::json::parse(in, nullptr, /*allow_exceptions=*/false);
  return cache.is_object() ? cache : nlohmann::json::object();
}

}  // namespace

struct Sha256::State {
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context{EVP_MD_CTX_new(), EVP_MD_CTX_free};

  static void check(bool ok) {
    if (!ok) throw Error(ErrorKind::internal, "libcrypto cannot compute SHA-256");
  }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  State::check(state_->context && EVP_DigestInit_ex(state_->context.get(), EVP_sha256(), nullptr) == 1);
}

Sha256::~Sha256() = default;

void Sha256::add(std::string_view bytes) { State::check(EVP_DigestUpdate(state_->context.get(), bytes.data(), bytes.size()) == 1); }

std::string Sha256::digits() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  State::check(EVP_DigestFinal_ex(state_->context.get(), digest.data(), &size) == 1);
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (unsigned i = 0; i < size; ++i) {
    text += kDigits[digest[i] >> 4];
    text += kDigits[digest[i] & 15];
  }
  return text;
}

std::string sha256(std::string_view bytes) {
  return sha256_in_pieces(bytes, [] {});
}

std::string sha256_file(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  return sha256_in_pieces(file->bytes(), [&] { file->release_pages(); });
}

std::string cached_sha256_file(const std::filesystem::path& path) {
  std::error_code failed;
  const std::string key = std::filesystem::absolute(path, failed).string();
  const auto size = static_cast<int64_t>(std::filesystem::file_size(path, failed));
  const auto changed = static_cast<int64_t>(std::filesystem::last_write_time(path, failed).time_since_epoch().count());
  const std::filesystem::path cache_file = cache_path();
  if (failed || cache_file.empty()) return sha256_file(path);
  const auto known = read_cache(cache_file).value(key, nlohmann::json());
  const auto is = [&](const char* field, int64_t value) {
    return known.is_object() && known.contains(field) && known[field].is_number_integer() && known[field] == value;
  };
  if (is("size", size) && is("changed", changed) && known.contains("sha256") && known["sha256"].is_string()) return known["sha256"];
  const std::string hash = sha256_file(path);
  try {
    auto cache = read_cache(cache_file);  // again: hashing took a while, and another process may have added to it
    cache[key] = {{"size", size}, {"changed", changed}, {"sha256", hash}};
    std::filesystem::create_directories(cache_file.parent_path(), failed);
    write_file_atomically(cache_file, cache.dump(1, ' ', false, nlohmann::json::error_handler_t::replace));
  } catch (const Error&) {
    // no cache then
  }
  return hash;
}

std::string auto_v2(const std::filesystem::path& path) { return cached_sha256_file(path).substr(0, 10); }

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
