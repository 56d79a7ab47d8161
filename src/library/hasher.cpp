#include "library/hasher.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <system_error>

#include "base/descriptor.h"
#include "base/error.h"
#include "io/formats.h"
#include "io/hash.h"

namespace fs = std::filesystem;

namespace lorikeet {
namespace {

constexpr size_t kPiece = size_t{4} << 20;

void lower_priority() {
  constexpr int kWhoProcess = 1, kIdleClass = 3 << 13;  // linux/ioprio.h: IOPRIO_WHO_PROCESS, IOPRIO_CLASS_IDLE
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(::syscall(SYS_gettid)), 19);
  ::syscall(SYS_ioprio_set, kWhoProcess, 0, kIdleClass);
}

size_t read_piece(int fd, std::string& piece, const fs::path& path) {
  size_t have = 0;
  while (have < piece.size()) {
    const ssize_t got = ::read(fd, piece.data() + have, piece.size() - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error(ErrorKind::io, "cannot read " + path.filename().string() + ": " + std::generic_category().message(errno));
    if (got == 0) break;
    have += static_cast<size_t>(got);
  }
  return have;
}

}  // namespace

std::optional<FileHashes> hash_file(const fs::path& path, const std::atomic<bool>& stop) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  struct stat status {};
  if (file.fd < 0 || ::fstat(file.fd, &status) != 0)
    throw Error(errno == ENOENT ? ErrorKind::not_found : ErrorKind::io, "cannot open " + path.filename().string());
  if (!S_ISREG(status.st_mode)) throw Error(ErrorKind::bad_input, path.filename().string() + " is no file");
  Sha256 whole, tensors;
  std::string piece(kPiece, '\0');
  uint64_t at = 0, begin = 0;  // begin: of the tensors
  for (;;) {
    if (stop) return std::nullopt;
    const size_t size = read_piece(file.fd, piece, path);
    if (size == 0) break;
    const std::string_view bytes(piece.data(), size);
    if (at == 0 && looks_like_safetensors(bytes)) begin = safetensors_data_begin(bytes, static_cast<uint64_t>(status.st_size));
    whole.add(bytes);
    if (at + size > begin) tensors.add(bytes.substr(begin > at ? static_cast<size_t>(begin - at) : 0));
    // A library is larger than memory: it shall not drive out what others have read.
    ::posix_fadvise(file.fd, static_cast<off_t>(at), static_cast<off_t>(size), POSIX_FADV_DONTNEED);
    at += size;
  }
  return FileHashes{whole.digits(), tensors.digits()};
}

Hasher::Hasher(Index& index, std::function<void()> changed) : index_(index), changed_(std::move(changed)), thread_([this] { run(); }) {}

Hasher::~Hasher() {
  stop_ = true;
  {
    const std::lock_guard lock(mutex_);
    wanted_ = true;
  }
  woken_.notify_all();
  thread_.join();
}

void Hasher::wake() {
  {
    const std::lock_guard lock(mutex_);
    wanted_ = true;
  }
  woken_.notify_all();
}

bool Hasher::idle() const {
  const std::lock_guard lock(mutex_);
  return !wanted_ && !busy_;
}

void Hasher::run() {
  lower_priority();
  while (!stop_) {
    {
      std::unique_lock lock(mutex_);
      woken_.wait(lock, [&] { return wanted_; });
      wanted_ = false;
      busy_ = true;
    }
    try {
      hash_all();
    } catch (const std::exception&) {
      // The index cannot be written just now; the next scan wakes this again.
    }
    const std::lock_guard lock(mutex_);
    busy_ = false;
  }
}

void Hasher::hash_all() {
  constexpr int64_t kSome = 64;
  constexpr auto kBetween = std::chrono::seconds(10);  // whoever shows the list reads it again each time
  auto told = std::chrono::steady_clock::now();
  bool untold = false;
  for (auto work = index_.to_hash(kSome); !work.empty() && !stop_; work = index_.to_hash(kSome)) {
    for (const HashWork& one : work) {
      if (stop_) return;
      hash_one(one);
      untold = true;
      if (std::chrono::steady_clock::now() - told < kBetween) continue;
      changed_();
      untold = false;
      told = std::chrono::steady_clock::now();
    }
  }
  if (untold && !stop_) changed_();
}

void Hasher::hash_one(const HashWork& work) {
  std::optional<FileHashes> hashes = FileHashes{};
  try {
    std::error_code code;
    if (!fs::is_directory(work.path, code)) hashes = hash_file(work.path, stop_);
  } catch (const Error&) {
    // It stays without hashes until it changes.
  }
  if (hashes) index_.set_hashes(work, hashes->sha256, hashes->tensors_sha256);
}

}  // namespace lorikeet
