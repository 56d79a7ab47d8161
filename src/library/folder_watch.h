// Notices that something changed in folders and below (inotify): links to folders are followed, new folders are watched as they appear.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace lorikeet {

class FolderWatch {
 public:
  // `changed` is called from a thread of the watch once it has been quiet for 300 ms, at the latest 2 s after the first change, whatever
  // their number. Files that begin with a point do not count.
  FolderWatch(std::vector<std::filesystem::path> places, std::function<void()> changed);
  ~FolderWatch();
  FolderWatch(const FolderWatch&) = delete;
  FolderWatch& operator=(const FolderWatch&) = delete;

  // Why some changes are not noticed, for people; empty: all are.
  std::vector<std::string> problems() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lorikeet
