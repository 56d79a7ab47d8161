// Counts changes, and tells them to one listener from a thread of its own, at most five times a second.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>

namespace lorikeet {

class Notifier {
 public:
  Notifier();
  ~Notifier();
  Notifier(const Notifier&) = delete;
  Notifier& operator=(const Notifier&) = delete;

  void changed();
  uint64_t version() const;  // begins at 1
  // Empty: nobody. When this returns, the listener before is not being called any more.
  void call(std::function<void(uint64_t)> listener);

 private:
  void run();
  mutable std::mutex mutex_;
  std::mutex calling_;
  std::condition_variable woken_;
  std::function<void(uint64_t)> listener_;
  uint64_t version_ = 1, told_ = 1;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace lorikeet
