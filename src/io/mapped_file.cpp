#include "io/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "base/descriptor.h"
#include "base/error.h"

namespace lorikeet {
namespace {

[[noreturn]] void throw_open_error(const std::filesystem::path& path, int code) {
  const std::string name = path.string();
  if (code == ENOENT || code == ENOTDIR) throw Error(ErrorKind::not_found, "there is no file " + name, "check the path and its spelling");
  if (code == EACCES || code == EPERM) throw Error(ErrorKind::io, "no permission to read " + name, "change the file's owner or mode");
  throw Error(ErrorKind::io, "cannot open " + name + ": " + std::generic_category().message(code));
}

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a named pipe must not wait for its writer.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) throw_open_error(path, errno);
  const Descriptor guard{fd};
  struct stat status {};
  if (::fstat(fd, &status) != 0) throw_open_error(path, errno);
  if (S_ISDIR(status.st_mode)) throw Error(ErrorKind::bad_input, path.string() + " is a folder, a file is wanted");
  if (!S_ISREG(status.st_mode)) throw Error(ErrorKind::bad_input, path.string() + " is no regular file (a device, a pipe or a socket)");

  std::shared_ptr<MappedFile> file(new MappedFile(path));
  if (status.st_size == 0) return file;
  const auto size = static_cast<size_t>(status.st_size);
  void* mapping = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (mapping == MAP_FAILED) {
    throw Error(errno == ENOMEM ? ErrorKind::out_of_memory : ErrorKind::io,
                "cannot map " + path.string() + " into memory: " + std::generic_category().message(errno));
  }
  file->mapping_ = mapping;
  file->bytes_ = {static_cast<const char*>(mapping), size};
  return file;
}

std::shared_ptr<const MappedFile> MappedFile::from_bytes(std::string bytes, std::filesystem::path name) {
  std::shared_ptr<MappedFile> file(new MappedFile(std::move(name)));
  file->owned_ = std::move(bytes);
  file->bytes_ = file->owned_;
  return file;
}

MappedFile::~MappedFile() {
  if (mapping_) ::munmap(mapping_, bytes_.size());
}

void MappedFile::release_pages() const {
  if (mapping_) ::madvise(mapping_, bytes_.size(), MADV_DONTNEED);
}

}  // namespace lorikeet
