// Pictures that clients send, within limits, and small copies of pictures for lists. Decoding is bounded in size and in how many at once.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <filesystem>
#include <functional>
#include <future>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "io/picture.h"

namespace lorikeet {

inline constexpr int64_t kMostUploadPixels = int64_t{1} << 26;

// The file's bytes of a picture sent as "data:image/…;base64,…" or bare base64, its header read and its size checked. Error{bad_input}
// names `field`: no base64, no picture, too large; an address (http://…), since none is fetched.
std::vector<uint8_t> upload_bytes(std::string_view text, std::string_view field);
// The same, decoded.
PictureFile decode_upload(std::string_view text, std::string_view field);

// One thread beside the Worker for arithmetic on pictures, so that the many threads of HTTP start none of libtorch's.
class PictureThread {
 public:
  PictureThread();
  ~PictureThread();
  // Runs `work` there and waits; what it throws is thrown here. Error{unsupported}: too many wait already.
  template <class Work>
  auto run(Work&& work) -> decltype(work()) {
    std::packaged_task<decltype(work())()> task(std::forward<Work>(work));
    auto result = task.get_future();
    add([&task] { task(); });
    return result.get();
  }

 private:
  static constexpr size_t kMostWaiting = 256;
  void add(std::function<void()> work);
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_;
  bool ends_ = false;
  std::thread thread_;
};

// A JPEG of this width at most, kept in `cache` under the picture's name, time and size. Error as read_picture.
std::string thumbnail(PictureThread& thread, const std::filesystem::path& cache, const std::filesystem::path& picture, int width_px);

}  // namespace lorikeet
