#include "server/events.h"

namespace lorikeet {

namespace {
std::string wire_text(const std::string& event, const std::string& data) { return "event: " + event + "\ndata: " + data + "\n\n"; }
}  // namespace

Events::Listener::~Listener() {
  const std::lock_guard lock(events_.mutex_);
  events_.listeners_.erase(this);
}

std::optional<std::string> Events::Listener::next(std::chrono::milliseconds patience) {
  std::unique_lock lock(events_.mutex_);
  changed_.wait_for(lock, patience, [&] { return events_.stopped_ || !order_.empty(); });
  if (events_.stopped_) return std::nullopt;
  if (order_.empty()) return "";
  const auto node = held_.extract(order_.front());
  order_.pop_front();
  return std::move(node.mapped());
}

void Events::Listener::add(const std::string& event, const std::string& key, std::string data) {
  const std::lock_guard lock(events_.mutex_);
  events_.hold(*this, key, wire_text(event, data));
}

std::shared_ptr<Events::Listener> Events::listen() {
  const std::lock_guard lock(mutex_);
  if (listeners_.size() >= kMostListeners || stopped_) return nullptr;
  std::shared_ptr<Listener> listener(new Listener(*this));
  listeners_.insert(listener.get());
  return listener;
}

void Events::hold(Listener& listener, const std::string& key, std::string text) {
  auto [place, is_new] = listener.held_.insert_or_assign(key, std::move(text));
  if (is_new) listener.order_.push_back(key);
  if (listener.order_.size() > kMostHeld) {  // whoever reads so little asks for the whole state anyway
    listener.held_.erase(listener.order_.front());
    listener.order_.pop_front();
  }
  listener.changed_.notify_one();
}

void Events::publish(const std::string& event, const std::string& key, const std::string& data) {
  const std::lock_guard lock(mutex_);
  if (listeners_.empty()) return;
  const std::string text = wire_text(event, data);
  for (Listener* listener : listeners_) hold(*listener, key, text);
}

void Events::stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  for (Listener* listener : listeners_) listener->changed_.notify_all();
}

size_t Events::listeners() const {
  const std::lock_guard lock(mutex_);
  return listeners_.size();
}

}  // namespace lorikeet
