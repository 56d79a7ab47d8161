// What is written is read with a decoder of its own: records, checksums and messages as TensorBoard takes them.
#include "training/event_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <bit>
#include <cstring>
#include <ctime>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <vector>

using namespace lorikeet;
namespace fs = std::filesystem;

namespace {
// CRC32C bit by bit.
uint32_t slow_crc(const std::string& text) {
  uint32_t crc = ~0u;
  for (const unsigned char sign : text) {
    crc ^= sign;
    for (int i = 0; i < 8; ++i) crc = crc & 1 ? (crc >> 1) ^ 0x82F63B78u : crc >> 1;
  }
  return ~crc;
}
uint32_t slow_mask(uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xa282ead8u; }

class Bytes {
 public:
  explicit Bytes(std::string text) : text_(std::move(text)) {}
  bool done() const { return at_ == text_.size(); }
  std::string take(size_t count) {
    if (count > text_.size() - at_) throw std::runtime_error("cut off");
    at_ += count;
    return text_.substr(at_ - count, count);
  }
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  uint64_t varint() {
    for (uint64_t value = 0, shift = 0;; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
  }

 private:
  std::string text_;
  size_t at_ = 0;
};

std::vector<std::string> records_of(const std::string& file) {
  std::vector<std::string> records;
  for (Bytes bytes(file); !bytes.done();) {
    const std::string length = bytes.take(8);
    EXPECT_EQ(bytes.number<uint32_t>(), slow_mask(slow_crc(length)));
    records.push_back(bytes.take(Bytes(length).number<uint64_t>()));
    EXPECT_EQ(bytes.number<uint32_t>(), slow_mask(slow_crc(records.back())));
  }
  return records;
}

struct Event {
  double wall_time = 0;
  int64_t step = 0;
  std::string version;
  std::map<std::string, float> scalars;
  uint64_t session = 0;
};

// field number -> its values, as bytes or numbers.
struct Message {
  std::multimap<uint64_t, std::string> texts;
  std::multimap<uint64_t, uint64_t> numbers;
};
Message message_of(const std::string& text) {
  Message message;
  for (Bytes bytes(text); !bytes.done();) {
    const uint64_t key = bytes.varint(), field = key >> 3;
    switch (key & 7) {
      case 0: message.numbers.emplace(field, bytes.varint()); break;
      case 1: message.numbers.emplace(field, bytes.number<uint64_t>()); break;
      case 2: message.texts.emplace(field, bytes.take(bytes.varint())); break;
      case 5: message.numbers.emplace(field, bytes.number<uint32_t>()); break;
      default: throw std::runtime_error("no such wire type");
    }
  }
  return message;
}

Event event_of(const std::string& record) {
  const Message message = message_of(record);
  Event event{.wall_time = std::bit_cast<double>(message.numbers.find(1)->second),
              .step = static_cast<int64_t>(message.numbers.find(2)->second),
              .version = {},
              .scalars = {}};
  if (const auto version = message.texts.find(3); version != message.texts.end()) event.version = version->second;
  if (const auto session = message.texts.find(7); session != message.texts.end())
    event.session = message_of(session->second).numbers.find(1)->second;
  if (const auto summary = message.texts.find(5); summary != message.texts.end())
    for (const auto& [field, value] : message_of(summary->second).texts) {
      EXPECT_EQ(field, 1u);
      const Message scalar = message_of(value);
      event.scalars[scalar.texts.find(1)->second] = std::bit_cast<float>(static_cast<uint32_t>(scalar.numbers.find(2)->second));
    }
  return event;
}

std::vector<Event> events_in(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  std::vector<Event> events;
  for (const std::string& record : records_of(text.str())) events.push_back(event_of(record));
  return events;
}

struct EventFileTest : ::testing::Test {
  fs::path folder = fs::temp_directory_path() / ("lorikeet_events_" + std::to_string(::getpid()));
  void SetUp() override { fs::create_directories(folder); }
  void TearDown() override { fs::remove_all(folder); }
};
}  // namespace

TEST(Crc32c, TheKnownVectorsOfTheStandardHold) {
  // RFC 3720, appendix B.4, and the check value of the catalogue of CRCs.
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62A8AB43u);
  EXPECT_EQ(crc32c(""), 0u);
}

TEST_F(EventFileTest, AnIndependentDecoderReadsWhatWasWritten) {
  const double before = static_cast<double>(std::time(nullptr));
  EventFile file(folder, 8);
  const Scalar first[] = {{"loss/train", 0.125}, {"learning_rate", 1e-4}};
  file.add(8, first);
  const std::string long_tag = "\xCE\xB1/long" + std::string(200, 'x');
  const Scalar second[] = {{"loss/train", 0.1}, {long_tag, -3}};
  file.add(int64_t{1} << 40, second);
  const auto events = events_in(file.path());
  ASSERT_EQ(events.size(), 4u);
  EXPECT_EQ(events[0].version, "brain.Event:2");
  EXPECT_EQ(events[1].session, 1u);  // START: what is known of step 8 and later is dropped
  EXPECT_EQ(events[1].step, 8);
  EXPECT_EQ(events[2].step, 8);
  EXPECT_EQ(events[2].scalars, (std::map<std::string, float>{{"loss/train", 0.125f}, {"learning_rate", 1e-4f}}));
  EXPECT_EQ(events[3].step, int64_t{1} << 40);
  EXPECT_EQ(events[3].scalars.at("loss/train"), 0.1f);
  EXPECT_EQ(events[3].scalars.at(long_tag), -3.0f);
  for (const Event& event : events) EXPECT_NEAR(event.wall_time, before, 60);  // seconds since 1970
}

TEST_F(EventFileTest, EachRunWritesAFileOfItsOwnThatTensorBoardFinds) {
  const EventFile one(folder, 1), two(folder, 1);
  EXPECT_NE(one.path(), two.path());
  EXPECT_LT(one.path(), two.path());
  EXPECT_EQ(one.path().filename().string().rfind("events.out.tfevents.", 0), 0u);
  EXPECT_EQ(one.path().parent_path(), folder);
}
