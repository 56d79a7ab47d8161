#include "server/live.h"

namespace lorikeet {

std::optional<LiveJob> LiveJobs::find(int64_t id) const {
  const std::lock_guard lock(mutex_);
  const auto found = jobs_.find(id);
  return found == jobs_.end() ? std::nullopt : std::optional(found->second);
}

void LiveJobs::set(const std::vector<int64_t>& ids, const LiveJob& live, bool tell) {
  {
    const std::lock_guard lock(mutex_);
    for (const int64_t id : ids) jobs_[id] = live;
  }
  if (!tell || !changed_) return;
  for (const int64_t id : ids) changed_(id);
}

void LiveJobs::forget(const std::vector<int64_t>& ids) {
  const std::lock_guard lock(mutex_);
  for (const int64_t id : ids) jobs_.erase(id);
}

}  // namespace lorikeet
