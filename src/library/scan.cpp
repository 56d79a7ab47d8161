#include "library/scan.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <condition_variable>
#include <map>
#include <thread>
#include <unordered_map>

#include "base/error.h"
#include "base/text.h"
#include "library/compose.h"
#include "library/facts.h"
#include "library/names.h"
#include "library/sidecar.h"

namespace fs = std::filesystem;

namespace lorikeet {
namespace {

constexpr ModelKind kScanOrder[] = {ModelKind::lora, ModelKind::checkpoint, ModelKind::embedding, ModelKind::vae};

struct Times {
  int64_t size = 0, changed_ns = 0, born_s = 0;
};

// Nothing when there is no such file (any more).
std::optional<Times> times_of_file(const fs::path& path) {
  struct statx status {};
  if (::statx(AT_FDCWD, path.c_str(), 0, STATX_BASIC_STATS | STATX_BTIME, &status) != 0) return std::nullopt;
  const bool has_birth = (status.stx_mask & STATX_BTIME) != 0 && status.stx_btime.tv_sec > 0;
  return Times{static_cast<int64_t>(status.stx_size), int64_t{status.stx_mtime.tv_sec} * 1'000'000'000 + status.stx_mtime.tv_nsec,
               has_birth ? status.stx_btime.tv_sec : status.stx_ctime.tv_sec};
}

// A folder that is one model: all of its files together.
std::optional<Times> times_of(const fs::path& path) {
  auto times = times_of_file(path);
  std::error_code code;
  if (!times || !fs::is_directory(path, code)) return times;
  times->size = 0;
  for (fs::recursive_directory_iterator it(path, fs::directory_options::skip_permission_denied, code), end; !code && it != end;
       it.increment(code)) {
    const auto one = it->is_regular_file(code) ? times_of_file(it->path()) : std::nullopt;
    if (!one) continue;
    times->size += one->size;
    times->changed_ns = std::max(times->changed_ns, one->changed_ns);
  }
  return times;
}

// The names in each folder, read once.
class FolderCache {
 public:
  const FolderNames& names(const fs::path& folder) {
    const auto [found, is_new] = names_.try_emplace(folder.string());
    if (is_new) found->second = read_folder_names(folder);
    return found->second;
  }

 private:
  std::unordered_map<std::string, FolderNames> names_;
};

// A file to be read.
struct Work {
  NamedFile file;
  std::string place;
  SidecarFiles sidecars;
  Times times;
};

IndexEntry entry_of(const Work& work) {
  IndexEntry entry;
  entry.kind = work.file.file.kind;
  entry.path = work.file.file.path.string();
  entry.place = work.place;
  entry.base_name = work.file.base_name;
  entry.shown = work.file.shown;
  entry.state = {work.times.size, work.times.changed_ns, work.sidecars.stamp};
  const FileFacts facts = read_facts(work.file.file);
  entry.card = compose_card(work.file, facts, work.sidecars, read_sidecars(work.sidecars));
  entry.card.size_bytes = static_cast<uint64_t>(work.times.size);
  entry.card.modified = work.times.changed_ns / 1'000'000'000;
  entry.card.added = work.times.born_s;
  if (entry.card.has_preview && entry.card.preview_version == 0) entry.card.preview_version = std::max<int64_t>(1, entry.card.modified);
  entry.claimed_hash = claimed_hash(facts);
  return entry;
}

// What the folders have against what the index has.
struct Difference {
  std::vector<Work> work;
  std::vector<int64_t> gone;
  std::vector<Index::Name> names;
};

std::string key_of(ModelKind kind, const std::string& path) { return std::to_string(static_cast<int>(kind)) + path; }

Difference compare(const ScanJob& job, std::vector<std::string>& faults) {
  Difference difference;
  std::unordered_map<std::string, IndexRow> rows;
  for (IndexRow& row : job.index.rows()) rows.emplace(key_of(row.kind, row.path), std::move(row));
  FolderCache folders;
  for (const ModelKind kind : kScanOrder) {
    for (NamedFile& file : name_files(job.folders.list(kind, &faults))) {
      if (job.stop) return {};
      const auto times = times_of(file.file.path);
      if (!times) continue;
      Work work{std::move(file), {}, {}, *times};
      work.sidecars = find_sidecars(work.file.file.path, folders.names(work.file.file.path.parent_path()));
      auto known = rows.extract(key_of(kind, work.file.file.path.string()));
      if (!known.empty() && known.mapped().state == FileState{times->size, times->changed_ns, work.sidecars.stamp}) {
        const IndexRow& row = known.mapped();
        if (row.name != work.file.name || row.shown != work.file.shown || row.gone)
          difference.names.push_back({row.id, work.file.name, work.file.shown});
        continue;
      }
      work.place = place_of(job.folders, work.file.file);
      difference.work.push_back(std::move(work));
    }
  }
  for (const auto& [key, row] : rows)
    if (!row.gone) difference.gone.push_back(row.id);
  return difference;
}

// Reads the files in several threads; the caller's thread writes what is ready.
class Readers {
 public:
  Readers(const ScanJob& job, const std::vector<Work>& work) : job_(job), work_(work) {
    const size_t count = std::clamp<size_t>(static_cast<size_t>(std::max(1, job.threads)), 1, std::max<size_t>(1, work.size()));
    running_ = count;
    for (size_t i = 0; i < count; ++i) threads_.emplace_back([this] { read(); });
  }
  ~Readers() {
    given_up_ = true;
    for (std::thread& thread : threads_) thread.join();
  }

  // The entries that are ready, some at a time; empty at the end.
  std::vector<IndexEntry> next() {
    std::unique_lock lock(mutex_);
    ready_.wait(lock, [&] { return entries_.size() >= kBatch || running_ == 0; });
    return std::exchange(entries_, {});
  }

 private:
  static constexpr size_t kBatch = 256;

  void read() {
    for (size_t i = next_++; i < work_.size() && !job_.stop && !given_up_; i = next_++) {
      IndexEntry entry = entry_of(work_[i]);
      const std::lock_guard lock(mutex_);
      entries_.push_back(std::move(entry));
      if (entries_.size() >= kBatch) ready_.notify_one();
    }
    const std::lock_guard lock(mutex_);
    --running_;
    ready_.notify_one();
  }

  const ScanJob& job_;
  const std::vector<Work>& work_;
  std::atomic<size_t> next_{0};
  std::atomic<bool> given_up_{false};
  std::mutex mutex_;
  std::condition_variable ready_;
  std::vector<IndexEntry> entries_;
  size_t running_ = 0;
  std::vector<std::thread> threads_;
};

// "/home/me/models/Lora/styles cannot be read" -> "Lora/styles cannot be read".
std::string without_places(const ModelFolders& folders, std::string text) {
  for (const ModelKind kind : kScanOrder)
    for (const fs::path& place : folders.places(kind)) text = replace_all(std::move(text), place.string(), place.filename().string());
  return valid_utf8(text);
}

}  // namespace

std::string place_of(const ModelFolders& folders, const ModelFile& file) {
  std::string best;
  const std::string path = file.path.string();
  const auto look = [&](ModelKind kind) {
    for (const fs::path& place : folders.places(kind)) {
      const std::string text = place.string();
      if (text.size() > best.size() && starts_with(path, text)) best = text;
    }
  };
  look(file.kind);
  if (file.kind == ModelKind::vae) look(ModelKind::checkpoint);
  return best;
}

std::optional<IndexEntry> read_entry(const ModelFolders& folders, const ModelFile& file, const std::string& name) {
  const auto times = times_of(file.path);
  if (!times) return std::nullopt;
  Work work{{file, valid_utf8(file.name), name, true}, place_of(folders, file), {}, *times};
  work.sidecars = find_sidecars(file.path, read_folder_names(file.path.parent_path()));
  return entry_of(work);
}

ScanResult scan(const ScanJob& job) {
  ScanResult result;
  const Difference difference = compare(job, result.problems);
  for (std::string& problem : result.problems) problem = without_places(job.folders, std::move(problem));
  if (job.stop) return result;
  // Gone before new: what was moved takes its hashes along.
  if (!difference.gone.empty()) job.index.set_gone(difference.gone);
  if (!difference.names.empty()) job.index.set_names(difference.names);
  if (!difference.gone.empty() || !difference.names.empty()) job.changed();
  if (!difference.work.empty()) {
    Readers readers(job, difference.work);
    for (auto entries = readers.next(); !entries.empty(); entries = readers.next()) {
      job.index.write(entries);
      job.changed();
    }
  }
  constexpr int64_t kKeptSeconds = int64_t{90} * 24 * 3600;  // a drive that is not plugged in for a while keeps its hashes
  job.index.forget_older_than(kKeptSeconds);
  return result;
}

}  // namespace lorikeet
