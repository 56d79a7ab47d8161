// Server-sent events: what happens, to everybody who listens. A slow listener gets the newest state of each thing, not a growing queue.
#pragma once
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>

namespace lorikeet {

class Events {
 public:
  static constexpr size_t kMostListeners = 64, kMostHeld = 4096;

  class Listener {
   public:
    ~Listener();
    // The next event as it goes over the wire; "" after `patience` without one (a heartbeat is due); nothing: the server ends.
    std::optional<std::string> next(std::chrono::milliseconds patience);
    void add(const std::string& event, const std::string& key, std::string data);

   private:
    friend class Events;
    explicit Listener(Events& events) : events_(events) {}
    Events& events_;
    std::map<std::string, std::string> held_;  // by key: the text to send
    std::deque<std::string> order_;            // keys, the oldest first
    std::condition_variable changed_;
  };

  // Null: there are kMostListeners already.
  std::shared_ptr<Listener> listen();
  // key: what the event is about. Of several events about one thing that wait to be sent, the last is.
  void publish(const std::string& event, const std::string& key, const std::string& data);
  void stop();  // all listeners get nothing more
  size_t listeners() const;

 private:
  void hold(Listener& listener, const std::string& key, std::string text);
  mutable std::mutex mutex_;
  std::set<Listener*> listeners_;
  bool stopped_ = false;
};

}  // namespace lorikeet
