#include "server/uploads.h"

#include <fstream>
#include <semaphore>
#include <sstream>

#include "base/error.h"
#include "base/text.h"
#include "io/atomic_file.h"
#include "io/hash.h"
#include "io/picture_base64.h"
#include "server/enlarge.h"

namespace fs = std::filesystem;

namespace lorikeet {

namespace {
std::counting_semaphore<> decoding(2);

struct Turn {
  Turn() { decoding.acquire(); }
  ~Turn() { decoding.release(); }
};

std::string_view bare_base64(std::string_view text, std::string_view field) {
  const std::string begin = lower(text.substr(0, 8));
  if (starts_with(begin, "http://") || starts_with(begin, "https://"))
    throw Error(ErrorKind::unsupported, "\"" + std::string(field) + "\" is an address; this server fetches nothing from elsewhere",
                "send the picture itself as base64");
  if (!is_data_uri(text)) return text;
  const size_t comma = text.find(',');
  if (comma == std::string_view::npos || !ends_with(lower(text.substr(0, comma)), ";base64"))
    throw Error(ErrorKind::bad_input, "\"" + std::string(field) + "\" is a data URI without base64", "send \"data:image/png;base64,…\"");
  return text.substr(comma + 1);
}
}  // namespace

std::vector<uint8_t> upload_bytes(std::string_view text, std::string_view field) {
  return with_context("while reading the picture in \"" + std::string(field) + "\"", [&] {
    auto bytes = from_base64(bare_base64(text, field));
    const PictureInfo info = picture_info(bytes);
    if (int64_t{info.width_px} * info.height_px > kMostUploadPixels)
      throw Error(ErrorKind::bad_input,
                  "the picture has " + std::to_string(info.width_px) + " × " + std::to_string(info.height_px) + " pixels, more than " +
                      std::to_string(kMostUploadPixels >> 20) + " million",
                  "make it smaller before sending it");
    return bytes;
  });
}

PictureFile decode_upload(std::string_view text, std::string_view field) {
  const auto bytes = upload_bytes(text, field);
  const Turn turn;
  return with_context("while reading the picture in \"" + std::string(field) + "\"", [&] { return decode_picture(bytes); });
}

PictureThread::PictureThread()
    : thread_([this] {
        for (;;) {
          std::unique_lock lock(mutex_);
          changed_.wait(lock, [this] { return ends_ || !waiting_.empty(); });
          if (waiting_.empty()) return;
          const auto work = std::move(waiting_.front());
          waiting_.pop_front();
          lock.unlock();
          work();
        }
      }) {}

PictureThread::~PictureThread() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void PictureThread::add(std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.size() >= kMostWaiting)
      throw Error(ErrorKind::unsupported, "too many pictures are asked for at once", "try again in a moment");
    waiting_.push_back(std::move(work));
  }
  changed_.notify_one();
}

std::string thumbnail(PictureThread& thread, const fs::path& cache, const fs::path& picture, int width_px) {
  std::error_code code;
  const auto changed = fs::last_write_time(picture, code).time_since_epoch().count();
  const fs::path file =
      cache / (sha256(picture.string() + "\n" + std::to_string(changed) + "\n" + std::to_string(width_px)).substr(0, 32) + ".jpg");
  if (std::ifstream stream(file, std::ios::binary); stream) {
    std::ostringstream bytes;
    bytes << stream.rdbuf();
    return bytes.str();
  }
  const std::vector<uint8_t> small =
      thread.run([&] { return encode_picture(PictureFormat::jpeg, small_copy(read_picture(picture).picture, width_px), {}, 85); });
  std::string bytes(small.begin(), small.end());
  fs::create_directories(cache, code);
  try {
    write_file_atomically(file, bytes);
  } catch (const Error&) {  // no cache then
  }
  return bytes;
}

}  // namespace lorikeet
