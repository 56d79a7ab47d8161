#include "library/notifier.h"

#include <chrono>

namespace lorikeet {

Notifier::Notifier() : thread_([this] { run(); }) {}

Notifier::~Notifier() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  woken_.notify_all();
  thread_.join();
}

void Notifier::changed() {
  {
    const std::lock_guard lock(mutex_);
    ++version_;
  }
  woken_.notify_all();
}

uint64_t Notifier::version() const {
  const std::lock_guard lock(mutex_);
  return version_;
}

void Notifier::call(std::function<void(uint64_t)> listener) {
  const std::lock_guard not_while_calling(calling_);
  const std::lock_guard lock(mutex_);
  listener_ = std::move(listener);
}

void Notifier::run() {
  constexpr auto kBetween = std::chrono::milliseconds(200);
  std::unique_lock lock(mutex_);
  while (!stop_) {
    woken_.wait(lock, [&] { return stop_ || version_ != told_; });
    if (stop_) return;
    lock.unlock();
    {
      const std::lock_guard calling(calling_);
      lock.lock();
      const auto listener = listener_;
      const uint64_t version = told_ = version_;
      lock.unlock();
      if (listener) listener(version);
    }
    lock.lock();
    woken_.wait_for(lock, kBetween, [&] { return stop_; });
  }
}

}  // namespace lorikeet
