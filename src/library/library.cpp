#include "library/library.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "base/text.h"
#include "library/facts.h"
#include "library/fit.h"
#include "library/folder_watch.h"
#include "library/hasher.h"
#include "library/index.h"
#include "library/item.h"
#include "library/notifier.h"
#include "library/preview.h"
#include "library/scan.h"

namespace fs = std::filesystem;

namespace lorikeet {
namespace {

constexpr ModelKind kKinds[] = {ModelKind::checkpoint, ModelKind::lora, ModelKind::embedding, ModelKind::vae};

fs::path made_folder(const fs::path& folder) {
  std::error_code code;
  fs::create_directories(folder, code);
  if (!fs::is_directory(folder, code))
    throw Error(ErrorKind::io, "the data folder " + folder.string() + " cannot be made", "choose another one");
  return folder;
}

std::vector<fs::path> all_places(const ModelFolders& folders) {
  std::vector<fs::path> places;
  for (const ModelKind kind : kKinds) places.insert(places.end(), folders.places(kind).begin(), folders.places(kind).end());
  return places;
}

int threads_of(const LibraryOptions& options) {
  constexpr int kMost = 8;
  return options.threads > 0 ? options.threads : std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMost);
}

// A few widths only: each is kept on the disk.
int kept_width(int width_px) {
  int width = 64;
  while (width < width_px && width < 1024) width *= 2;
  return width;
}

ModelFile file_of(const StoredCard& stored) { return {stored.card.kind, stored.base_name, fs::path(stored.path)}; }

}  // namespace

struct Library::State {
  explicit State(LibraryOptions given)
      : options(std::move(given)), data(made_folder(options.data)), index(data / "library.sqlite") {
    std::vector<std::string> places;
    for (const fs::path& place : all_places(options.folders)) places.push_back(place.string());
    index.keep_places(places);
    index.on_rebuilt([this] { request_scan(); });
    if (options.watch) watch = std::make_unique<FolderWatch>(all_places(options.folders), [this] { request_scan(); });
    if (options.hash) hasher = std::make_unique<Hasher>(index, [this] { notifier.changed(); });
    scanner = std::thread([this] { run_scans(); });
  }

  ~State() {
    stop = true;
    watch.reset();
    {
      const std::lock_guard lock(mutex);
      ++requested;
    }
    asked.notify_all();
    scanner.join();
    hasher.reset();
  }

  uint64_t request_scan() {
    const std::lock_guard lock(mutex);
    ++requested;
    asked.notify_all();
    return requested;
  }

  void run_scans() {
    while (!stop) {
      uint64_t target = 0;
      {
        std::unique_lock lock(mutex);
        asked.wait(lock, [&] { return requested > finished || stop; });
        target = requested;
      }
      std::string fault;
      ScanResult result;
      try {
        result = scan({options.folders, index, threads_of(options), stop, [this] { notifier.changed(); }});
      } catch (const std::exception& error) {
        fault = error.what();
      }
      {
        const std::lock_guard lock(mutex);
        problems = std::move(result.problems);
        scan_fault = std::move(fault);
        finished = target;
        if (!scanned_once.exchange(true)) notifier.changed();  // "scanning" has ended
      }
      done.notify_all();
      if (hasher) hasher->wake();
    }
    done.notify_all();
  }

  StoredCard stored(ModelKind kind, std::string_view name) {
    if (auto found = index.find(kind, name)) return *std::move(found);
    throw_missing(kind, name);
  }

  // Whose file is there, too: nothing is written beside one that is gone.
  StoredCard stored_file(ModelKind kind, std::string_view name) {
    StoredCard found = stored(kind, name);
    std::error_code code;
    if (!fs::exists(found.path, code)) throw_missing(kind, name);
    return found;
  }

  [[noreturn]] void throw_missing(ModelKind kind, std::string_view name) {
    throw Error(ErrorKind::not_found, "there is no " + std::string(lorikeet::name(kind)) + " \"" + valid_utf8(name) + "\"",
                did_you_mean(name, index.names(kind)));
  }

  // The row anew, after its sidecars were changed.
  LibraryCard read_again(const StoredCard& old) {
    const auto entry = read_entry(options.folders, file_of(old), old.card.name);
    if (!entry) throw_missing(old.card.kind, old.card.name);
    index.write({&*entry, 1});
    notifier.changed();
    return stored(old.card.kind, old.card.name).card;
  }

  SidecarFiles sidecars_of(const fs::path& path) { return find_sidecars(path, read_folder_names(path.parent_path())); }

  LibraryOptions options;
  fs::path data;
  Index index;
  Notifier notifier;
  FitCheck fit;
  std::mutex editing;  // one writer of sidecars
  std::atomic<bool> stop{false}, scanned_once{false};
  std::mutex mutex;
  std::condition_variable asked, done;
  uint64_t requested = 1, finished = 0;
  std::vector<std::string> problems;
  std::string scan_fault;
  std::unique_ptr<FolderWatch> watch;
  std::unique_ptr<Hasher> hasher;
  std::thread scanner;
};

Library::Library(LibraryOptions options) : state_(std::make_unique<State>(std::move(options))) {}
Library::~Library() = default;

const ModelFolders& Library::folders() const { return state_->options.folders; }

LibraryPage Library::list(const LibraryQuery& query) const {
  if (query.offset < 0) throw Error(ErrorKind::bad_input, "offset must not be negative");
  if (query.limit < 0 || query.limit > kMostCards)
    throw Error(ErrorKind::bad_input, "limit must be between 0 and " + std::to_string(kMostCards));
  const uint64_t version = state_->notifier.version();
  LibraryPage page = state_->index.list(query);
  page.version = version;
  page.scanning = scanning();
  const std::lock_guard lock(state_->mutex);
  page.problems = state_->problems;
  if (!state_->scan_fault.empty()) page.problems.push_back(state_->scan_fault);
  if (state_->watch)
    for (std::string& problem : state_->watch->problems()) page.problems.push_back(std::move(problem));
  return page;
}

std::optional<LibraryItem> Library::item(ModelKind kind, std::string_view name) const {
  const auto stored = state_->index.find(kind, name);
  return stored ? std::optional(read_item(*stored, state_->index)) : std::nullopt;
}

std::optional<LibraryCard> Library::card(ModelKind kind, std::string_view name) const {
  auto stored = state_->index.find_meant(kind, name);
  return stored ? std::optional(std::move(stored->card)) : std::nullopt;
}

fs::path Library::path(ModelKind kind, std::string_view name) const {
  if (const auto stored = state_->index.find_meant(kind, name)) return stored->path;
  state_->throw_missing(kind, name);
}

LibraryCard Library::edit(ModelKind kind, std::string_view name, const LibraryEdit& change) {
  const std::lock_guard lock(state_->editing);
  const StoredCard stored = state_->stored_file(kind, name);
  write_card_file(stored.path, change);
  return state_->read_again(stored);
}

std::optional<PreviewFile> Library::preview(ModelKind kind, std::string_view name, int width_px) const {
  const StoredCard stored = state_->stored(kind, name);
  const SidecarFiles sidecars = state_->sidecars_of(stored.path);
  std::map<std::string, std::string> metadata;
  if (sidecars.preview.empty() && stored.card.has_preview) metadata = read_facts(file_of(stored)).metadata;
  auto preview = read_preview(sidecars, metadata);
  if (!preview) return std::nullopt;
  if (preview->version == 0) preview->version = stored.card.preview_version;
  return width_px > 0 ? kept_small_preview(state_->data / "previews", stored.path, *preview, kept_width(width_px)) : preview;
}

LibraryCard Library::set_preview(ModelKind kind, std::string_view name, std::string_view picture) {
  const std::lock_guard lock(state_->editing);
  const StoredCard stored = state_->stored_file(kind, name);
  write_preview(stored.path, picture);
  return state_->read_again(stored);
}

LoraFit Library::fits(std::string_view lora, std::string_view checkpoint) const {
  const fs::path lora_path = path(ModelKind::lora, lora), checkpoint_path = path(ModelKind::checkpoint, checkpoint);
  return state_->fit.check(lora_path, checkpoint_path);
}

uint64_t Library::refresh() {
  const uint64_t target = state_->request_scan();
  std::unique_lock lock(state_->mutex);
  state_->done.wait(lock, [&] { return state_->finished >= target || state_->stop; });
  if (!state_->scan_fault.empty()) throw Error(ErrorKind::io, state_->scan_fault);
  return state_->notifier.version();
}

uint64_t Library::version() const { return state_->notifier.version(); }

bool Library::scanning() const {
  const std::lock_guard lock(state_->mutex);
  return state_->finished < state_->requested;
}

void Library::on_change(std::function<void(uint64_t version)> callback) { state_->notifier.call(std::move(callback)); }

bool Library::wait_for_hashes(double timeout_s) const {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(timeout_s);
  while (std::chrono::steady_clock::now() < end) {
    if (!scanning() && (!state_->hasher || (state_->hasher->idle() && state_->index.unhashed() == 0))) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

}  // namespace lorikeet
