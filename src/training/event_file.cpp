#include "training/event_file.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstdio>

namespace lorikeet {

namespace {
// --- protobuf's wire format (protobuf.dev/programming-guides/encoding): a key is field number · 8 + wire type ---

enum WireType : uint64_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

void put_varint(std::string& to, uint64_t value) {
  for (; value >= 0x80; value >>= 7) to += static_cast<char>(value | 0x80);
  to += static_cast<char>(value);
}

template <class T>
void put_little_endian(std::string& to, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) to += static_cast<char>(value >> (8 * i));
}

void put_key(std::string& to, uint64_t field, WireType type) { put_varint(to, field << 3 | type); }

void put_bytes(std::string& to, uint64_t field, std::string_view value) {
  put_key(to, field, bytes);
  put_varint(to, value.size());
  to += value;
}

double seconds_since_1970() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

// Event {double wall_time = 1; int64 step = 2; …}, without what it says.
std::string begin_event(int64_t step) {
  std::string event;
  put_key(event, 1, fixed64);
  put_little_endian(event, std::bit_cast<uint64_t>(seconds_since_1970()));
  put_key(event, 2, varint);
  put_varint(event, static_cast<uint64_t>(step));
  return event;
}

std::string version_event() {
  std::string event = begin_event(0);
  put_bytes(event, 3, "brain.Event:2");  // file_version
  return event;
}

// session_log = 7, SessionLog {SessionStatus status = 1}: START = 1 makes TensorBoard drop what it knows of this step and later ones.
std::string start_event(int64_t step) {
  std::string log, event = begin_event(step);
  put_key(log, 1, varint);
  put_varint(log, 1);
  put_bytes(event, 7, log);
  return event;
}

// summary = 5, Summary {repeated Value {string tag = 1; float simple_value = 2} value = 1}
std::string scalar_event(int64_t step, std::span<const Scalar> scalars) {
  std::string summary, event = begin_event(step);
  for (const Scalar& scalar : scalars) {
    std::string value;
    put_bytes(value, 1, scalar.tag);
    put_key(value, 2, fixed32);
    put_little_endian(value, std::bit_cast<uint32_t>(static_cast<float>(scalar.value)));
    put_bytes(summary, 1, value);
  }
  put_bytes(event, 5, summary);
  return event;
}

// --- TFRecord ---

uint32_t masked_crc(std::string_view text) {
  return std::rotr(crc32c(text), 15) + 0xA282EAD8u;
}  // tensorflow/tsl/lib/hash/crc32c.h: Mask()

std::string record_of(std::string_view data) {
  std::string record;
  put_little_endian(record, uint64_t{data.size()});
  put_little_endian(record, masked_crc(record));
  record += data;
  put_little_endian(record, masked_crc(data));
  return record;
}

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 && name[0] ? name.data() : "localhost";
}

// TensorBoard reads a folder's files in the order of their names, so the numbers of one second have the same length.
std::string file_name() {
  static std::atomic<int> number{0};
  std::array<char, 16> counted{};
  std::snprintf(counted.data(), counted.size(), "%06d", number++);
  return "events.out.tfevents." + std::to_string(static_cast<int64_t>(seconds_since_1970())) + "." + host_name() + "." +
         std::to_string(::getpid()) + "." + counted.data();
}
}  // namespace

uint32_t crc32c(std::string_view text) {
  // One table row a byte, of the reflected polynomial.
  static constexpr auto table = [] {
    std::array<uint32_t, 256> rows{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t row = i;
      for (int bit = 0; bit < 8; ++bit) row = (row >> 1) ^ (row & 1 ? 0x82F63B78u : 0);
      rows[i] = row;
    }
    return rows;
  }();
  uint32_t crc = 0xFFFFFFFF;
  for (const char sign : text) crc = table[(crc ^ static_cast<uint8_t>(sign)) & 0xFF] ^ (crc >> 8);
  return ~crc;
}

EventFile::EventFile(const std::filesystem::path& folder, int64_t first_step) : file_(folder / file_name()) {
  file_.append(record_of(version_event()) + record_of(start_event(first_step)));
}

void EventFile::add(int64_t step, std::span<const Scalar> scalars) { file_.append(record_of(scalar_event(step, scalars))); }

}  // namespace lorikeet
