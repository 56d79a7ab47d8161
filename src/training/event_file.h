// TensorBoard's event files: numbers by step, in the format of TensorFlow's summary writer. A file is a row of TFRecords (length and bytes,
// each with a masked CRC32C: tensorflow/core/lib/io/record_writer.h); each record is one protobuf message Event
// (tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto), of which only scalars and session marks are written.
#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "io/append_file.h"

namespace lorikeet {

// CRC with the Castagnoli polynomial 0x1EDC6F41 (RFC 3720, appendix B.4).
uint32_t crc32c(std::string_view bytes);

struct Scalar {
  std::string_view tag;  // "loss/train"; UTF-8, not copied
  double value = 0;      // stored as float
};

class EventFile {
 public:
  // Begins a new file in the folder, events.out.tfevents.<seconds>.<host>.<process>.<number>: TensorBoard reads all files of a folder in
  // the order of their names. first_step: what earlier files say about this step and later ones no longer counts.
  EventFile(const std::filesystem::path& folder, int64_t first_step);

  const std::filesystem::path& path() const { return file_.path(); }
  // Written at once. Error{io}: disk full, ….
  void add(int64_t step, std::span<const Scalar> scalars);

 private:
  AppendFile file_;
};

}  // namespace lorikeet
