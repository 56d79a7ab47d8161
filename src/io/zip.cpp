#include "io/zip.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/text.h"

namespace lorikeet {
namespace {

constexpr const char* kDamagedZip = "the file is damaged or truncated; download it again";

[[noreturn]] void bad_zip(const std::string& message) { throw Error(ErrorKind::bad_input, message, kDamagedZip); }

template <class Integer>
Integer get(std::string_view bytes, size_t at) {
  if (at > bytes.size() || bytes.size() - at < sizeof(Integer))
    bad_zip("the zip archive is damaged: a record lies beyond the end of the file");
  Integer value;
  std::memcpy(&value, bytes.data() + at, sizeof(Integer));
  return value;
}

std::string_view slice(std::string_view bytes, uint64_t at, uint64_t size) {
  if (at > bytes.size() || bytes.size() - at < size) bad_zip("the zip archive is damaged: an entry lies beyond the end of the file");
  return bytes.substr(at, size);
}

struct Directory {
  uint64_t begin, entries;
};

// The record at the end of the archive, which may be followed by a comment of up to 64 KiB.
size_t find_end_record(std::string_view bytes) {
  constexpr size_t kRecord = 22;
  if (bytes.size() >= kRecord) {
    const size_t last = bytes.size() - kRecord, first = last > 0xFFFF ? last - 0xFFFF : 0;
    for (size_t at = last + 1; at-- > first;) {
      if (starts_with(bytes.substr(at), "PK\x05\x06") && at + kRecord + get<uint16_t>(bytes, at + 20) <= bytes.size()) return at;
    }
  }
  bad_zip("the file is truncated: it is a zip archive without the directory at its end");
}

Directory find_directory(std::string_view bytes) {
  const size_t end = find_end_record(bytes);
  Directory directory{get<uint32_t>(bytes, end + 16), get<uint16_t>(bytes, end + 10)};
  const bool wide = directory.begin == 0xFFFFFFFF || directory.entries == 0xFFFF || get<uint32_t>(bytes, end + 12) == 0xFFFFFFFF;
  if (!wide || end < 20 || !starts_with(bytes.substr(end - 20), "PK\x06\x07")) return directory;
  const uint64_t record = get<uint64_t>(bytes, end - 20 + 8);
  if (slice(bytes, record, 56).substr(0, 4) != "PK\x06\x06") bad_zip("the zip archive is damaged: its 64-bit directory record is missing");
  return {get<uint64_t>(bytes, record + 48), get<uint64_t>(bytes, record + 32)};
}

// The sizes and the place of an entry; the zip64 extra field holds those that do not fit into 32 bits, in this order.
struct Extent {
  uint64_t size, packed, header;
};

void widen(Extent& extent, std::string_view extra) {
  for (size_t at = 0; at + 4 <= extra.size();) {
    const auto id = get<uint16_t>(extra, at), length = get<uint16_t>(extra, at + 2);
    const std::string_view field = slice(extra, at + 4, length);
    size_t next = 0;
    for (uint64_t* value : {&extent.size, &extent.packed, &extent.header}) {
      if (id != 1 || *value != 0xFFFFFFFF) continue;
      *value = get<uint64_t>(field, next);
      next += 8;
    }
    at += 4 + size_t{length};
  }
}

std::shared_ptr<const std::string> inflate_entry(const ZipEntry& entry) {
  auto bytes = std::make_shared<std::string>(entry.size, '\0');
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) throw Error(ErrorKind::out_of_memory, "zlib cannot begin to unpack");
  size_t in = 0, out = 0;
  int status = Z_OK;
  while (status == Z_OK) {  // zlib counts in 32 bits
    constexpr size_t kMost = 1U << 30;
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(entry.packed.data() + in));
    stream.avail_in = static_cast<uInt>(std::min(entry.packed.size() - in, kMost));
    stream.next_out = reinterpret_cast<Bytef*>(bytes->data() + out);
    stream.avail_out = static_cast<uInt>(std::min(bytes->size() - out, kMost));
    const uInt in_before = stream.avail_in, out_before = stream.avail_out;
    status = inflate(&stream, Z_NO_FLUSH);
    in += in_before - stream.avail_in;
    out += out_before - stream.avail_out;
  }
  inflateEnd(&stream);
  if (status != Z_STREAM_END || out != entry.size) bad_zip("an entry of the zip archive cannot be unpacked");
  const uLong crc = crc32_z(0, reinterpret_cast<const Bytef*>(bytes->data()), bytes->size());
  if (crc != entry.crc) bad_zip("an entry of the zip archive has a wrong checksum");
  return bytes;
}

}  // namespace

ZipArchive::ZipArchive(std::shared_ptr<const MappedFile> file) : file_(std::move(file)) { read_directory(); }

void ZipArchive::read_directory() {
  const Directory directory = find_directory(file_->bytes());
  size_t at = directory.begin;
  for (uint64_t i = 0; i < directory.entries; ++i) at = read_directory_entry(at);

  // Weights do not shrink to a hundredth. The sum counts: entries of a bomb share the same packed bytes.
  constexpr uint64_t kMostRatio = 100, kAlwaysAllowed = 64U << 20;
  uint64_t unpacked = 0;
  for (const auto& [name, entry] : entries_) {
    if (!entry.deflated) continue;
    if (__builtin_add_overflow(unpacked, entry.size, &unpacked)) unpacked = ~uint64_t{0};
    if (unpacked <= kAlwaysAllowed || unpacked / kMostRatio <= file_->size()) continue;
    throw Error(ErrorKind::unsupported, "the archive of " + std::to_string(file_->size()) + " bytes would unpack to " +
                                            std::to_string(unpacked) + " or more; this looks like a zip bomb");
  }
}

size_t ZipArchive::read_directory_entry(size_t at) {
  const std::string_view bytes = file_->bytes();
  constexpr size_t kRecord = 46, kLocalRecord = 30;
  if (slice(bytes, at, kRecord).substr(0, 4) != "PK\x01\x02") bad_zip("the zip archive is damaged: its directory has a wrong entry");
  const auto flags = get<uint16_t>(bytes, at + 8), method = get<uint16_t>(bytes, at + 10);
  const auto crc = get<uint32_t>(bytes, at + 16);
  const size_t name_size = get<uint16_t>(bytes, at + 28), extra_size = get<uint16_t>(bytes, at + 30),
               comment_size = get<uint16_t>(bytes, at + 32);
  const std::string_view name = slice(bytes, at + kRecord, name_size);
  Extent extent{get<uint32_t>(bytes, at + 24), get<uint32_t>(bytes, at + 20), get<uint32_t>(bytes, at + 42)};
  widen(extent, slice(bytes, at + kRecord + name_size, extra_size));

  if (flags & 1) throw Error(ErrorKind::unsupported, "the zip archive is encrypted");
  if (method != 0 && method != 8) {
    throw Error(ErrorKind::unsupported, "the zip archive is packed with method " + std::to_string(method), "repack it without compression");
  }
  if (slice(bytes, extent.header, kLocalRecord).substr(0, 4) != "PK\x03\x04") bad_zip("the zip archive is damaged: an entry has no header");
  const uint64_t begin = extent.header + kLocalRecord + get<uint16_t>(bytes, extent.header + 26) + get<uint16_t>(bytes, extent.header + 28);
  if (method == 0 && extent.size != extent.packed) bad_zip("the zip archive is damaged: a stored entry has two sizes");
  const ZipEntry entry{slice(bytes, begin, extent.packed), extent.size, crc, method == 8};
  if (!entries_.emplace(name, entry).second) bad_zip("the zip archive has two entries named " + valid_utf8(name));
  return at + kRecord + name_size + extra_size + comment_size;
}

const ZipEntry* ZipArchive::find(std::string_view name) const {
  const auto found = entries_.find(name);
  return found == entries_.end() ? nullptr : &found->second;
}

OwnedBytes ZipArchive::read(const ZipEntry& entry) const {
  if (!entry.deflated) return {file_, entry.packed};
  const std::lock_guard lock(mutex_);
  auto& known = inflated_[&entry];
  auto bytes = known.lock();
  if (!bytes) known = bytes = inflate_entry(entry);
  return {bytes, *bytes};
}

}  // namespace lorikeet
