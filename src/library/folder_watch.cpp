#include "library/folder_watch.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <system_error>
#include <thread>

namespace fs = std::filesystem;

namespace lorikeet {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kQuiet = std::chrono::milliseconds(300);
constexpr auto kLongest = std::chrono::seconds(2);
constexpr int kMostDepth = 12;  // as ModelFolders searches
constexpr uint32_t kEvents = IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF;

}  // namespace

struct FolderWatch::State {
  std::vector<fs::path> places;
  std::function<void()> changed;
  int notify_fd = -1, stop_fd = -1;
  std::map<int, fs::path> folders;  // by watch
  std::map<int, std::set<std::string>> parents;  // of places: only these names in them count
  mutable std::mutex mutex;
  std::string problem;
  std::thread thread;

  ~State() {
    if (thread.joinable()) {
      ::eventfd_write(stop_fd, 1);
      thread.join();
    }
    if (notify_fd >= 0) ::close(notify_fd);
    if (stop_fd >= 0) ::close(stop_fd);
  }

  void say(std::string text) {
    const std::lock_guard lock(mutex);
    problem = std::move(text);
  }

  int add(const fs::path& folder) {
    const int watch = ::inotify_add_watch(notify_fd, folder.c_str(), kEvents | IN_ONLYDIR);
    if (watch < 0 && errno == ENOSPC)
      say("the system's limit of watched folders is reached (fs.inotify.max_user_watches): refresh by hand to see changes");
    return watch;
  }

  // One watch for a folder whichever way leads to it: `visited` ends links that run in circles.
  void add_below(const fs::path& folder, std::set<int>& visited, int depth = 0) {
    if (depth > kMostDepth) return;
    const int watch = add(folder);
    if (watch < 0 || !visited.insert(watch).second) return;
    folders[watch] = folder;
    std::error_code code;
    for (fs::directory_iterator it(folder, code), end; !code && it != end; it.increment(code)) {
      std::error_code missing;
      if (!it->path().filename().string().starts_with('.') && it->is_directory(missing)) add_below(it->path(), visited, depth + 1);
    }
  }

  void add_all() {
    std::set<int> visited;
    for (const fs::path& place : places) {
      add_below(place, visited);
      const fs::path parent = place.has_parent_path() ? place.parent_path() : fs::path(".");
      // A place that is deleted and made again, or a drive that is mounted there.
      const int watch = ::inotify_add_watch(notify_fd, parent.c_str(), kEvents | IN_ONLYDIR | IN_MASK_ADD);
      if (watch >= 0 && !folders.contains(watch)) parents[watch].insert(place.filename().string());
    }
  }

  // Whether the event is one that counts.
  bool take(const inotify_event& event) {
    if ((event.mask & IN_Q_OVERFLOW) != 0) {
      add_all();
      return true;
    }
    const std::string name = event.len > 0 ? event.name : "";
    if (const auto parent = parents.find(event.wd); parent != parents.end() && !folders.contains(event.wd)) {
      if (!parent->second.contains(name)) return false;
      add_all();
      return true;
    }
    if ((event.mask & IN_IGNORED) != 0) {
      folders.erase(event.wd);
      return true;
    }
    if (name.starts_with('.')) return false;
    const auto folder = folders.find(event.wd);
    if (folder != folders.end() && !name.empty() && (event.mask & (IN_CREATE | IN_MOVED_TO)) != 0) {
      std::error_code code;
      std::set<int> visited;
      if (const fs::path made = folder->second / name; fs::is_directory(made, code)) add_below(made, visited, 1);
    }
    return true;
  }

  bool read_events() {
    alignas(inotify_event) std::array<char, size_t{64} << 10> buffer;
    bool counts = false;
    for (;;) {
      const ssize_t size = ::read(notify_fd, buffer.data(), buffer.size());
      if (size <= 0) return counts;
      for (ssize_t at = 0; at < size;) {
        const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
        counts = take(*event) || counts;
        at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
      }
    }
  }

  void run() {
    std::optional<Clock::time_point> first, last;
    for (;;) {
      int wait_ms = -1;
      if (first) {
        const auto due = std::min(*last + kQuiet, *first + kLongest);
        wait_ms = static_cast<int>(std::max<int64_t>(0, std::chrono::ceil<std::chrono::milliseconds>(due - Clock::now()).count()));
      }
      std::array<pollfd, 2> ready{{{notify_fd, POLLIN, 0}, {stop_fd, POLLIN, 0}}};
      if (::poll(ready.data(), ready.size(), wait_ms) < 0 && errno != EINTR) return say("changes of the folders are not noticed any more");
      if ((ready[1].revents & POLLIN) != 0) return;
      if ((ready[0].revents & POLLIN) != 0 && read_events()) {
        last = Clock::now();
        if (!first) first = last;
      }
      if (first && Clock::now() >= std::min(*last + kQuiet, *first + kLongest)) {
        first.reset();
        changed();
      }
    }
  }
};

FolderWatch::FolderWatch(std::vector<fs::path> places, std::function<void()> changed) : state_(std::make_unique<State>()) {
  state_->places = std::move(places);
  state_->changed = std::move(changed);
  state_->notify_fd = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  state_->stop_fd = ::eventfd(0, EFD_CLOEXEC);
  if (state_->notify_fd < 0 || state_->stop_fd < 0) {
    state_->problem = "changes of the folders are not noticed: " + std::generic_category().message(errno) + "; refresh by hand to see them";
    return;
  }
  state_->add_all();  // before this returns: what changes from now on is noticed
  state_->thread = std::thread([this] { state_->run(); });
}

FolderWatch::~FolderWatch() = default;

std::vector<std::string> FolderWatch::problems() const {
  const std::lock_guard lock(state_->mutex);
  return state_->problem.empty() ? std::vector<std::string>{} : std::vector<std::string>{state_->problem};
}

}  // namespace lorikeet
